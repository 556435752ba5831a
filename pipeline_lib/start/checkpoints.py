"""The encoders and the recogniser that this machine can have: given ones, the hub's, the cache's, or none.

The hub is asked once for each name, within ``WITHIN_S``; what it does not answer for is not proposed.
"""

import importlib.util
import json
import queue
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from pipeline_lib.errors import InputError

EGEMAPS = "functionals/eGeMAPSv02"
SHIPPED = "models/demo/w2v_bert"
WITHIN_S = 5.0
SPEECH_WITH_GPU, SPEECH = "facebook/w2v-bert-2.0", "openai/whisper-base"
TEXT_OF = {"en": "sentence-transformers/all-MiniLM-L6-v2"}  # language -> text encoder on the hub
TEXT_TYPES = ("bert", "roberta", "llama")  # model_type of text encoders
_EUROPEAN = "bg hr cs da nl en et fi fr de el hu it lv lt mt pl pt ro sk sl es sv ru uk"
_WHISPER = """en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt
    la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd
    gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue"""
CANARY = frozenset(("en", "de", "es", "fr"))  # nvidia/canary-1b
CANARY_V2 = frozenset(_EUROPEAN.split())  # nvidia/canary-1b-v2
WHISPER = frozenset(_WHISPER.split())  # openai/whisper-large-v3


@dataclass(frozen=True)
class Choice:
    """A checkpoint and why it is taken.

    Attributes:
        checkpoint: folder, file or name on the hub; None for none
        why: a sentence for the terminal
    """

    checkpoint: str | None
    why: str


def has_egemaps() -> bool:
    """Return whether opensmile, which computes eGeMAPS functionals, is installed."""
    return importlib.util.find_spec("opensmile") is not None


def is_whisper(checkpoint: str) -> bool:
    """Return whether an encoder is Whisper's, by its config.json or, of the hub, by its name.

    Args:
        checkpoint: a folder or a name on the hub
    """
    folder = Path(checkpoint)
    return _model_type(folder) == "whisper" if folder.is_dir() else "whisper" in checkpoint.lower()


def speech(given: str | None, answers: Callable[[str], bool]) -> Choice:
    """Return the best audio encoder that this machine can have.

    Args:
        given: a folder or a name on the hub, None: the hub's, else eGeMAPS functionals, else the small one that ships
        answers: whether the hub, or its cache here, has a name

    Raises:
        InputError: the given one is not there, or reads text
    """
    if given is not None:
        if given.lower() in ("egemaps", EGEMAPS.lower()):
            if not has_egemaps():
                raise InputError("--encoder egemaps needs opensmile: pip install 'speech-emotion-pipeline[egemaps]'")
            return Choice(EGEMAPS, "eGeMAPS functionals (opensmile), as given")
        kind = _given("--encoder", given, answers)
        if kind in TEXT_TYPES:
            raise InputError(f"--encoder {given!r} reads text (model_type {kind!r}): give it as --text-encoder")
        return Choice(given, f"{given}, as given")
    name = SPEECH_WITH_GPU if shutil.which("nvidia-smi") else SPEECH
    if answers(name):
        return Choice(name, f"{name}, from the hub")
    silent = f"the hub does not answer for {name}, no --encoder is given"
    if has_egemaps():
        return Choice(EGEMAPS, f"eGeMAPS functionals ({silent}); a pretrained encoder is better: --encoder FOLDER")
    return Choice(SHIPPED, f"{SHIPPED}, trained on synthetic speech alone, so expect little ({silent})")


def text(given: str | None, language: str | None, answers: Callable[[str], bool]) -> Choice:
    """Return the text encoder, or none with the reason.

    Args:
        given: a folder or a name on the hub
        language: code of what is spoken, None where it is not known
        answers: whether the hub, or its cache here, has a name

    Raises:
        InputError: the given one is not there
    """
    if given is not None:
        _given("--text-encoder", given, answers)
        return Choice(given, f"{given}, as given")
    name = TEXT_OF.get(language or "")
    if name is None:
        spoken = f"for language {language!r}" if language else "without --language"
        return Choice(None, f"no text encoder is proposed {spoken}: --text-encoder FOLDER|NAME")
    if answers(name):
        return Choice(name, f"{name}, from the hub")
    return Choice(None, f"no text encoder is at hand, the hub does not answer for {name}: --text-encoder FOLDER")


def recogniser(
    given: str | None, encoder: str | None, language: str | None, answers: Callable[[str], bool]
) -> tuple[str, Choice]:
    """Return the engine and checkpoint that transcribe a language; the engine is "reference" where there is none.

    Args:
        given: a Whisper folder, a .nemo file or its folder, or a name on the hub
        encoder: of the audio, given by the user; a whole Whisper is a recogniser too
        language: code of what is spoken, None where it is not known
        answers: whether the hub, or its cache here, has a name

    Raises:
        InputError: the given one is not there, or does not transcribe the language
    """
    if language is None:
        return "reference", Choice(None, "no transcription without --language")
    if given is not None:
        kind = "whisper" if _given("--asr", given, answers, nemo=True) == "whisper" or "whisper" in given else "canary"
        languages = _languages(given) if kind == "whisper" else CANARY_V2 if "v2" in given else CANARY
        if language not in languages:
            raise InputError(f"--asr {given!r} does not transcribe {language!r}, expected one of {sorted(languages)}")
        return kind, Choice(given, f"{given}, as given")
    is_whole = encoder is not None and (Path(encoder) / "generation_config.json").is_file()
    if encoder is not None and is_whole and _model_type(Path(encoder)) == "whisper" and language in _languages(encoder):
        return "whisper", Choice(encoder, f"{encoder}, which also transcribes {language!r}")
    candidates = [("canary", "nvidia/canary-1b", CANARY), ("canary", "nvidia/canary-1b-v2", CANARY_V2)]
    candidates = candidates if shutil.which("nvidia-smi") else []
    large = "openai/whisper-large-v3" if candidates else "openai/whisper-base"
    for engine, name, languages in (*candidates, ("whisper", large, WHISPER)):
        if language in languages and answers(name):
            return engine, Choice(name, f"{name}, from the hub")
    why = f"no checkpoint that transcribes {language!r} is at hand: --asr FOLDER|NAME"
    return "reference", Choice(None, why)


def hub_answers(name: str) -> bool:
    """Return whether the hub, within ``WITHIN_S``, or its cache here has a checkpoint.

    Args:
        name: on the hub
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(name, "model.safetensors"), str):
        return True
    ready: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def ask() -> None:
        try:
            HfApi().model_info(name, timeout=WITHIN_S)
        except Exception:  # no network, no such name, gated: no answer of use, whatever the kind
            ready.put(False)
        else:
            ready.put(True)

    Thread(target=ask, daemon=True).start()  # daemon: a dead network does not keep the command from ending
    try:
        return ready.get(timeout=WITHIN_S)
    except queue.Empty:
        return False


def _given(option: str, given: str, answers: Callable[[str], bool], nemo: bool = False) -> str | None:
    """Return the ``model_type`` of a given checkpoint, None where config.json does not say it."""
    path = Path(given)
    if path.is_file() and nemo and path.suffix == ".nemo":
        return None
    if path.is_dir():
        if not (path / "config.json").is_file() and not (nemo and any(path.glob("*.yaml"))):
            raise InputError(f"{option} {given!r} is a folder without config.json, expected a checkpoint's folder")
        return _model_type(path)
    if path.exists() or given.startswith(("/", "./", "../")) or given.count("/") != 1:
        raise InputError(f"{option} {given!r} is no folder here and no name on the hub, such as {SPEECH}")
    if not answers(given):
        raise InputError(
            f"{option} {given!r} is no folder here, and the hub did not answer for it within {WITHIN_S:g} s (a slip in"
            " the name, no network, or a gated checkpoint: 'hf auth login')"
        )
    return None


def _model_type(folder: Path) -> str | None:
    try:
        value = json.loads((folder / "config.json").read_bytes())["model_type"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return value if isinstance(value, str) else None


def _languages(checkpoint: str) -> frozenset[str]:
    """Return the languages of a Whisper: by its folder, else those of large-v3, of a name with ``.en`` English."""
    if checkpoint.endswith(".en"):
        return frozenset(("en",))
    try:
        codes = json.loads((Path(checkpoint) / "generation_config.json").read_bytes()).get("lang_to_id") or {}
    except (OSError, ValueError, AttributeError, RecursionError):
        return WHISPER
    return frozenset(token[2:-2] for token in codes) or frozenset(("en",))
