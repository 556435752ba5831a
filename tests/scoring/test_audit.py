"""Likely label errors: against a second implementation, against planted errors, and the page that lists them."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.scoring.audit import audit, held_out, likely_errors, records, sentence, thresholds
from pipeline_lib.scoring.audit_page import link, page, table
from pipeline_lib.scoring.systems import align
from tests.scoring.corpora import LABELS, drawn_manifest, drawn_predictions

VOID = {"meta", "br"}


class Page(HTMLParser):
    """Tags in order, each closed, and the text between them."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def drawn(n=600, n_labels=4, skill=3.0, seed=1):
    """Return a posterior that leans to the truth, and the truth."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, n_labels, n)
    logits = generator.normal(size=(n, n_labels))
    logits[np.arange(n), truth] += skill
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), truth


def a_second_time(posterior, labels):
    """Confident learning in plain Python: equations 1 and 2, and the normalised margin."""
    n_labels = len(posterior[0])
    own = {j: [row[j] for row, label in zip(posterior, labels, strict=True) if label == j] for j in range(n_labels)}
    limits = {j: sum(values) / len(values) for j, values in own.items() if values}
    found = []
    for i, (row, label) in enumerate(zip(posterior, labels, strict=True)):
        confident = [j for j in limits if row[j] >= limits[j]]
        if confident and (best := max(confident, key=lambda j: (row[j], -j))) != label:
            margin = row[label] - max(row[j] for j in range(n_labels) if j != label)
            found.append((margin, i, best))
    return limits, sorted(found)


@pytest.mark.parametrize(("n_labels", "present", "skill"), [(4, 4, 3.0), (3, 3, 0.5), (5, 3, 1.0), (2, 1, 1.0)])
def test_thresholds_and_order_are_those_of_a_second_implementation(n_labels, present, skill):
    posterior, truth = drawn(200, n_labels, skill, seed=n_labels)
    labels = truth % present  # some labels have no utterance
    limits, expected = a_second_time(posterior.tolist(), labels.tolist())
    got = thresholds(posterior, labels)
    np.testing.assert_allclose([got[j] for j in limits], [*limits.values()], rtol=1e-13)
    assert np.isinf(np.delete(got, [*limits])).all()
    rows, likelier = likely_errors(posterior, labels)
    assert list(zip(rows.tolist(), likelier.tolist(), strict=True)) == [(i, best) for _, i, best in expected]


def test_a_hand_worked_case():
    # thresholds: mean of .9 and .3 is .6, mean of .8 and .6 is .7; utterance 1 has .7 for label 1 and is of label 0
    posterior = np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.4, 0.6]])
    rows, likelier = likely_errors(posterior, np.array([0, 0, 1, 1]))
    assert (rows.tolist(), likelier.tolist()) == ([1], [1])


def test_planted_errors_come_first():
    posterior, truth = drawn()
    generator = np.random.default_rng(5)
    wrong = generator.permutation(600)[:60]
    labels = truth.copy()
    labels[wrong] = (labels[wrong] + generator.integers(1, 4, 60)) % 4
    rows, likelier = likely_errors(posterior, labels)
    planted = np.isin(rows[:50], wrong)
    assert planted.mean() >= 0.8  # 60 of 600 by chance: 0.1
    assert (likelier[:50][planted] == truth[rows[:50]][planted]).mean() >= 0.95


def system_of(manifest, **options):
    return align("fused", Path("fused.parquet"), drawn_predictions(manifest, "fused", 3, **options), manifest)


def test_only_labelled_utterances_that_nothing_was_fitted_on_are_audited():
    manifest = drawn_manifest()
    system = system_of(manifest, skill=0.5, fitted_on=("dev_bal",))
    rows = held_out(manifest, system, ["dev_filt", "dev_bal", "test", "train"])
    expected = (manifest.mask("dev_filt") & ~manifest.mask("dev_bal")) | manifest.mask("test")
    np.testing.assert_array_equal(rows, expected & (manifest.truth() >= 0))
    result = audit(manifest, system, ["dev_filt", "test"], 5)
    assert result.audited == rows.sum() == 55 and len(result.rows) == 5 <= result.candidates
    assert f"{result.candidates} of 55 held-out utterances" in sentence(result)


def listed(manifest, recordings=50, **options):
    result = audit(manifest, system_of(manifest, skill=0.2, **options), ["test"], recordings)
    return result, records(manifest, result)


def test_the_page_is_whole_has_a_player_a_row_and_no_script():
    manifest = drawn_manifest(notice="drawn & <numbers>")
    manifest.frame["audio"] = manifest.frame["utterance_id"] + ".wav"
    manifest.frame.loc[:, ["start_s", "end_s"]] = [1.5, 2.25]
    result, rows = listed(manifest)
    parsed = Page(page(result, rows, "drawn", manifest.notice, "data/the corpus", Path("metrics")))
    players = [attributes for tag, attributes in parsed.tags if tag == "audio"]
    assert len(players) == len(rows) == len(result.rows) > 5
    assert players[0]["src"] == f"../data/the%20corpus/{rows[0]['audio']}#t=1.500,2.250" and "controls" in players[0]
    assert {tag for tag, _ in parsed.tags} == {
        *("html", "head", "meta", "title", "style", "body", "h1", "p", "strong", "table", "thead", "tbody", "tr"),
        *("th", "td", "br", "small", "audio", "a"),
    }
    assert "drawn & <numbers>" in parsed.texts


def test_hostile_names_stay_text():
    manifest = drawn_manifest()
    hostile = '"><script>alert(1)</script>'
    labels = ("<b>anger", *LABELS[1:])
    manifest.frame["audio"] = manifest.frame["utterance_id"] + hostile
    manifest.frame["speaker"] += hostile
    manifest.frame["emotion"] = manifest.frame["emotion"].replace(LABELS[0], labels[0])
    result, rows = listed(replace(manifest, labels=labels), labels=labels)
    parsed = Page(page(result, rows, hostile, hostile, hostile, Path("metrics")))
    assert not {"script", "b"} & {tag for tag, _ in parsed.tags}
    assert any(hostile in text for text in parsed.texts)


def test_an_utterance_without_a_recording_shows_its_text():
    manifest = drawn_manifest()
    manifest.frame["reference_text"] = "it's <fine>"
    result, rows = listed(manifest)
    parsed = Page(page(result, rows, "drawn", "", "data", Path("metrics")))
    assert "audio" not in {tag for tag, _ in parsed.tags} and parsed.texts.count("it's <fine>") == len(rows)


@pytest.mark.parametrize(
    ("root", "start", "end", "expected"),
    [
        ("data/c", None, None, "../data/c/a%20b/x%23.wav"),
        ("/mnt/c d", None, None, "file:///mnt/c%20d/a%20b/x%23.wav"),
        ("/mnt", 12345.678, None, "file:///mnt/a%20b/x%23.wav#t=12345.678"),
        ("../c", None, 0.5, "../../c/a%20b/x%23.wav#t=0.000,0.500"),
    ],
)
def test_a_recording_is_linked_from_where_the_page_is(root, start, end, expected):
    assert link("a b/x#.wav", start, end, root, Path("metrics")) == expected


@pytest.mark.parametrize("audio", ["../secret.wav", "/etc/passwd", "a/../../b.wav"])
def test_a_recording_outside_the_root_is_refused(audio):
    with pytest.raises(InputError, match=r"is not below corpus.root: run dvc repro corpus"):
        link(audio, None, None, "data", Path("metrics"))


def test_with_no_recordings_the_table_has_its_header_and_the_page_says_so():
    result, rows = listed(drawn_manifest(), recordings=0)
    assert table(rows, LABELS) == (
        "utterance_id,audio,start_s,end_s,speaker,label,likelier_label,p_anger,p_neutral,p_sadness\n"
    )
    parsed = Page(page(result, rows, "drawn", "", "data", Path("metrics")))
    assert "Nothing was audited: scoring.audit.recordings is 0." in parsed.texts
    assert sentence(result) == ""


def test_the_table_holds_what_the_manifest_and_the_system_have():
    manifest = drawn_manifest()
    result, rows = listed(manifest, recordings=3)
    lines = [line.split(",") for line in table(rows, LABELS).splitlines()]
    assert len(lines) == 4
    for line, row, likelier in zip(lines[1:], result.rows, result.likelier, strict=True):
        frame = manifest.frame.iloc[row]
        assert line[:7] == [frame["utterance_id"], "", "", "", frame["speaker"], frame["emotion"], LABELS[likelier]]
        assert sum(map(float, line[7:])) == pytest.approx(1, abs=2e-6)
