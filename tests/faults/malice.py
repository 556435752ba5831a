"""Artifacts made by somebody who means harm: none runs code, reads or writes outside its root, or fills the machine.

Every payload would leave a mark, a file named ``ran``, beside the artifact; a secret lies there too. A case passes when
the artifact is refused by a message or read without harm, no mark is there and the secret has gone nowhere.
"""

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.audio import decoding
from pipeline_lib.corpus import checksums
from pipeline_lib.corpus.collect import collect
from pipeline_lib.finetuning.augmentation.sounds import find
from pipeline_lib.finetuning.finetune import finetune
from pipeline_lib.params.augmentation import NoiseSettings
from pipeline_lib.tables import manifest
from pipeline_lib.transcription import archive
from tests.encoders import checkpoints as encoders
from tests.faults import artifacts, forked, tables
from tests.faults.cases import Case, command, refused, share
from tests.faults.malicious_checkpoints import CHECKPOINTS, EXPERTS, evil
from tests.finetuning import corpora
from tests.transcription.archives import WRITER, packed

SECRET = "the secret of another folder"
NEMO = {"target": "nemo.collections.asr.models.aed_multitask_models.EncDecMultiTaskModel"}


def harmless(check: Callable[[Path], None], folder: Path) -> None:
    """Run one case beside a secret, in a child with a time limit; see that nothing was run or touched."""
    (folder / "secret.txt").write_text(SECRET)
    (folder / "secret.wav").write_bytes(b"RIFF")
    inside = folder / "inside"
    inside.mkdir()
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    status = forked.run(partial(check, inside), 120.0, str(folder / "log.txt"))
    said = (folder / "log.txt").read_text(errors="replace")
    (folder / "log.txt").unlink()
    assert not list(folder.rglob("ran")), "code was run"
    assert status == 0, f"{'hung' if status is None else 'failed'}: {said[-400:]}"
    after = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert after == before, f"touched {sorted({*after} ^ {*before})}"
    assert SECRET not in said, "the secret was shown"


# archives


BOMB = "a0: &a0 [x, x]\n" + "\n".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60))


def special(name: str, kind: bytes, target: str = "", size: int = 0) -> tarfile.TarInfo:
    """Return a member that is no plain file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


ARCHIVES: list[tuple[str, list, bytes | dict, str]] = [
    ("a member that climbs", [("../ran", b"")], NEMO, "leads out of its folder"),
    ("a member from the root", [("/tmp/ran", b"")], NEMO, "leads out of its folder"),
    ("a symbolic link", [special("x", tarfile.SYMTYPE, "../secret.txt")], NEMO, "a symbolic link"),
    ("a hard link", [special("x", tarfile.LNKTYPE, "../secret.txt")], NEMO, "a hard link"),
    ("a device", [special("x", tarfile.CHRTYPE)], NEMO, "expected plain files"),
    ("a million members", [(f"{i}.txt", b"") for i in range(1_200)], NEMO, "a bomb"),
    ("a pickle beside the weights", [("x.pkl", b"")], NEMO, "no part of a Canary"),
    ("a function of the system", [], {**NEMO, "x": {"_target_": "os.system"}}, "it is not run"),
    ("an object of Python", [], b"x: !!python/object/apply:os.system [touch ran]\n", "not YAML that can be loaded"),
    ("anchors that grow", [], BOMB.encode(), "a few lines can stand for billions"),
    ("a resolver behind a blank", [], {**NEMO, "x": f"${{ oc.create:{{_target_: {WRITER}}}}}"}, "it is not run"),
    ("a resolver behind a tab", [], {**NEMO, "x": "${\toc.env:HOME}"}, "it is not run"),
    ("a resolver with a nested name", [], {**NEMO, "x": "${${y}.env:HOME}", "y": "oc"}, "it is not run"),
    ("a tokenizer of the system", [], {**NEMO, "tokenizer": {"dir": "/etc"}}, "no file of the archive"),
    ("a tokenizer of the secret", [], {**NEMO, "tokenizer": {"model_path": "../secret.txt"}}, "no file of the archive"),
    ("weights of another model", [], {**NEMO, "init_from_nemo_model": "../other.nemo"}, "it is not read"),
]


def an_archive(members: list, config: bytes | dict, pattern: str, root: Path) -> None:
    """Refuse an archive before NeMo sees it."""
    with refused(pattern):
        archive.check(packed(root / "a.nemo", members, config))


# tables and corpora


def a_corpus(root: Path, *rows: str, **changes: str) -> None:
    """Write eight recordings and their table."""
    tables.recordings(root)
    (root / "corpus.csv").write_text(tables.table(*rows, **changes))


def a_label(text: str, root: Path) -> None:
    a_corpus(root, f"{tables.quoted('a.wav')},{tables.quoted(text)},train,s1")
    with refused("emotion (names|is) "):
        collect(tables.settings(root))


def identifiers_that_climb(root: Path) -> None:
    a_corpus(root, header=tables.HEADER + ",utterance_id", cells="../../../ran")
    found = collect(tables.settings(root))
    manifest.write(root / "data" / "manifest.parquet", found.manifest)
    assert "../../../ran" in manifest.read(root / "data" / "manifest.parquet").ids


def a_path_in_a_table(path: str, root: Path) -> None:
    a_corpus(root, f"{path},joy,test,s3")
    with refused("line 10: audio: "):
        collect(tables.settings(root))


def a_transcript_that_is_a_link(root: Path) -> None:
    (root / "Labels").mkdir()
    (root / "Transcripts").mkdir()
    header = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
    (root / "Labels/labels_consensus.csv").write_text(header + "a.wav,A,5,5,5,1,Male,Train\n")
    (root / "Transcripts/a.txt").symlink_to(root.parent / "secret.txt")
    with refused("outside"):
        collect(tables.settings(root, "msp_podcast"))


def checksums_of_elsewhere(root: Path) -> None:
    a_corpus(root)
    checksums.write(root)
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    (root / "SHA256SUMS").write_text((root / "SHA256SUMS").read_text() + f"{digest}  ../secret.txt\n")
    with refused("is no path below"):
        collect(tables.settings(root))


def a_manifest_that_leads_outside(root: Path) -> None:
    written = encoders.write(root / "checkpoints", "w2v_bert")
    corpus = corpora.make(root)
    corpus.frame.loc[0, "audio"] = "../secret.wav"
    place = {"expert": root / "e", "curve": root / "c", "work": root / "w"}
    with refused("is no path below"):
        finetune("tones", corpora.settings(written, "audio"), corpus, root, None, **place, machine=corpora.machine())


def a_table_with_a_type_of_pythons(root: Path) -> None:
    tables.recordings(root)
    name = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": evil(root.parent)}
    schema = pa.schema([pa.field(n, pa.string(), metadata=name) for n in tables.HEADER.split(",")])
    pq.write_table(pa.table(tables.columns(), schema=schema), root / "corpus.parquet")
    collect(tables.settings(root, table={"file": "corpus.parquet"}))


def a_table_of_noises(root: Path) -> None:
    (root / "noises.csv").write_text("file,category\n../secret.wav,noise\n")
    asked = NoiseSettings(probability=1.0, root=str(root), table="noises.csv")
    with refused("is no path below"):
        find(SimpleNamespace(noise=asked, reverberation=SimpleNamespace(probability=0.0, root=None)))


def a_table_that_is_a_link(root: Path) -> None:
    out = root / "manifest.parquet"
    out.symlink_to(root.parent / "secret.txt")
    manifest.write(out, artifacts.a_manifest())
    assert not out.is_symlink() and len(manifest.read(out)) == 40  # the link was replaced, not followed


def a_recording_of_gigabytes(root: Path) -> None:
    tables.recordings(root)
    with (root / "bomb.flac").open("wb") as file:
        file.write(tables_bomb())
    with refused("too long|lasts", decoding.BadAudio):
        decoding.check(root / "bomb.flac", 0.1, 120.0)


def tables_bomb() -> bytes:
    """Return half an hour of silence in kilobytes."""
    from tests.faults.damaged_recordings import silent_hours

    return silent_hours()


CORPORA = (
    identifiers_that_climb,
    a_transcript_that_is_a_link,
    checksums_of_elsewhere,
    a_manifest_that_leads_outside,
    a_table_with_a_type_of_pythons,
    a_table_of_noises,
    a_table_that_is_a_link,
    a_recording_of_gigabytes,
)
LABELS = ("<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "=HYPERLINK(1)", "@SUM(A1)", "a|b\n# x")


def every() -> Iterator[Case]:
    """Yield all cases."""
    for name, members, config, pattern in ARCHIVES:
        yield Case(name, "archive", partial(harmless, partial(an_archive, members, config, pattern)))
    for kind, checks in (("checkpoint", CHECKPOINTS), ("expert", EXPERTS), ("corpus", CORPORA)):
        for check in checks:
            yield Case(check.__name__.replace("_", " "), kind, partial(harmless, check))
    for text in LABELS:
        yield Case(f"a label {text!r}", "corpus", partial(harmless, partial(a_label, text)))
    for path in ("../secret.wav", "/etc/passwd"):
        yield Case(f"a recording {path}", "corpus", partial(harmless, partial(a_path_in_a_table, path)))


def cases(count: int, seed: int) -> list[Case]:
    """Return ``count`` of the cases, or all."""
    return share(every(), count, seed)


if __name__ == "__main__":
    command("malice", cases, 100)
