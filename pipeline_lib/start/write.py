"""``ser start``: look at a corpus, say what is there, write a params.yaml that runs."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import chdir
from pathlib import Path

from pipeline_lib.doctor import mixing
from pipeline_lib.errors import InputError
from pipeline_lib.params import outputs
from pipeline_lib.params.base import PARAMS, read_params
from pipeline_lib.params.check import check, read_all
from pipeline_lib.params.corpus import TABLES
from pipeline_lib.params.machine import read_machine
from pipeline_lib.params.sections import Params
from pipeline_lib.recipes.compose import compose, fill_slots, merge, write_yaml
from pipeline_lib.start import checkpoints, folders
from pipeline_lib.start.inspect import Corpus, inspect
from pipeline_lib.start.proposal import RECIPE, Proposal, Requests, propose, relative
from pipeline_lib.storage import atomic

CLONE = ("dvc.yaml", "stages")
# folders named by what they hold
NAMELESS = ("audio", "data", "wav", "wavs", "corpus", "recordings", "samples")


def start(
    target: Path,
    *,
    requests: Requests,
    given: Mapping[str, str | None],
    root: Path | None = None,
    project: Path = Path(),
    answers: Callable[[str], bool] = checkpoints.hub_answers,
) -> None:
    """Write params.yaml for a corpus, and print what it holds and what is proposed.

    Args:
        target: its folder or table
        requests: language and checkpoints that the user names
        given: meaning -> column that the user names
        root: folder of the recordings of a table
        project: folder with dvc.yaml and stages/
        answers: whether the hub, or its cache here, has a checkpoint

    Raises:
        InputError: there is no project here, nothing to read, nothing that says the labels, no such checkpoint, or a
            recording is a link that leads out of the corpus
    """
    lacking = [name for name in CLONE if not (project / name).exists()]
    if lacking:
        raise InputError(
            f"{project.resolve()} has no {lacking[0]}: ser start works in a clone of the repository, where dvc.yaml and"
            " stages/ are (git clone, then cd into it, or --out FOLDER)"
        )
    corpus = inspect(target, root, given)
    _refuse_outside(corpus)
    requests = Requests(
        requests.language, *(_absolute(each) for each in (requests.encoder, requests.text_encoder, requests.asr))
    )
    with chdir(project):
        name = _name(corpus.root)
        proposal = propose(corpus, name, requests, answers)
        _write(corpus, name, proposal)


def _write(corpus: Corpus, name: str, proposal: Proposal) -> None:
    """Write the table, where one is needed, and params.yaml; print the lines."""
    section = proposal.overlay["corpus"]
    section["root"] = relative(corpus.root, Path.cwd())
    lines = _lines(corpus)
    if corpus.text is not None:
        file = Path(TABLES) / f"{name}.csv"
        section["table"] = {"file": file.as_posix()}
        is_other = file.exists() and file.read_text(encoding="utf-8") != corpus.text
        lines.insert(
            1, ("table", f"{file} {'replaces another' if is_other else 'is written'}, the corpus stays as it is")
        )
        file.parent.mkdir(exist_ok=True)
        atomic.write_file(file, corpus.text)
    values = compose(RECIPE)
    merge(values, proposal.overlay, "ser start")
    for key in ("labels", "merge"):  # of the recipe, of another corpus
        values["corpus"][key] = section[key]
    draft = PARAMS.with_name(f".{PARAMS.name}.draft")
    try:
        atomic.write_file(draft, write_yaml(values))
        fill_slots(values, read_all(read_params(draft), draft))
        atomic.write_file(draft, write_yaml(values))
        params = check(draft)
        atomic.write_file(PARAMS, draft.read_text(encoding="utf-8"))
    finally:
        draft.unlink(missing_ok=True)
    for topic, sentence in (*lines, *proposal.lines):
        print(f"{topic + ':':<10} {sentence}")
    removed = _remove_stale(params)
    if removed:
        print(f"{'removed:':<10} {len(removed)} outputs that params.yaml no longer names ({removed[0]} first)")
    mixing.warn(params, read_machine())
    print(f"{PARAMS} is written (recipe {RECIPE}) and can be run; next: dvc repro, then less metrics/report.md")


def _refuse_outside(corpus: Corpus) -> None:
    """Refuse recordings that a symbolic link takes out of the corpus's folder, as the corpus stage does.

    Raises:
        InputError: there are any
    """
    root = corpus.root.resolve()
    paths = [corpus.root / name for name in corpus.frame["audio"].dropna().unique()]
    outside = [path for path in paths if not path.resolve().is_relative_to(root)]
    if outside:
        raise InputError(
            f"{len(outside)} of {len(paths)} recordings lie outside of {corpus.root}: {outside[0]} leads to"
            f" {outside[0].resolve()} (a symbolic link); copy them, or give the folder that they lie in"
        )


def _remove_stale(params: Params) -> list[Path]:
    """Remove outputs of earlier parameters, but no folder in which the corpus lies; return them."""
    root = Path(params.corpus.root).resolve()
    stale = [path for path in outputs.stale_outputs(params) if not root.is_relative_to(path.resolve())]
    for path in stale:
        outputs.remove(path)
    return stale


def _lines(corpus: Corpus) -> list[tuple[str, str]]:
    """Return what the corpus holds, topic -> sentence."""
    frame = corpus.frame
    files = frame["audio"].nunique()
    sound = f"{files:,} recordings, {corpus.hours:.2g} h" if corpus.has_audio else "no recordings"
    lines = [("corpus", f"{corpus.root} ({corpus.kind}): {len(frame):,} utterances, {sound}")]
    counts = Counter(emotion for emotion in frame["emotion"] if isinstance(emotion, str))
    lines.append(("labels", ", ".join(f"{label} {counts[label]}" for label in corpus.labels)))
    merge = corpus.settings.get("merge")
    if merge:
        lines.append(("merge", ", ".join(f"{old} is {new}" for old, new in merge.items()) + " (corpus.merge)"))
    if corpus.left_out:
        out = ", ".join(f"{label} {n}" for label, n in corpus.left_out.items())
        lines.append(("left out", f"{out} (too few, or no emotion; corpus.labels)"))
    speakers, unknown = frame["speaker"].nunique(), int(frame["speaker"].isna().sum())
    without = f", {unknown} utterances without" if unknown and speakers else ""
    source = "".join(
        f", {note.removeprefix(folders.SPEAKERS).strip()}" for note in corpus.notes if _is_of_speakers(note)
    )
    lines.append(("speakers", f"{speakers}{without}{source}" if speakers else f"unknown{source}"))
    return [*lines, *(("note", note) for note in corpus.notes if not _is_of_speakers(note))]


def _is_of_speakers(note: str) -> bool:
    return note.startswith(f"{folders.SPEAKERS} ")


def _name(root: Path) -> str:
    """Return what a corpus is called: its folder, or the folder above one that is called by what lies in it."""
    folder = root.parent if root.name.casefold() in NAMELESS and root.parent.name else root
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in folder.name)
    return name.strip("._-") or "corpus"


def _absolute(checkpoint: str | None) -> str | None:
    """Return a checkpoint's folder or file as an absolute path, a name on the hub as it is."""
    path = Path(checkpoint or "")
    return str(path.resolve()) if checkpoint and path.exists() else checkpoint
