"""Who is tested by which fold: no speaker on both sides, every label in every part, the same for the same seed."""

from collections import Counter

import numpy as np
import pytest

from pipeline_lib.corpus import folds, layout
from pipeline_lib.corpus.collect import collect
from pipeline_lib.corpus.leaks import leaks
from pipeline_lib.errors import InputError
from pipeline_lib.params.corpus import CorpusSettings
from pipeline_lib.params.split import SplitSettings
from pipeline_lib.tables import folds as views

LABELS = ("anger", "happiness", "neutral", "sadness")


def rows_of(counts: dict[str, dict[str, int]], genders: dict[str, str] | None = None) -> list[dict]:
    """Return a row for each utterance of ``{speaker: {emotion: number}}``."""
    return [
        {"utterance_id": f"{speaker}_{emotion}_{i:03d}", "speaker": speaker, "emotion": emotion}
        | {"gender": (genders or {}).get(speaker)}
        for speaker, numbers in counts.items()
        for emotion, n in numbers.items()
        for i in range(n)
    ]


def confounded(seed: int = 0) -> dict[str, dict[str, int]]:
    """Return 38 speakers and 400 utterances; most speakers have one label, some a few of a second, as URDU's do."""
    rng = np.random.default_rng(seed)
    sizes = rng.multinomial(400 - 38, rng.dirichlet(np.full(38, 0.8))) + 1
    counts: dict[str, dict[str, int]] = {}
    for i, size in enumerate(sizes):
        main = LABELS[i % 4]
        minor = int(size) // 4 if i % 3 == 0 else 0
        counts[f"s{i:02d}"] = {main: int(size) - minor} | ({LABELS[(i + 1) % 4]: minor} if minor else {})
    return counts


def settings(method: str = "folds", **more) -> SplitSettings:
    return SplitSettings.parse({"method": method, "folds": more.pop("folds", {}), **more}, "corpus.split")


def folded(rows: list[dict], labels=LABELS, **more):
    """Return the frame with fold and subsets, and the messages of the development parts."""
    frame = layout.frame(rows).sort_values("utterance_id").reset_index(drop=True)
    split = settings(**more)
    frame["split"] = folds.split(frame)
    frame["fold"] = folds.draw(frame, split, labels)
    frame["sound"] = None
    values = {"reader": "table", "root": "data", "dev_bal": {"per_class": 2}}
    whole = CorpusSettings.parse(values, "corpus").model_copy(update={"split": split})
    names, _, messages = folds.with_subsets(frame, whole, labels)
    return frame.assign(subsets=names), messages


def parts(frame, fold: int) -> dict[str, set[int]]:
    """Return the rows of train, dev and test of a fold."""
    is_dev = frame["subsets"].map(lambda names: f"fold{fold}_dev" in names)
    test, inside = frame["fold"] == fold, frame["fold"] >= 0
    assert not (is_dev & test).any()
    return {
        name: set(frame.index[mask])
        for name, mask in (("train", inside & ~test & ~is_dev), ("dev", is_dev), ("test", test))
    }


def assert_whole(frame, k: int, labels=LABELS) -> None:
    """Every speaker is on one side, every label in train and dev of each fold, every row tested once."""
    assert leaks(frame) == [] and sorted(set(frame["fold"])) == list(range(k))
    for fold in range(k):
        rows = parts(frame, fold)
        speakers = {name: set(frame["speaker"][list(each)]) for name, each in rows.items()}
        assert not speakers["test"] & (speakers["train"] | speakers["dev"])
        assert not speakers["dev"] & speakers["train"]
        for name in ("train", "dev"):
            assert set(labels) <= set(frame["emotion"][list(rows[name])])


@pytest.mark.parametrize("seed", range(5))
def test_speakers_who_mostly_carry_one_label_leave_no_part_without_any(seed):
    frame, messages = folded(rows_of(confounded(seed)))
    assert len(frame) == 400 and messages == []
    assert_whole(frame, 5)
    own = frame.groupby("speaker")["fold"].first()
    table = np.array([[((frame["speaker"] == s) & (frame["emotion"] == e)).sum() for e in LABELS] for s in own.index])
    rng = np.random.default_rng(seed)
    blind = [chi_square(table, rng.permutation(own.to_numpy())) for _ in range(300)]
    assert chi_square(table, own.to_numpy()) < min(blind)


def chi_square(table: np.ndarray, parts: np.ndarray) -> float:
    """Pearson's statistic of the table fold x label against equal folds, infinite where a fold lacks a label."""
    counts = np.stack([table[parts == fold].sum(axis=0) for fold in range(5)])
    expected = table.sum(axis=0) / 5
    return float(((counts - expected) ** 2 / expected).sum()) if (counts > 0).all() else np.inf


def test_the_seed_alone_decides_whatever_the_order_of_rows():
    rows = rows_of(confounded())
    shuffled = [rows[i] for i in np.random.default_rng(3).permutation(len(rows))]
    (first, _), (second, _), (other, _) = folded(rows), folded(shuffled), folded(rows, seed=2)
    assert first["fold"].tolist() == second["fold"].tolist() and first["subsets"].tolist() == second["subsets"].tolist()
    assert first["fold"].tolist() != other["fold"].tolist()


def test_balanced_speakers_are_dealt_evenly_by_gender():
    genders = {f"{g}{i:02d}": {"w": "female", "m": "male"}[g] for g in "wm" for i in range(12)}
    frame, _ = folded(rows_of({name: dict.fromkeys(LABELS, 4) for name in genders}, genders))
    assert_whole(frame, 5)
    dealt = Counter((f, s[0]) for s, f in set(zip(frame["speaker"], frame["fold"], strict=True)))
    assert set(dealt.values()) <= {2, 3} and {sum(dealt[f, g] for g in "wm") for f in range(5)} <= {4, 5}


@pytest.mark.parametrize(
    ("counts", "most"), [(confounded(), 4.0), ({f"s{i:02d}": dict.fromkeys(LABELS, 8) for i in range(24)}, 0.0)]
)
def test_one_recording_more_of_a_speaker_moves_few_others(counts, most):
    before = dealt(counts)
    moved = []
    for speaker in list(counts)[::4]:
        label = next(iter(counts[speaker]))
        after = dealt(counts | {speaker: counts[speaker] | {label: counts[speaker][label] + 1}})
        moved.append(sum(before[name] != after[name] for name in before))
    assert np.mean(moved) <= most


def dealt(counts: dict[str, dict[str, int]]) -> dict[str, int]:
    """Return the fold of each speaker."""
    frame = layout.frame(rows_of(counts)).assign(split="folds")
    return dict(zip(frame["speaker"], folds.draw(frame, settings(), LABELS), strict=True))


def test_loso_tests_one_speaker_a_fold_in_natural_order():
    counts = {f"s{i}": dict.fromkeys(LABELS, 2) for i in (1, 2, 10)}
    frame, _ = folded(rows_of(counts), folds={"k": "loso"})
    assert dict(zip(frame["speaker"], frame["fold"], strict=True)) == {"s1": 0, "s2": 1, "s10": 2}
    assert_whole(frame, 3)


def test_a_development_part_without_a_choice_of_whole_speakers_is_of_utterances_and_says_so():
    counts = {"a": {"anger": 6, "fear": 6}, "b": {"anger": 6, "fear": 6}}
    frame, messages = folded(rows_of(counts), ("anger", "fear"), folds={"k": 2})
    assert messages[0].startswith("2 folds (fold0, fold1) develop on utterances of speakers they train on")
    for fold in range(2):
        rows = parts(frame, fold)
        assert Counter(frame["emotion"][list(rows["dev"])]) == {"anger": 1, "fear": 1}  # a fifth of six
        assert len(rows["train"]) == 10


def test_a_label_of_one_speaker_alone_is_refused_with_counts_and_alternatives():
    counts = {f"s{i}": {"anger": 3, "fear": 3} for i in range(6)}
    counts["s3"]["disgust"] = 7
    with pytest.raises(InputError, match=r"disgust 7 of 1 speakers \(s3\).*corpus.merge.*by: utterances"):
        folded(rows_of(counts), ("anger", "disgust", "fear"))
    frame, _ = folded(rows_of(counts), ("anger", "disgust", "fear"), folds={"by": "utterances"})
    assert set(Counter(frame["fold"][frame["emotion"] == "disgust"]).values()) <= {1, 2}


def test_too_few_speakers_and_unknown_ones_are_refused():
    counts = {f"s{i}": {"anger": 3, "fear": 3} for i in range(4)}
    with pytest.raises(InputError, match="k is 5, the corpus has 4 speakers: set it lower"):
        folded(rows_of(counts), ("anger", "fear"))
    rows = [row | {"speaker": None} for row in rows_of(counts)]
    with pytest.raises(InputError, match="24 of 24 utterances have none, .*by: utterances"):
        folded(rows, ("anger", "fear"))


def test_a_label_that_too_few_speakers_have_for_every_fold_is_a_warning():
    counts = {f"s{i}": {"anger": 3, "fear": 3 * (i < 3)} for i in range(10)}
    frame, _ = folded(rows_of(counts), ("anger", "fear"))
    (message,) = folds.warnings(frame, settings(), ("anger", "fear"))
    assert message.startswith("2 folds have none of a label to test (fold")
    for fold in range(5):
        assert "fear" in set(frame["emotion"][list(parts(frame, fold)["train"])])


def test_rows_outside_keep_a_test_of_their_own_or_are_unlabelled():
    rows = rows_of({f"s{i}": {"anger": 2, "fear": 2} for i in range(6)})
    rows += [
        {"utterance_id": "own", "speaker": "t", "emotion": "anger", "split": "test2"},
        {"utterance_id": "bare", "speaker": "s0", "split": "train"},
        {"utterance_id": "apart", "speaker": "s0", "emotion": "fear", "split": "unlabelled"},
        {"utterance_id": "rated", "speaker": "s0", "arousal": 3.0, "split": "dev"},
    ]
    frame, _ = folded(rows, ("anger", "fear"), folds={"k": 3})
    seen = frame.set_index("utterance_id")
    assert seen["split"][["own", "bare", "apart", "rated"]].tolist() == ["test2", "unlabelled", "unlabelled", "folds"]
    assert (seen["fold"][["own", "bare", "apart"]] == -1).all()
    assert seen["fold"]["rated"] == seen["fold"]["s0_anger_000"]
    assert leaks(frame) == []


def table(root, say, rows, header):
    for row in rows:
        say(root / row[0])
    (root / "corpus.csv").write_text("\n".join(",".join(cells) for cells in [header, *rows]) + "\n")


def test_a_tables_column_names_the_folds(tmp_path, say, settings):
    rows = [[f"{i:02d}.wav", ("anger", "fear")[i % 2], f"p{i // 4}", str(9 + i // 4)] for i in range(12)]
    table(tmp_path, say, rows, ("audio", "emotion", "speaker", "part"))
    column = {"method": "folds", "folds": {"by": "column", "column": "part"}}
    collected = collect(settings("table", split=column, dev_bal={"per_class": 1}))
    assert views.fold_of(collected.manifest).tolist() == [0] * 4 + [1] * 4 + [2] * 4  # 9, 10, 11
    assert collected.metrics["subsets"]["fold0"] == 4 and "fold2_dev_bal" in collected.metrics["subsets"]
    assert "columns not read" not in collected.metrics["warnings"]
    with pytest.raises(InputError, match=r"no column 'session' \(corpus.split.folds.column\)"):
        collect(settings("table", split={"method": "folds", "folds": {"by": "column", "column": "session"}}))
    crossing = {"method": "folds", "folds": {"by": "column", "column": "emotion"}}
    with pytest.raises(InputError, match="label 'anger' are tested by fold0"):
        collect(settings("table", split=crossing))


def test_speakers_in_two_folds_of_a_column_are_refused_unless_that_is_allowed(tmp_path, say, settings):
    rows = [[f"{i:02d}.wav", ("anger", "fear")[i % 2], f"p{i % 3}", str(i // 6)] for i in range(12)]
    table(tmp_path, say, rows, ("audio", "emotion", "speaker", "fold"))
    column = {"method": "folds", "folds": {"by": "column"}}
    with pytest.raises(InputError, match="3 speakers have utterances in two folds: p0, p1, p2"):
        collect(settings("table", split=column))
    collected = collect(settings("table", split=column, allow_speaker_leak=True))
    assert "3 speakers have utterances in two folds: scores hold for known voices." in collected.manifest.notice


def test_unknown_speakers_are_folded_by_utterance_and_the_same_sound_stays_on_one_side(tmp_path, say, settings):
    rows = [[f"{i:02d}.wav", ("anger", "fear")[i % 2]] for i in range(30)]
    table(tmp_path, say, rows, ("audio", "emotion"))
    for i in range(0, 30, 6):  # other files of the same sound
        (tmp_path / f"{i + 2:02d}.wav").write_bytes((tmp_path / f"{i:02d}.wav").read_bytes())
    with pytest.raises(InputError, match="has no column 'speaker'.*by: utterances"):
        collect(settings("table", split={"method": "folds"}))
    collected = collect(settings("table", split={"method": "folds", "folds": {"by": "utterances", "k": 3}}))
    fold = dict(zip(collected.manifest.ids, views.fold_of(collected.manifest), strict=True))
    assert all(fold[f"{i:02d}"] == fold[f"{i + 2:02d}"] for i in range(0, 30, 6))
    for k in range(3):
        seen = views.view(collected.manifest, k).frame.set_index("utterance_id")
        assert all(seen["split"][f"{i:02d}"] == seen["split"][f"{i + 2:02d}"] for i in range(0, 30, 6))
        assert set(seen["emotion"][seen["split"] == "dev"]) == {"anger", "fear"}
    assert "30 have no known speaker, and a voice may be on both sides" in collected.metrics["warnings"]
    assert "of another split" not in collected.metrics["warnings"]


def test_an_assignment_names_who_is_tested_by_which_fold_and_each_develops_on_speakers_of_the_others():
    counts = {f"s{i}": dict.fromkeys(LABELS, 3) for i in range(6)}
    assignment = [["s4", "s0"], ["s1", "s2"], ["s3", "s5"]]
    frame, messages = folded(rows_of(counts), folds={"by": "assignment", "assignment": assignment, "dev_share": 0.25})
    assert messages == []
    of_speaker = dict(zip(frame["speaker"], frame["fold"], strict=True))
    assert of_speaker == {"s0": 0, "s1": 1, "s2": 1, "s3": 2, "s4": 0, "s5": 2}
    for fold, tested in enumerate(assignment):
        train, dev, test = (set(frame["speaker"].iloc[list(rows)]) for rows in parts(frame, fold).values())
        assert test == {*tested} and len(dev) == 1 and train == {*counts} - test - dev


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ([["s0"], ["s1"]], r"names \[\] without a usable utterance and leaves out \['s2'\]; expected each of the 3"),
        ([["s0", "s1"], ["s2", "S3"]], r"names \['S3'\] without a usable utterance and leaves out \[\]"),
    ],
)
def test_an_assignment_names_every_speaker_and_no_other(assignment, message):
    counts = {f"s{i}": dict.fromkeys(LABELS, 2) for i in range(3)}
    with pytest.raises(InputError, match=message):
        folded(rows_of(counts), folds={"by": "assignment", "assignment": assignment})


def test_an_assignment_needs_every_speaker():
    rows = rows_of({f"s{i}": dict.fromkeys(LABELS, 2) for i in range(3)})
    rows[0]["speaker"] = None
    with pytest.raises(InputError, match="by 'assignment' needs every speaker; 1 utterances have none"):
        folded(rows, folds={"by": "assignment", "assignment": [["s0"], ["s1", "s2"]]})
