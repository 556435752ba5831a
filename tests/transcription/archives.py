"""Archives for tests: packing, configurations in the layout of the published Canaries, and payloads in many spellings.

The layouts follow NVIDIA's model cards and NeMo's example configuration (fast-conformer_aed.yaml); no value of a
published file is needed for what is tested here.
"""

import io
import random
import tarfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

GOOD = {
    "target": "nemo.collections.asr.models.aed_multitask_models.EncDecMultiTaskModel",
    "encoder": {"_target_": "nemo.collections.asr.modules.ConformerEncoder", "d_model": 8},
    "tokenizer": {"model_path": "nemo:abc_tokenizer.model", "hf_kwargs": {}},
}
SECTIONS_OF_TRAINING = """
optim:
  _target_: torch.optim.AdamW
  name: adamw
  betas: &betas [0.9, 0.98]
  again: *betas
  sched: {name: InverseSquareRootAnnealing, min_lr: 1e-6}
train_ds:
  manifest_filepath: /lustre/data/train.json
  tarred_audio_filepaths: ${oc.env:DATA}/audio__OP_0..4095_CL_.tar
  <<: {shuffle: true}
  sample_rate: ${sample_rate}
validation_ds: {manifest_filepath: [/data/dev.json, s3://bucket/dev.json], num_workers: "${multiply:2,2}"}
test_ds: {_target_: some.loader.Dataset, manifest_filepath: '???'}
"""


def packed(path: Path, members=(), config: bytes | dict = GOOD, mode: str = "w") -> Path:
    """Write an archive of configuration, weights, tokenizer and more members: TarInfo, or (name, bytes)."""
    text = config if isinstance(config, bytes) else yaml.safe_dump(config).encode()
    plain = [("./model_config.yaml", text), ("./model_weights.ckpt", b"0"), ("./abc_tokenizer.model", b"1")]
    with tarfile.open(path, mode) as out:
        for member in [*plain, *members]:
            if isinstance(member, tarfile.TarInfo):
                out.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                out.addfile(info, io.BytesIO(member[1]))
    return path


def repacked(source: Path, out: Path, changed: dict[str, bytes | Callable[[bytes], bytes]], members=()) -> Path:
    """Copy an archive with other bytes, or what a function makes of the old ones, and with more members."""
    with tarfile.open(source) as old, tarfile.open(out, "w") as new:
        for member in old:
            data = old.extractfile(member).read() if member.isreg() else b""
            other = changed.get(member.name.removeprefix("./"), data)
            data = other(data) if callable(other) else other
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            new.addfile(info, io.BytesIO(data))
    return out


def published(name: str) -> tuple[dict[str, Any], list[str]]:
    """Return a configuration in the layout of a published Canary, and the members that it names."""
    flash, one = name in ("canary-1b-flash", "canary-180m-flash"), name == "canary-1b-v2"
    width, layers, deep = {"canary-1b": (1024, 24, 24), "canary-180m-flash": (512, 17, 4)}.get(name, (1024, 32, 4))
    folder = f"/lustre/users/somebody/tokenizers/{name}"
    members: list[str] = []

    def files(kind: str) -> dict[str, str]:
        digest = f"{random.Random(f'{name} {kind}').getrandbits(128):032x}"
        names = {"model_path": "tokenizer.model", "vocab_path": "vocab.txt", "spe_tokenizer_vocab": "tokenizer.vocab"}
        members.extend(f"{digest}_{name}" for name in names.values())
        named = {key: f"nemo:{digest}_{name}" for key, name in names.items()}
        return {"dir": f"{folder}/{kind}", "type": "bpe", **named}

    custom = "nemo.collections.common.tokenizers.canary_tokenizer"
    if one:
        tokenizer = {**files("all"), "custom_tokenizer": {"_target_": f"{custom}.CanaryBPETokenizer"}}
        members += ["timestamps_asr_model_config.yaml", "timestamps_asr_model_weights.ckpt"]
    else:
        langs = {name: files(name) for name in ("spl_tokens", "en", "de", "es", "fr")}
        tokenizer = {"dir": None, "type": "agg", "langs": langs}
        tokenizer["custom_tokenizer"] = {"_target_": f"{custom}.CanaryTokenizer", "tokenizers": None}
    slots = {"source_lang": "<|en|>", "target_lang": "<|en|>", "pnc": "<|pnc|>"}
    slots |= {"emotion": "<|emo:undefined|>", "itn": "<|noitn|>", "decodercontext": ""} if flash or one else {}
    transformer = {"hidden_size": width, "inner_size": 4 * width, "num_attention_heads": 8, "ffn_dropout": 0.1}
    modules = "nemo.collections.asr.modules"
    config = {
        "sample_rate": 16000,
        "prompt_format": "canary2" if flash or one else "canary",
        "prompt_defaults": [
            {"role": "user", "slots": slots},
            {"role": "user_partial", "slots": {"decodercontext": ""}},
        ],
        "model_defaults": {"asr_enc_hidden": width, "lm_enc_hidden": 512, "lm_dec_hidden": width},
        "label_smoothing": 0.0,
        "context_len_for_AR_decoding": 5,
        "tokenizer": tokenizer,
        "preprocessor": {
            "_target_": f"{modules}.AudioToMelSpectrogramPreprocessor",
            "sample_rate": "${sample_rate}",
            "features": 128,
            "window": "hann",
            "normalize": "per_feature",
            "dither": 1e-5,
        },
        "spec_augment": {"_target_": f"{modules}.SpectrogramAugmentation", "freq_masks": 2, "time_width": 0.05},
        "encoder": {
            "_target_": f"{modules}.ConformerEncoder",
            "feat_in": "${preprocessor.features}",
            "n_layers": layers,
            "d_model": "${model_defaults.asr_enc_hidden}",
            "att_context_size": [-1, -1],
            "conv_context_size": None,
        },
        "transf_encoder": {
            "_target_": f"{modules}.transformer.transformer_encoders.TransformerEncoder",
            "num_layers": 0,
            **transformer,
        },
        "transf_decoder": {
            "_target_": f"{modules}.transformer.get_nemo_transformer",
            "model_name": None,
            "pretrained": False,
            "config_dict": {"num_layers": deep, "vocab_size": "None", "hidden_act": "relu", **transformer},
        },
        "head": {
            "_target_": "nemo.collections.asr.parts.submodules.token_classifier.TokenClassifier",
            "hidden_size": "${transf_decoder.config_dict.hidden_size}",
            "num_classes": 16384,
        },
        "decoding": {"strategy": "beam", "beam": {"beam_size": 1, "len_pen": 0.0, "max_generation_delta": 50}},
        "loss": {
            "_target_": "nemo.collections.common.losses.smoothed_cross_entropy.SmoothedCrossEntropyLoss",
            "label_smoothing": "${label_smoothing}",
            "pad_id": 2,
        },
        "multitask_metrics_cfg": {
            "metrics": {"wer": {"_target_": "nemo.collections.asr.metrics.WER", "constraint": ".task==transcribe"}}
        },
        "target": GOOD["target"],
        "nemo_version": "2.5.0rc0",
        "beam_search": {"beam_size": 1, "scratch": "/lustre/users/somebody/scratch"},
    }
    return config, members


# payloads

WRITER = "nemo.collections.asr.parts.utils.manifest_utils.write_manifest"
PLACES = (
    ("spec_augment",),  # this and the next are not passed to NeMo, so a path in them is harmless
    ("anything",),
    ("encoder", "dropout"),
    ("prompt_defaults",),
    ("adapters", "a", "dim"),
    ("tokenizer", "hf_tokens"),
    ("decoding", "beam", "ngram_lm_model"),
    ("model_defaults", "lm_dec_hidden"),
)


def blanks(rng: random.Random, text: str) -> str:
    """Put blanks and tabs where OmegaConf's grammar allows them, and where it does not."""
    for sign in ("${", "}", ":", ","):
        gap = "".join(rng.choices(" \t", k=rng.randrange(4)))
        text = text.replace(sign, f"{sign}{gap}" if sign == "${" else f"{gap}{sign}" if sign == "}" else sign + gap)
    return text


def cased(rng: random.Random, text: str) -> str:
    """Change the case of letters."""
    return "".join(rng.choice((character.upper(), character.lower())) for character in text)


def quoted(rng: random.Random, text: str) -> str:
    """Write a YAML scalar with some signs escaped, as a block, with a tag or in base 64."""
    escapes = ("\\x{:02x}", "\\u{:04x}", "\\U{:08x}")
    escaped = "".join(rng.choice(escapes).format(ord(s)) if rng.random() < 0.3 or s in '"\\\t' else s for s in text)
    return rng.choice((f'"{escaped}"', f'!!str "{escaped}"', f"!!binary {b64encode(text.encode()).decode()}"))


def wrapped(rng: random.Random, value: Any) -> Any:
    """Put a value into lists and mappings."""
    for _ in range(rng.randrange(4)):
        value = [0, value] if rng.random() < 0.5 else {rng.choice(("a", "layers", "config_dict")): value}
    return value


def interpolations(mark: str) -> dict[str, str]:
    """Return the texts that OmegaConf would act on; ``mark`` is a resolver's name or a file."""
    create = f"{{_target_: {WRITER}, output_path: '{mark}', target_manifest: [{{a: 1}}]}}"
    return {
        "an object": f"${{oc.create:{create}}}",
        "the environment": "${oc.env:HOME}",
        "a nested name": "${${x}.env:HOME}",
        "a resolver": "${mark:1}",
        "a text that becomes one": "${dollar}{mark:1}",
    }


def structures(rng: random.Random, mark: str) -> dict[str, Any]:
    """Return what hydra, NeMo or YAML would act on without an interpolation."""
    key = rng.choice(("_target_", "target", "cls", "_Target_", " _target_", "_TARGET_", "Cls", "class_path"))
    outside = rng.choice(
        ("/etc/passwd", "../../etc/passwd", "nemo:/etc/passwd", "nemo:../etc/passwd", "~/x", "file:///etc", "a\\b")
    )
    weights = rng.choice(("init_from_nemo_model", "init_from_pretrained_model", "init_from_ptl_ckpt"))
    remote = rng.choice(({"trust_remote_code": True}, {"hf_kwargs": {"use_fast": True}}, {"Trust_Remote_Code": 1}))
    return {
        "a function": {key: WRITER, "output_path": mark, "target_manifest": [{"a": 1}]},
        "the system": {
            key: rng.choice(("os.system", "subprocess.Popen", "builtins.exec")),
            "_args_": [f"touch {mark}"],
        },
        "a path": outside,
        "other code": remote,
        "other weights": {weights: rng.choice(("canary", ["a"], {"model0": {"name": "nvidia/x"}}))},
    }


def variants(count: int, mark: str, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield ``count`` configurations, each with one of ten payloads; a name and the bytes of the YAML."""
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        texts, trees = interpolations(mark), structures(rng, mark)
        name = [*texts, *trees][number % 10]
        token = "PAYLOAD"
        if name in texts:
            text = texts[name]
            spelling = rng.choice(("plain", "blanks", "cased", "prefix"))
            text = {"blanks": blanks(rng, text), "cased": cased(rng, text), "prefix": f"a{text}"}.get(spelling, text)
            value, written = token, quoted(rng, text)
        else:
            value, written = trees[name], ""
        value = {token: 1} if written and rng.random() < 0.2 else value  # the payload is a key
        config: dict[str, Any] = yaml.safe_load(yaml.safe_dump(GOOD)) | {"x": "oc"}
        if name == "a text that becomes one":
            config["dollar"] = "$"
        *above, last = rng.choice(PLACES if name != "a path" else PLACES[2:])
        section = config
        for key in above:
            section = section.setdefault(key, {})
        section[last] = wrapped(rng, value)
        text = yaml.safe_dump(config, allow_unicode=True).replace(token, written)
        encoding = "utf-16" if rng.random() < 0.05 else "utf-8-sig" if rng.random() < 0.1 else "utf-8"
        yield f"{number}: {name}", text.encode(encoding)
