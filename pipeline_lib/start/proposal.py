"""What of the recipe small_corpus a corpus needs: the overlay that is merged into it, and why, line by line."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from pipeline_lib.errors import InputError
from pipeline_lib.recipes.compose import compose
from pipeline_lib.start import checkpoints, evidence, splits
from pipeline_lib.start.inspect import Corpus
from pipeline_lib.start.layouts import LANGUAGES

RECIPE = "small_corpus"
NOT_INSTALLED = "opensmile is not installed: pip install 'speech-emotion-pipeline[egemaps]'"
AUDIO = "audio"  # entries of embedding and of rebalancing
TEXT = "text"
BASELINE = "egemaps"
BEST_LAYER = "best_layer"  # of rebalancing
LONGEST_S = 120.0  # of the recipe's corpus.max_duration_s


@dataclass(frozen=True)
class Requests:
    """What the user names beside the corpus; None is left open.

    Attributes:
        language: code of what is spoken
        encoder: of audio
        text_encoder: of text
        asr: recogniser
    """

    language: str | None = None
    encoder: str | None = None
    text_encoder: str | None = None
    asr: str | None = None


@dataclass(frozen=True)
class Proposal:
    """An overlay over the recipe, and sentences for the terminal.

    Attributes:
        overlay: sections with the differences from ``RECIPE``
        lines: topic -> sentence
    """

    overlay: dict[str, Any]
    lines: list[tuple[str, str]]


@dataclass(frozen=True)
class _Systems:
    """The systems that are run.

    Attributes:
        experts: entries of rebalancing that are fused
        baselines: rows beside them
        not_computed: baseline -> why it is not computed
        embedding: sections of their embeddings
        transcription: the section
        lines: topic -> sentence
    """

    experts: list[str]
    baselines: list[str]
    not_computed: dict[str, str]
    embedding: dict[str, Any]
    transcription: dict[str, Any]
    lines: list[tuple[str, str]]


def propose(corpus: Corpus, name: str, requests: Requests, answers: Callable[[str], bool]) -> Proposal:
    """Return the overlay for a corpus.

    Args:
        corpus: what it holds
        name: ``corpus.name``
        requests: what the user names
        answers: whether the hub, or its cache here, has a checkpoint

    Raises:
        InputError: a named checkpoint is not there, or nothing tells the labels apart
    """
    if len(corpus.labels) < 2:
        raise InputError(
            f"{corpus.root} has attributes and no emotions; ser start writes recipes for emotions: name the column of"
            " labels (--label COLUMN), or write params.yaml from 'ser apply default'"
        )
    split = splits.propose(corpus.frame, corpus.labels, corpus.reader)
    systems = _systems(corpus, requests, answers)
    section = {
        "reader": corpus.reader,
        "root": str(corpus.root),
        "name": name,
        "notice": split.notice,
        "labels": None,
        "merge": None,
        "allow_speaker_leak": split.leak,
        "split": split.settings,
        **corpus.settings,
    }
    if corpus.longest_s > LONGEST_S:
        section["max_duration_s"] = float(ceil(corpus.longest_s))
    overlay = {
        "demonstration": {},
        "corpus": section,
        "transcription": systems.transcription,
        "embedding": systems.embedding,
        "finetuning": {},
        "rebalancing": {row: _row(row, split.has_folds) for row in (*systems.experts, *systems.baselines)},
        "fusion": {"experts": systems.experts, "folds": split.has_folds},
        "scoring": _scoring(_scored_parts(corpus, split), systems),
    }
    return Proposal(overlay, [("split", split.why), *systems.lines, *_speaker_normalisation(corpus, systems)])


def _row(name: str, has_folds: bool) -> dict[str, Any]:
    """Return the changes of an entry of rebalancing; the recipe has none of text."""
    text = {"like": AUDIO, "reads": {"source": f"data/embeddings/{TEXT}"}} if name == TEXT else {}
    return {**text, "folds": has_folds}


def _systems(corpus: Corpus, requests: Requests, answers: Callable[[str], bool]) -> _Systems:
    experts: list[str] = []
    baselines: list[str] = []
    not_computed: dict[str, str] = {}
    embedding: dict[str, Any] = {}
    lines: list[tuple[str, str]] = []
    language = requests.language or LANGUAGES.get(corpus.reader)
    if corpus.has_audio:
        speech = checkpoints.speech(requests.encoder, answers)
        lines.append(("audio", speech.why))
        if speech.checkpoint == checkpoints.EGEMAPS:
            experts.append(BASELINE)
            embedding[BASELINE] = {}
        else:
            experts.append(AUDIO)
            length = "true_length" if checkpoints.is_whisper(str(speech.checkpoint)) else "padded_30s"
            embedding[AUDIO] = {
                "encoder": {"checkpoint": speech.checkpoint, "revision": None, "whisper_length": length}
            }
            baselines.append(BEST_LAYER)
            if checkpoints.has_egemaps():
                baselines.append(BASELINE)
                embedding[BASELINE] = {}
            else:
                not_computed[BASELINE] = NOT_INSTALLED
            functionals = f"eGeMAPS not ({NOT_INSTALLED})" if not_computed else "eGeMAPS functionals"
            lines.append(("baselines", f"the encoder's best layer, chosen on development data; {functionals}"))
    elif requests.encoder is not None:
        raise InputError(f"--encoder is given, and {corpus.root} has no recordings: give --text-encoder FOLDER|NAME")
    transcription, encoder, line = _text(corpus, language, requests, answers)
    lines.append(("text", line))
    if encoder is not None:
        experts.append(TEXT)
        embedding[TEXT] = {**compose("default")["embedding"][TEXT], "text": "transcripts"}
        embedding[TEXT]["encoder"] |= {"checkpoint": encoder, "revision": None}
    if not experts:
        raise InputError(f"{corpus.root}: nothing to run ({line})")
    return _Systems(experts, baselines, not_computed, embedding, transcription, lines)


def _text(
    corpus: Corpus, language: str | None, requests: Requests, answers: Callable[[str], bool]
) -> tuple[dict[str, Any], str | None, str]:
    """Return the section transcription, the text encoder or None, and a sentence."""
    reference = {"engine": "reference", "reference": {"missing": "empty"}}
    tell, what = evidence.texts_tell(corpus.frame, corpus.labels)
    if not tell and what != "none":
        return reference, None, what
    if not tell and requests.text_encoder is None and requests.language is None:
        return reference, None, "none; --language CODE transcribes where a recogniser and a text encoder are at hand"
    text = checkpoints.text(requests.text_encoder, language, answers)
    if tell:
        return reference, text.checkpoint, f"{what}; {text.why}"
    if text.checkpoint is None:
        return reference, None, f"none; {text.why}"
    engine, asr = checkpoints.recogniser(requests.asr, requests.encoder, language, answers)
    if asr.checkpoint is None:
        return reference, None, f"none; {asr.why}"
    key = "source_language" if engine == "canary" else "language"
    section: dict[str, Any] = {
        "engine": engine,
        engine: {"checkpoint": asr.checkpoint, "revision": None, key: language},
    }
    return section, text.checkpoint, f"transcribed by {asr.why}; read by {text.why}"


def _scored_parts(corpus: Corpus, split: splits.Split) -> list[str]:
    """Return the splits that are scored, development first."""
    if split.has_folds:
        return ["folds"]
    if split.settings["method"] != "official":
        return ["dev", "test"]
    labelled = {*corpus.frame["split"][corpus.frame["emotion"].isin(corpus.labels)].dropna()}
    return ["dev", *sorted(name for name in labelled if splits.is_scored(name))]


def _scoring(parts: list[str], systems: _Systems) -> dict[str, Any]:
    """Return the section scoring: the systems' tables, and one comparison of systems that exist."""
    rows = [*systems.experts, *systems.baselines]
    tables = {row: f"data/rebalanced/{row}.parquet" for row in rows}
    several = len(systems.experts) > 1
    if several:
        tables["fused"] = "data/fused.parquet"
    return {
        "splits": parts,
        "plotted_split": "folds" if "folds" in parts else "test",
        "tables": tables,
        "baselines": [*systems.baselines, *systems.not_computed],
        "not_computed": systems.not_computed,
        "comparison": {
            "system": "fused" if several else systems.experts[0],
            "against": systems.experts if several else systems.baselines[-1:],
            "chosen_on": parts[0],
        },
    }


def _speaker_normalisation(corpus: Corpus, systems: _Systems) -> list[tuple[str, str]]:
    """Return the line that offers it, only where speakers carry most of the labels each."""
    share = evidence.labels_of_a_speaker(corpus.frame, corpus.labels)
    entry = next((row for row in systems.experts if row in (AUDIO, BASELINE)), None)
    if entry is None or share is None or share < evidence.MOST:
        return []
    key = f"rebalancing.{entry}.source.normalise=speaker"
    return [("option", f"speakers carry {share:.0%} of the labels each: dvc exp run -S {key} may gain much")]


def relative(path: Path, project: Path) -> str:
    """Return a path relative to the project where it lies below it, absolute elsewhere.

    Args:
        path: an absolute one
        project: the folder with dvc.yaml, absolute
    """
    return path.relative_to(project).as_posix() if path.is_relative_to(project) else str(path)
