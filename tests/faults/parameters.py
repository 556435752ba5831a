"""Bad params.yaml: the first stage refuses each in under two seconds of CPU, naming the key, before a model loads.

Every case is the default recipe with one thing spoiled: a value (``VALUES``) or the file's text (``TEXTS``). Some run
as the user types it, ``python -m stages.check``, which must not have imported torch.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path

import yaml
from ruamel.yaml import YAML

from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.check import check
from tests.faults.cases import Case, command, refused, share

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "pipeline_lib/recipes/default.yaml"
LIMIT_S = 2.0  # of CPU
BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
)
GONE = object()

VALUES: list[tuple[str, object, str]] = [
    ("corpus.reader", "ravdes", "corpus.reader is 'ravdes', expected 'ravdess'"),
    ("corpus.reader", 3, "corpus.reader is 3, expected 'ravdess'"),
    ("corpus.reader", GONE, "corpus.reader is missing"),
    ("corpus.root", "nowhere", "corpus.root 'nowhere' does not exist"),
    ("corpus.root", "", "corpus.root is ''"),
    ("corpus.rooot", "data", "corpus.rooot is not a parameter, expected one of .*'root'"),
    ("corpus.labels", ["anger"], "labels is .*expected at least two"),
    ("corpus.labels", "anger", "corpus.labels is 'anger'"),
    ("corpus.labels", ["anger", "X"], r"labels or merge names \['X'\]"),
    ("corpus.split.shares.dev", 1.5, "corpus.split.shares.dev is 1.5"),
    ("corpus.split.shares", {"dev": 0.6, "test": 0.5}, "nothing is left for train"),
    ("corpus.split.folds", 5, "folds is a section now"),
    ("corpus.split.folds.k", 1, "corpus.split.folds.k"),
    ("corpus.min_duration_s", "0.1", "corpus.min_duration_s is '0.1'"),
    ("corpus.max_duration_s", 0.05, "max_duration_s 0.05 is not above"),
    ("corpus.max_duration_s", float("nan"), "corpus.max_duration_s is nan"),
    ("corpus.max_duration_s", float("inf"), "corpus.max_duration_s is inf"),
    ("corpus.attribute_scale", [7, 1], "attribute_scale is .*lowest value first"),
    ("corpus.workers", 2, "corpus.workers has moved to machine.yaml"),
    ("corpus", GONE, "section 'corpus' is missing"),
    ("corpus", [1], r"corpus is \[1\]"),
    ("corpus", None, "corpus is None"),
    ("korpus", {"root": "data"}, "'korpus' is not a section, expected one of"),
    ("transcription.engine", "kanary", "transcription.engine is 'kanary', expected 'canary'"),
    ("transcription.canary.checkpoint", "models/demo/canary.nmo", "models/demo/canary.nmo"),
    ("transcription.canary.batch_size", 0, "transcription.canary.batch_size is 0"),
    ("transcription.canary.max_chunk_s", float("inf"), "transcription.canary.max_chunk_s is inf"),
    ("transcription.silence_dbfs", "-60 dB", "transcription.silence_dbfs is '-60 dB'"),
    ("transcription.reads.d", "x", "transcription.reads.d is not a parameter"),
    ("embedding.audio.layers", "most", "embedding.audio.layers"),
    ("embedding.audio.pooling", "max", "embedding.audio.pooling is 'max', expected 'mean'"),
    ("embedding.audio.limit_gb", 1.0, "embedding.audio.limit_gb has moved to machine.yaml"),
    ("embedding.text.reads.transcripts", "data/manifest.parquet", "reads.transcripts: data/transcripts.parquet"),
    ("embedding.Audio", {"modality": "audio"}, "embedding has an entry named 'Audio'"),
    ("embedding.audio.expert", "models/nobody", "encoder and expert are both null or both set, expected one"),
    ("finetuning.audio.encoder.checkpoint", "models/demo/w2v", "models/demo/w2v"),
    ("finetuning.audio.encoder", GONE, "finetuning.audio.encoder is missing"),
    ("finetuning.audio.modality", "video", "finetuning.audio.modality is 'video', expected 'audio', 'text' or 'joint'"),
    ("finetuning.audio.branches", None, r"finetuning.audio.branches applies only to modality 'joint' \(got 'audio'\)"),
    ("finetuning.text.augmentation", {}, "finetuning.text.augmentation applies only to modality 'audio' or 'joint'"),
    ("embedding.text.batch_size", 8, "embedding.text.batch_size is now batch.size: rename it"),
    ("finetuning.audio.seed", -1, "finetuning.audio.seed is -1"),
    ("finetuning.audio.phases", {}, "finetuning.audio.phases"),
    ("finetuning.audio.phases.main.epochs", 0, "finetuning.audio.phases.main.epochs is 0"),
    ("finetuning.audio.phases.main.epochs", 2.5, "finetuning.audio.phases.main.epochs is 2.5"),
    ("finetuning.audio.phases.main.learning_rate", "1e-3x", "phases.main.learning_rate is '1e-3x'"),
    ("finetuning.audio.phases.main.learning_rate", float("inf"), "phases.main.learning_rate is inf"),
    ("finetuning.audio.phases.main.chunk_s", [3.0, 1.0], "chunk_s is .*shortest, longest"),
    ("finetuning.audio.phases.main.chunk_s", [1.0], "phases.main.chunk_s"),
    ("finetuning.audio.phases.main.batch_size", 1, "phases.main.batch_size is 1"),
    ("finetuning.audio.losses.concordance", 0.0, "gives concordance no weight"),
    ("finetuning.audio.losses.cross_entropy", -1.0, "finetuning.audio.losses.cross_entropy is -1.0"),
    ("finetuning.audio.targets.attributes", ["arousal", "arousal"], "expected each once"),
    ("finetuning.audio.targets.attributes", ["activation"], "finetuning.audio.targets.attributes.0 is 'activation'"),
    ("finetuning.audio.head.kind", "sequence_classification", "which applies only to modality 'text'"),
    ("finetuning.audio.head.dropout", 1.0, "finetuning.audio.head.dropout is 1.0"),
    ("finetuning.audio.adaptation.lora.r", 0, "adaptation.lora.r is 0"),
    ("finetuning.text.phases.main.chunk_s", [1.0, 2.0], "text.phases.main.chunk_s applies only to modality 'audio'"),
    ("finetuning.demo", {"modality": "audio"}, "finetuning has an entry named 'demo'"),
    ("rebalancing.video", {"method": "none"}, "video.reads.source is 'data/manifest.parquet', which is no"),
    ("rebalancing.text.reads.source", "data/predictions/video.parquet", "predictions/video.parquet', which is no"),
    ("rebalancing.text_layers.source", None, "reads.source is an embedding, expected source"),
    ("embedding.text.probe", {"penalty": 1.0}, "embedding.text.probe is now rebalancing.<entry>.source"),
    ("rebalancing.audio.prior", "given", "prior is 'given', expected shares"),
    ("rebalancing.audio.given", {"anger": -1.0}, "rebalancing.audio.given.anger is -1.0"),
    ("rebalancing.audio.lda_logistic.shrinkage", 2.0, "rebalancing.audio.lda_logistic.shrinkage.* is 2.0"),
    ("rebalancing.audio.em.tolerance", 0.0, "rebalancing.audio.em.tolerance is 0.0"),
    ("fusion.experts", ["audio", "txt"], "fusion.experts names 'txt'"),
    ("fusion.experts", ["audio", "audio"], "named twice"),
    ("fusion.interpolation.step", 0.3, "fusion.interpolation.step is 0.3: expected a step that divides 1"),
    ("fusion.plda.floor", 0.0, "fusion.plda.floor is 0.0"),
    ("scoring.tables.fused", "data/fussed.parquet", "scoring.tables.fused is 'data/fussed.parquet', which no stage"),
    ("scoring.tables.../escape", "data/fused.parquet", "tables names the system '../escape'"),
    ("scoring.plotted_split", "validation", "plotted_split is 'validation', expected one of splits"),
    ("scoring.intervals.confidence", 95.0, "scoring.intervals.confidence is 95.0"),
]

TEXTS: list[tuple[str, Callable[[str], str | bytes], str]] = [
    ("no bytes", lambda text: "", "holds NoneType, expected sections"),
    ("a list", lambda text: "- corpus\n", "holds list, expected sections"),
    ("a bracket not closed", lambda text: text + "\nx: [1, 2", "is not YAML: .*line"),
    ("a tab", lambda text: replaced(text, "\n  method: plda", "\n\tmethod: plda"), "is not YAML: .*tab|is not YAML"),
    ("an indent too many", lambda text: replaced(text, "  tuning: dev_bal", "    tuning: dev_bal"), "is not YAML"),
    ("a key twice", lambda text: text + "\nfusion: {method: logreg}\n", 'is not YAML: .*duplicate key "fusion"'),
    ("two documents", lambda text: text + "\n---\ncorpus: {}\n", "is not YAML"),
    ("an object of Python", lambda text: text + "\nx: !!python/object/apply:os.system [id]\n", "is not YAML: .*tag"),
    ("an alias of nothing", lambda text: text + "\nx: *nothing\n", "is not YAML: .*nothing"),
    ("a bomb of anchors", lambda text: BOMB + "\n" + text, "'a0' is not a section"),
    ("a bomb in a value", lambda text: bomb_in(text), "corpus.labels.*is \\[\\["),
    (
        "an anchor within itself",
        lambda text: replaced(text, "  labels:", "  labels: &l [*l, *l]", 1),
        "corpus.labels",
    ),
    (
        "brackets nested deeply",
        lambda text: replaced(text, "  labels:", "  labels: " + "[" * 1000, 1),
        "is not YAML",
    ),
    ("Latin-1", lambda text: text.encode().replace(b"Synthetic", b"Synth\xe9tic"), "is not UTF-8"),
    ("UTF-16", lambda text: text.encode("utf-16"), "is not UTF-8"),
    ("a control character", lambda text: replaced(text, "Synthetic", "Synth\x01etic"), "is not YAML"),
    ("yes for true", lambda text: replaced(text, "pnc: false", "pnc: yes"), "transcription.canary.pnc is 'yes'"),
    ("a date for a name", lambda text: replaced(text, "name: demonstration", "name: 2024-01-01"), "corpus.name is"),
    ("a merge", lambda text: replaced(text, "  on_bad: drop", "  <<: {wrkers: 2}", 1), "wrkers is not a parameter"),
]


def replaced(text: str, old: str, new: str, count: int = -1) -> str:
    """Return the text with other words in it, which have to be there."""
    assert old in text, f"{old!r} is not in the file"
    return text.replace(old, new, count)


def bomb_in(text: str) -> str:
    """Return the file with a list of a thousand million words as the corpus's labels."""
    nested = "&a0 [x, x, x, x, x, x, x, x, x, x]"
    for i in range(1, 10):
        nested = f"&a{i} [{nested}, {', '.join([f'*a{i - 1}'] * 9)}]"
    return replaced(text, "  labels:", f"  labels: {nested}", 1)


@cache
def default() -> str:
    """Return the default recipe."""
    return DEFAULT.read_text()


@cache
def parsed() -> dict:
    """Return the default recipe's values."""
    return YAML(typ="safe", pure=True).load(default())


def with_value(dotted: str, value: object) -> dict:
    """Return the default with one value set or taken away."""
    values = deepcopy(parsed())
    *path, last = dotted.split(".", 2) if "../" in dotted else dotted.split(".")
    inner = values
    for part in path:
        inner = inner[part]
    if value is GONE:
        del inner[last]
    else:
        inner[last] = value
    return values


def looked_at(content: str | bytes | dict, pattern: str) -> Callable[[Path], None]:
    """Return the check of one params.yaml, in this process."""

    def checked(folder: Path) -> None:
        path = folder / "params.yaml"
        write(path, content)
        with refused(pattern, ParameterError, LIMIT_S):
            check(path)

    return checked


def write(path: Path, content: str | bytes | dict) -> None:
    """Write params.yaml."""
    if isinstance(content, dict):
        content = yaml.dump(content, Dumper=yaml.CSafeDumper)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def typed(content: str | bytes | dict, expected: str) -> Callable[[Path], None]:
    """Return the check of one params.yaml by ``python -m stages.check``, with all its imports."""
    code = "import runpy, sys; sys.argv = ['check']\ntry: runpy.run_module('stages.check', run_name='__main__')\n"
    code += "finally: print({'torch', 'transformers', 'nemo', 'pandas'} & {*sys.modules})"

    def checked(folder: Path) -> None:
        write(folder / "params.yaml", content)
        (folder / "models").symlink_to(ROOT / "models")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        assert done.returncode == 1 and done.stderr.startswith("error: params.yaml"), done.stderr[-500:]
        assert expected in done.stderr and "Traceback" not in done.stderr, done.stderr[-500:]
        assert done.stdout.strip() == "set()", f"imported {done.stdout}"
        assert spent < LIMIT_S, f"refused after {spent:.1f} s of CPU"

    return checked


def several(folder: Path) -> None:
    """Refuse many mistakes at once, each with a line of its own."""
    values = with_value("fusion.method", "logreq")
    values["scoring"]["calibration_bins"] = 1
    values["finetuning"]["audio"]["precision"] = "half"
    write(folder / "params.yaml", values)
    with refused("finetuning.audio.precision.*\n.*fusion.method.*\n.*scoring.calibration_bins", ParameterError):
        check(folder / "params.yaml")


def no_file(folder: Path) -> None:
    """Refuse a missing file, and a folder in its place."""
    with refused("does not exist; commands are run from the project's root", ParameterError):
        check(folder / "params.yaml")
    (folder / "params.yaml").mkdir()
    with refused("params.yaml cannot be read", ParameterError):
        check(folder / "params.yaml")


def every() -> Iterator[Case]:
    """Yield all cases."""
    for dotted, value, pattern in VALUES:
        name = f"{dotted} {'gone' if value is GONE else f'as {value!r}'}"
        yield Case(name, "value", looked_at(with_value(dotted, value), pattern))
    for name, spoil, pattern in TEXTS:
        yield Case(name, "text", looked_at(spoil(default()), pattern))
    yield Case("three mistakes at once", "text", several)
    yield Case("no file", "text", no_file)
    yield Case("a wrong method", "command", typed(with_value("fusion.method", "logreq"), "fusion.method is 'logreq'"))
    yield Case("no YAML", "command", typed(default() + "\nx: [1, 2", "is not YAML"))
    yield Case("a bomb of anchors", "command", typed(BOMB + "\n" + default(), "'a0' is not a section"))


def cases(count: int, seed: int) -> list[Case]:
    """Return ``count`` of the cases, or all."""
    return share(every(), count, seed)


if __name__ == "__main__":
    command("parameters", cases, 200)
