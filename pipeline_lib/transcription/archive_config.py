"""Configuration of a .nemo archive as it is passed to NeMo: known sections, known classes, plain values.

NeMo 3.0 resolves interpolations, OmegaConf's resolvers among them, and instantiates what stands under ``_target_``,
anywhere in a section, from most of its own modules: classes with any arguments, and functions, one of which writes a
text file to any path. Here everything is allowed by list: interpolation is ``${dotted.name}`` of another key and
resolved before anything is checked, so that what NeMo gets has no ``$`` left; a class stands where Canary has it and
nowhere else; a text has no character of a path; a tokenizer's files are members of the archive. Sections that NeMo does
not instantiate on restore are left out unread, and keys that it never reads are not passed on.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from pipeline_lib.errors import InputError

UNREAD = ("optim", "train_ds", "validation_ds", "test_ds")  # of the training; a restored model does not use them
PASSED = (
    "sample_rate", "prompt_format", "prompt_defaults", "model_defaults", "preprocessor", "encoder", "transf_encoder",
    "transf_decoder", "head", "loss", "adapters", "label_smoothing", "log_prediction", "use_loss_mask_for_prompt",
    "context_len_for_AR_decoding",
)  # fmt: skip
PROMPT_FORMATS = ("canary", "canary2")
MOST_VALUES, DEEPEST = 100_000, 40  # Canary-1b-v2 has some 300 values, six deep


def _named(package: str, *names: str) -> tuple[str, ...]:
    return tuple(f"nemo.{package}.{name}" for name in names)


_METRICS = _named("collections.asr.metrics", "WER", "BLEU", "wer.WER", "bleu.BLEU")
_MODULES, _ADAPTERS = "collections.asr.modules", "collections.asr.parts.submodules.adapters"
_TRANSFORMER = f"{_MODULES}.transformer"
_MHA_ADAPTERS = f"{_ADAPTERS}.multi_head_attention_adapter_module"
MODELS = _named("collections.asr.models", "EncDecMultiTaskModel", "aed_multitask_models.EncDecMultiTaskModel")
CLASSES: dict[tuple[str, ...], tuple[str, ...]] = {  # allowed values of _target_ by section; "*" is any key
    ("preprocessor",): _named(
        _MODULES, "AudioToMelSpectrogramPreprocessor", "audio_preprocessing.AudioToMelSpectrogramPreprocessor"
    ),
    ("spec_augment",): _named(_MODULES, "SpectrogramAugmentation", "audio_preprocessing.SpectrogramAugmentation"),
    ("encoder",): _named(
        _MODULES,
        "ConformerEncoder",
        "ConformerEncoderAdapter",
        "conformer_encoder.ConformerEncoder",
        "conformer_encoder.ConformerEncoderAdapter",
    ),
    ("transf_encoder",): _named(_TRANSFORMER, "TransformerEncoder", "transformer_encoders.TransformerEncoder"),
    ("transf_decoder",): _named(_TRANSFORMER, "get_nemo_transformer", "transformer_utils.get_nemo_transformer"),
    ("head",): _named("collections.asr.parts.submodules.token_classifier", "TokenClassifier"),
    ("loss",): _named(
        "collections.common.losses", "SmoothedCrossEntropyLoss", "smoothed_cross_entropy.SmoothedCrossEntropyLoss"
    ),
    ("tokenizer", "custom_tokenizer"): _named(
        "collections.common.tokenizers",
        "CanaryTokenizer",
        "canary_tokenizer.CanaryTokenizer",
        "canary_tokenizer.CanaryBPETokenizer",
    ),
    ("multitask_metrics_cfg", "metrics", "*"): _METRICS,
    ("multitask_metrics_config", "metrics", "*"): _METRICS,
    ("adapters", "*"): (
        *_named("collections.common.parts.adapter_modules", "LinearAdapter"),
        *_named(
            _MHA_ADAPTERS,
            "MultiHeadAttentionAdapter",
            "RelPositionMultiHeadAttentionAdapter",
            "PositionalEncodingAdapter",
            "RelPositionalEncodingAdapter",
        ),
    ),
    ("adapters", "*", "adapter_strategy"): (
        *_named(
            "core.classes.mixins.adapter_mixin_strategies", "ResidualAddAdapterStrategy", "ReturnResultAdapterStrategy"
        ),
        *_named(_MHA_ADAPTERS, "MHAResidualAddAdapterStrategy"),
    ),
}
NAMES_OF_CLASSES = ("_target_", "target", "cls", "_cls_", "class_path", "_partial_target_")  # hydra's old ones too
TOKENIZERS = (("tokenizer",), ("tokenizer", "langs", "*"))
TOKENIZER_FILES = ("model_path", "vocab_path", "spe_tokenizer_vocab")

INTERPOLATION = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*)\}")
KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.:+-]*")
TEXT = re.compile(r"[A-Za-z0-9 _.,:;<>|=!+()%-]*")  # prompts, language codes, versions, metrics' constraints; no path


class _Loader(yaml.SafeLoader):
    """YAML's plain types: each key once and a string, numbers and strings as OmegaConf reads them."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse endless nesting before Python's stack is exhausted."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, "nested too deeply", self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse keys that are not text, merge keys among them (their lists double with every line), or stand twice."""
        names: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str" or not isinstance(key.value, str) or key.value in names:
                problem = f"{_shown(key.value)} is no text, or stands there twice"
                raise yaml.constructor.ConstructorError("as a key", node.start_mark, problem, key.start_mark)
            names.add(key.value)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+"), list("-+0123456789")
)


def read(where: str, text: bytes, members: set[str]) -> dict[str, Any]:
    """Return the configuration to pass to NeMo, without interpolation.

    Args:
        where: archive and member, for messages
        text: the YAML
        members: names of the archive's files

    Raises:
        InputError: it is no YAML mapping of plain values, is nested or expands without end, or holds an interpolation,
            a class, a path or a key that Canary does not need
    """
    raw = _loaded(where, text)
    config = _resolved(where, (), raw, raw, iter(range(MOST_VALUES)))
    for keys, value in _nodes(config, ()):
        _check(f"{where}: {_dotted(keys)}", keys, value)
    if config.get("prompt_format", "canary") not in PROMPT_FORMATS:
        raise InputError(f"{where}: prompt_format is {config['prompt_format']!r}, expected one of {PROMPT_FORMATS}")
    passed = {key: config[key] for key in PASSED if key in config}
    if {*_mapping(f"{where}: adapters", config.get("adapters") or {})} - {"global_cfg"} and "encoder" in config:
        encoder = _mapping(f"{where}: encoder", config["encoder"])
        passed["encoder"] = {**encoder, "_target_": f"{str(encoder.get('_target_')).removesuffix('Adapter')}Adapter"}
    passed["tokenizer"] = _tokenizer(f"{where}: tokenizer", config.get("tokenizer"), members)
    passed["decoding"] = _greedy(f"{where}: decoding", config.get("decoding"))
    passed["restore_timestamps_model"] = False  # canary-1b-v2 carries a second model, for time stamps alone
    return passed


def _loaded(where: str, text: bytes) -> dict[str, Any]:
    """Return all sections but those of the training; what these refer to and are made of is not constructed."""
    try:
        loader = _Loader(text.decode("utf-8"))
        root = loader.get_single_node()
        if isinstance(root, yaml.MappingNode):
            root.value = [(key, value) for key, value in root.value if key.value not in UNREAD]
        config = loader.construct_document(root) if root is not None else None
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise InputError(f"{where} is not YAML that can be loaded safely: {' '.join(str(error).split())}") from None
    if type(config) is not dict:
        raise InputError(f"{where} holds {type(config).__name__}, expected the model's configuration")
    return config


def _resolved(where: str, keys: tuple[Any, ...], value: Any, root: dict[str, Any], left: Iterator[int]) -> Any:
    """Return a copy of plain types in which another key's value stands in place of ``${its.name}``."""
    if next(left, None) is None or len(keys) > DEEPEST:
        raise InputError(
            f"{where} has more than {MOST_VALUES} values or {DEEPEST} levels once it is resolved"
            " (a few lines can stand for billions)"
        )
    if isinstance(value, dict):
        return {key: _resolved(where, (*keys, key), item, root, left) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(where, (*keys, number), item, root, left) for number, item in enumerate(value)]
    here = f"{where}: {_dotted(keys)}"
    if value is not None and type(value) not in (str, int, float, bool):
        raise InputError(f"{here} is of type {type(value).__name__}, expected text, numbers, lists and mappings")
    if not isinstance(value, str) or "$" not in value:
        return value
    match = INTERPOLATION.fullmatch(value)
    if match is None:
        raise InputError(f"{here} is {_shown(value)}, expected plain text or ${{name.of.another.key}}; it is not run")
    other: Any = root
    for name in match[1].split("."):
        try:
            other = other[int(name) if isinstance(other, list) else name]
        except (KeyError, IndexError, TypeError, ValueError):
            raise InputError(f"{here} is {_shown(value)}, which names no key of the configuration") from None
    return _resolved(where, (*keys, "->"), other, root, left)


def _nodes(value: Any, keys: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _nodes(item, (*keys, key))
    if keys:
        yield keys, value


def _check(where: str, keys: tuple[Any, ...], value: Any) -> None:
    """Refuse one key or value that is not on the lists."""
    key, above = keys[-1], keys[:-1]
    allowed = MODELS if keys == ("target",) else ()
    if key == "_target_":
        allowed = next((names for pattern, names in CLASSES.items() if _matches(pattern, above)), ())
    if allowed and value in allowed:
        return
    word = key.strip().casefold() if isinstance(key, str) else key
    if word in NAMES_OF_CLASSES and (value is not None or word != key):
        hint = " (is it a CTC or transducer checkpoint?)" if keys == ("target",) else ""
        raise InputError(
            f"{where} is {_shown(value)}, which is none of the classes that Canary is made of{hint}; it is not run"
        )
    if isinstance(key, str) and not (KEY.fullmatch(key) or word in NAMES_OF_CLASSES):
        raise InputError(f"{where} is a key with other signs than letters, digits, _ . : + -; it is not read")
    if word in ("trust_remote_code", "hf_kwargs") and value:
        raise InputError(f"{where} is {_shown(value)}, which would let a tokenizer bring its own code; it is not run")
    if isinstance(word, str) and word.startswith("init_from") and value is not None:
        raise InputError(f"{where} is {_shown(value)}, which would take weights from elsewhere; it is not read")
    if key in ("dir", *TOKENIZER_FILES) and any(_matches(pattern, above) for pattern in TOKENIZERS):
        return  # see _files
    if isinstance(value, str) and keys[0] in (*PASSED, "tokenizer", "decoding") and not TEXT.fullmatch(value):
        raise InputError(f"{where} is {_shown(value)}, expected plain text and no path; it is not read")


def _matches(pattern: tuple[str, ...], keys: tuple[Any, ...]) -> bool:
    return len(pattern) == len(keys) and all(a in ("*", b) for a, b in zip(pattern, keys, strict=True))


def _tokenizer(where: str, config: Any, members: set[str]) -> dict[str, Any]:
    """Return the tokenizer's section: its files in the archive and its class, nothing else."""
    config = _mapping(where, config)
    kind = config.get("type", "bpe")
    if kind not in ("bpe", "agg"):
        raise InputError(f"{where}.type is {_shown(kind)}, expected 'bpe' or 'agg' (others read files of the hub)")
    if kind == "bpe":
        passed = _files(where, config, members)
    elif config.get("dir") is not None:
        raise InputError(f"{where}.dir is {_shown(config['dir'])}, expected null where each language has its tokenizer")
    else:
        langs = _mapping(f"{where}.langs", config.get("langs"))
        passed = {name: _files(f"{where}.langs.{name}", lang, members) for name, lang in langs.items()}
        passed = {"dir": None, "langs": passed}
    custom = config.get("custom_tokenizer")
    if custom is not None:
        passed["custom_tokenizer"] = {"_target_": _mapping(f"{where}.custom_tokenizer", custom).get("_target_")}
    return {**passed, "type": kind}


def _files(where: str, config: Any, members: set[str]) -> dict[str, Any]:
    """Return one SentencePiece model's section; the folder that it was trained in, ``dir``, is left out."""
    config = _mapping(where, config)
    if config.get("type", "bpe") != "bpe":
        raise InputError(f"{where}.type is {_shown(config['type'])}, expected 'bpe'")
    passed: dict[str, Any] = {"dir": None, "type": "bpe"}
    for name in TOKENIZER_FILES:
        value = config.get(name)
        if (value is not None or name == "model_path") and not _is_member(value, members):
            folder = f" and {where}.dir {_shown(config['dir'])}" if config.get("dir") is not None else ""
            raise InputError(
                f"{where}.{name} is {_shown(value)}{folder}, which is no file of the archive ('nemo:NAME')"
            )
        passed[name] = value
    return passed


def _is_member(value: Any, members: set[str]) -> bool:
    return isinstance(value, str) and value.startswith("nemo:") and value.removeprefix("nemo:") in members


def _mapping(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where} is {_shown(value)}, expected a mapping (not a Canary?)")
    return value


def _greedy(where: str, config: Any) -> dict[str, Any]:
    """Return greedy decoding; released checkpoints have a beam of 1, which is slower and gives the same texts."""
    config = {} if config is None else _mapping(where, config)
    strategy = str(config.get("strategy", "beam"))
    options = config.get(strategy)
    delta = 50 if options is None else _mapping(f"{where}.{strategy}", options).get("max_generation_delta", 50)
    if type(delta) is not int:
        raise InputError(f"{where}.{strategy}.max_generation_delta is {_shown(delta)}, expected a whole number")
    greedy = {"temperature": None, "max_generation_delta": delta, "preserve_alignments": False, "n_samples": 1}
    return {"strategy": "greedy", "return_best_hypothesis": True, "greedy": greedy}


def _dotted(keys: tuple[Any, ...]) -> str:
    return _shown(".".join(map(str, keys))).strip("'")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:120]}..."
