"""The hub's answer for each checkpoint of params.yaml: whether this account may read it, and whether it is complete.

Requested once for each distinct checkpoint and revision, before hours of other stages: ``auth_check`` tells whether the
account may read it (the list of files is public even where the files are gated), then the list of files at that
revision tells whether the files that the stage reads are among them. The remedy is that of the specific error.
"""

import queue
import re
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from threading import Thread

from pipeline_lib.doctor.result import Result
from pipeline_lib.encoders import checkpoint_safety, vocabulary
from pipeline_lib.encoders.load_errors import convert, explain
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.inputs import is_local, parts_with_encoder
from pipeline_lib.params.sections import Params

SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")
TIMEOUT_S, WITHIN_S = 20.0, 30.0  # of an answer, of all
Key = tuple[str, str | None]  # checkpoint, revision
Needs = tuple[str, ...]  # of "weights", "tokenizer", "preprocessor", "nemo"


def checkpoints(params: Params) -> dict[tuple[str, str | None], tuple[list[str], set[str]]]:
    """Return each checkpoint on the hub and its revision: the entries that read it, and the kinds of file they need."""
    result: dict[tuple[str, str | None], tuple[list[str], set[str]]] = {}
    for where, name, revision, needs in _read(params):
        if not is_local(name):
            entries, all_needs = result.setdefault((name, revision), ([], set()))
            entries.append(where)
            all_needs.update(needs)
    return result


def hub(params: Params) -> Iterator[Result]:
    """Yield the result for each checkpoint on the hub, all queried at once, within ``WITHIN_S`` in all."""
    ready: queue.SimpleQueue[tuple[Key, Result | Exception]] = queue.SimpleQueue()
    todo: dict[Key, str] = {}
    for (name, revision), (readers, needs) in checkpoints(params).items():
        more = f" and {len(readers) - 3} more" if len(readers) > 3 else ""
        todo[name, revision] = f"{', '.join(readers[:3])}{more}"
        request = partial(_request, name, revision, todo[name, revision], needs)
        # daemon: a thread that waits for a dead network does not keep the command from ending
        Thread(target=_answer, args=(request, (name, revision), ready), daemon=True).start()
    end = time.monotonic() + WITHIN_S
    answers: dict[Key, Result | Exception] = {}
    while len(answers) < len(todo):
        try:
            key, answer = ready.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        answers[key] = answer
    for (name, revision), entries in todo.items():
        result = answers.get((name, revision))
        if isinstance(result, Exception):
            raise result
        silent = f"{entries}: the hub gave no answer for {name} within {WITHIN_S:g} s"
        yield result or Result("hub", "problem", silent, "check the network, or set HF_HUB_OFFLINE=1")


def _answer(
    request: Callable[[], Result], key: Key, ready: "queue.SimpleQueue[tuple[Key, Result | Exception]]"
) -> None:
    try:
        ready.put((key, request()))
    except Exception as error:
        ready.put((key, error))


def missing(name: str, names: Iterable[str], needs: Iterable[str]) -> str | None:
    """Return which file that a stage reads is missing, with the remedy, None where all are there.

    Args:
        name: of the checkpoint
        names: its files
        needs: weights, tokenizer, preprocessor, nemo
    """
    there = set(names)
    if "nemo" in needs:
        file = f"{PurePosixPath(name).name}.nemo"
        others = sorted(file for file in there if file.endswith(".nemo"))
        remedy = f"download {others[0]} and give its path" if others else "is it a NeMo checkpoint?"
        return None if file in there else f"has no file {file} ({remedy})"
    if "config.json" not in there:
        return "has no config.json, so it is no checkpoint of transformers (choose another)"
    if "weights" in needs and (lack := _weights(name, there)):
        return lack
    if "tokenizer" in needs and not there & {*vocabulary.FILES}:
        return f"has no tokenizer, expected one of {list(vocabulary.FILES)} (take one from the model it was made of)"
    if "preprocessor" in needs and not there & {"preprocessor_config.json", "processor_config.json"}:
        return "has no preprocessor_config.json (take one from the model it was made of)"
    return None


def _request(name: str, revision: str | None, entries: str, needs: set[str]) -> Result:
    from huggingface_hub import HfApi

    settings = EncoderSettings(checkpoint=name, revision=revision)
    try:
        HfApi().auth_check(name)
        info = HfApi().model_info(name, revision=revision, timeout=TIMEOUT_S)
    except Exception as error:
        refusal = str(explain(error, settings, "answer"))
        if "is not in the local cache" in refusal and missing(name, _cached(name, revision, needs), needs) is None:
            return Result("hub", "ok", f"{entries}: {name} is in the local cache; the hub was not reached")
        return Result("hub", "problem", *_split(refusal, entries))
    lack = missing(name, [file.rfilename for file in info.siblings or ()], needs)
    if lack is not None:
        return Result("hub", "problem", *_split(f"checkpoint {name} {lack}", entries))
    return Result("hub", "ok", f"{entries}: {name} at {str(info.sha)[:12]} may be read and has the files")


def _cached(name: str, revision: str | None, needs: set[str]) -> list[str]:
    """Return the files of a checkpoint that are in the local cache."""
    from huggingface_hub import try_to_load_from_cache

    file = f"{PurePosixPath(name).name}.nemo" if "nemo" in needs else "config.json"
    path = try_to_load_from_cache(name, file, revision=revision)
    return [file.name for file in Path(path).parent.iterdir()] if isinstance(path, str) else []


def _split(text: str, entries: str) -> tuple[str, str]:
    """Return two columns of the table, state and remedy, of a message that has the remedy at its end."""
    for mark in (": ", "; "):
        message, separator, remedy = text.partition(mark)
        if separator:
            return f"{entries}: {message}", remedy
    message, separator, remedy = text.rpartition(" (")
    return (f"{entries}: {message}", remedy.removesuffix(")")) if separator else (f"{entries}: {text}", "")


def _weights(name: str, there: set[str]) -> str | None:
    if "model.safetensors" in there:
        return None
    shards = {match.group(2): match for file in there if (match := SHARD.fullmatch(file))}
    if checkpoint_safety.INDEX in there:
        numbers = {int(match.group(1)) for file in there if (match := SHARD.fullmatch(file))}
        total = max((int(total) for total in shards), default=0)
        absent = sorted({*range(1, total + 1)} - numbers)
        return f"lacks shard {absent[0]} of {total} of its weights (choose another revision)" if absent else None
    if any(file.endswith(".bin") for file in there):
        return f"has no safetensors weights: {convert(name)}"
    return "has neither safetensors weights nor .bin files (choose another checkpoint)"


def _read(params: Params) -> Iterator[tuple[str, str, str | None, Needs]]:
    """Yield each entry, the checkpoint and revision that it reads, and the kinds of file it needs."""
    transcription = params.transcription
    if transcription.engine != "reference":
        chosen = getattr(transcription, transcription.engine)
        needs: Needs = ("nemo",) if transcription.engine == "canary" else ("weights", "tokenizer", "preprocessor")
        yield f"transcription.{transcription.engine}", chosen.checkpoint, chosen.revision, needs
    for where, modality, part in parts_with_encoder(params):
        if part.encoder is not None and not part.encoder.is_functionals:
            weights = ("weights",) if part.encoder.pretrained else ()
            tokenizer = ("tokenizer",) if modality == "text" else ()
            yield where, part.encoder.checkpoint, part.encoder.revision, (*weights, *tokenizer)
