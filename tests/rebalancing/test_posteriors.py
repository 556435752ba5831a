"""Probabilities of another system: what is read, what is counted, and each refusal with its message."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.posteriors import PosteriorsSettings
from pipeline_lib.rebalancing import posteriors
from pipeline_lib.tables import folds, manifest, predictions
from stages import rebalancing
from tests.folded import deal
from tests.rebalancing.made import LABELS, corpus, settings

HEADER = "utterance_id,anger,neutral,sadness"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Go to an empty project; return a corpus of eight utterances, each with a recording."""
    monkeypatch.chdir(tmp_path)
    Path("posteriors").mkdir()
    of = corpus(n=8)
    return replace(of, frame=of.frame.assign(audio=[f"day{i % 2}/{name}.flac" for i, name in enumerate(of.ids)]))


def read(of, *lines, **values):
    """Write posteriors/x.csv and read it."""
    Path("posteriors/x.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return posteriors.read("posteriors/x.csv", of, PosteriorsSettings.parse(values, "posteriors"), "other")


def rows(of, values, names=None):
    names = of.ids if names is None else names
    return [f"{name},{','.join(map(repr, row))}" for name, row in zip(names, values, strict=True)]


@pytest.fixture
def drawn():
    """Eight distributions over three labels."""
    return np.random.default_rng(0).dirichlet(np.ones(3), 8).tolist()


def test_the_rows_are_those_of_the_file_in_the_order_of_the_manifest_and_columns_in_that_of_its_labels(project, drawn):
    backwards = [f"{name},{c!r},{a!r},{b!r}" for name, (a, b, c) in zip(project.ids, drawn, strict=True)][::-1]
    table = read(project, "utterance_id,sadness,anger,neutral", *backwards, fitted_on=["dev"])
    assert table.labels == LABELS and table.expert == "other" and table.fitted_on == ("dev",)
    assert table.utterance_ids.tolist() == project.ids.tolist() and table.training_prior is None
    np.testing.assert_allclose(table.posterior, drawn, rtol=1e-15)


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_parquet_is_read_as_csv_is(project, drawn, kind):
    columns = {label: pa.array(np.array(drawn)[:, k], kind) for k, label in enumerate(LABELS)}
    pq.write_table(pa.table({"file": [f"{name}.wav" for name in project.ids], **columns}), "posteriors/x.parquet")
    given = PosteriorsSettings(id_column="file")
    table = posteriors.read("posteriors/x.parquet", project, given, "other")
    expected = np.array(drawn).astype(kind.to_pandas_dtype()).astype(np.float64)
    np.testing.assert_allclose(table.posterior, expected / expected.sum(axis=1, keepdims=True), rtol=1e-14)


@pytest.mark.parametrize(
    "form", ["{id}", "{id}.wav", "{id}.FLAC", "{audio}", "{stem}", "/data/set/{audio}", "C:\\set\\{day}\\{id}.wav"]
)
def test_an_utterance_goes_by_its_id_or_its_recording_with_or_without_folders_and_suffix(project, drawn, form):
    named = [
        form.format(id=name, audio=audio, stem=audio.removesuffix(".flac"), day=audio.split("/")[0])
        for name, audio in zip(project.ids, project.frame["audio"], strict=True)
    ]
    np.testing.assert_allclose(read(project, HEADER, *rows(project, drawn, named)).posterior, drawn)


def test_a_file_of_the_same_name_in_another_folder_is_another_recording(project, drawn, capsys):
    named = ["elsewhere/u000.wav", *project.ids[1:]]
    table = read(project, HEADER, *rows(project, drawn, named))
    assert table.utterance_ids.tolist() == project.ids[1:].tolist()
    out = capsys.readouterr().out
    assert "1 rows of posteriors/x.csv are of no utterance of the manifest, 'elsewhere/u000.wav' first" in out
    assert "1 of 8 utterances have no row in posteriors/x.csv (1 of train), 'u000' first: the table leaves them" in out


def test_percentages_logits_and_renamed_columns_become_probabilities(project, drawn):
    in_percent = read(project, HEADER, *rows(project, (100 * np.array(drawn)).tolist()), scale="percentages")
    np.testing.assert_allclose(in_percent.posterior, drawn, rtol=1e-12)
    shifted = (np.log(drawn) + 7.0).tolist()
    header = "utterance_id,ang,neu,sad,duration"
    lines = [f"{line},1.5" for line in rows(project, shifted)]
    names = {"ang": "anger", "neu": "neutral", "sad": "sadness"}
    from_logits = read(project, header, *lines, scale="logits", labels=names, ignore=["duration"])
    np.testing.assert_allclose(from_logits.posterior, drawn, rtol=1e-12)


def test_rounded_rows_are_scaled_and_counted(project, capsys):
    rounded = np.round(np.random.default_rng(1).dirichlet(np.ones(3), 8), 2)
    table = read(project, HEADER, *rows(project, rounded.tolist()), tolerance=0.02)
    np.testing.assert_allclose(table.posterior, rounded / rounded.sum(axis=1, keepdims=True), rtol=1e-14)
    n = (np.abs(rounded.sum(axis=1) - 1) > 1e-6).sum()
    assert n and f"{n} of 8 rows sum to 1 within 0.02 only" in capsys.readouterr().out


EVEN = "0.2,0.3,0.5"


@pytest.mark.parametrize(
    ("lines", "values", "message"),
    [
        ([HEADER, f"u000,{EVEN}", "u001,0.2,0.3,0.6"], {}, r"x.csv, line 3: .* sum to 1.1, .* a sum of 1 within 0.001"),
        ([HEADER, "u000,20,30,50"], {}, r"line 2: .* sum to 100.* \(percentages\? set .*other.posteriors.scale: perc"),
        ([HEADER, f"u000,{EVEN}"], {"scale": "percentages"}, r"a sum of 100 within 0.1.* \(probabilities\? set "),
        (
            [HEADER, "u000,-1.5,2,0.5"],
            {},
            r"the smallest is -1.5; .* \(logits\? set rebalancing.other.posteriors",
        ),
        ([HEADER, "u000,0.2,0.3,0.4"], {}, r"as in 0 of 1 rows \(is a label left out, or are they rounded more than"),
        ([HEADER, "u000,0.2,0.3,nan"], {}, "line 2: sadness is 'nan', expected a finite number"),
        ([HEADER, "u000,0.2,0.3,"], {}, "line 2: sadness is '', expected a finite number"),
        ([HEADER, 'u000,"0,2",0.3,0.5'], {}, "anger is '0,2', expected a finite number .a comma in place of the point"),
        ([HEADER, f",{EVEN}"], {}, "line 2: no utterance is named"),
        (
            [HEADER, f"u000,{EVEN}", f"u001,{EVEN}", f"u000.wav,{EVEN}"],
            {},
            "line 4: utterance_id 'u000.wav' is the utterance 'u000', as is that of posteriors/x.csv, line 2",
        ),
        ([HEADER, f"v1,{EVEN}"], {}, "none of its 1 rows is of an utterance .*; 'v1' stands in the table, 'u000' in"),
        ([HEADER], {}, "the table has no row, 'u000' in the manifest"),
        (
            ["utterance_id,anger,neutral,sadnes", f"u000,{EVEN}"],
            {},
            r"column 'sadnes' is of no label of the corpus \(did you mean 'sadness'\?\), .*ignore: \[sadnes\]",
        ),
        ([f"{HEADER},Anger", f"u000,{EVEN},0"], {}, r"column 'Anger' is of no label .*did you mean 'anger'"),
        (["utterance_id,anger,neutral", "u000,0.5,0.5"], {}, r"has no column for \['sadness'\], expected one for each"),
        (
            [f"{HEADER},ang", f"u000,{EVEN},0"],
            {"labels": {"ang": "anger"}},
            "columns 'anger' and 'ang' are both of 'anger'",
        ),
        (["id,anger,neutral,sadness", f"u000,{EVEN}"], {}, r"has no column 'utterance_id'.*posteriors.id_column names"),
        (
            [HEADER, f"u000,{EVEN}"],
            {"ignore": ["angr"]},
            r"no column 'angr' \(did you mean 'anger'\?\), which .*i",
        ),
        ([HEADER.replace(",", ";"), "u000;0.2;0.3;0.5"], {}, "cells are separated by ';', expected ','"),
        ([HEADER, f"u000,{EVEN},1"], {}, "line 2: 5 cells, the header has 4"),
    ],
)
def test_what_is_no_distribution_over_the_labels_is_refused_by_its_row(project, lines, values, message):
    with pytest.raises(InputError, match=message):
        read(project, *lines, **values)


def test_the_name_of_a_recording_of_several_utterances_is_refused(project, drawn):
    frame = project.frame.assign(audio="day0/long.flac")
    with pytest.raises(InputError, match="'long.flac' is the recording of 8 utterances, 'u000' and 'u001' among them"):
        read(replace(project, frame=frame), HEADER, "long.flac,0.2,0.3,0.5")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"reads": {"source": "posteriors/../x.csv"}}, r"expected a path below posteriors/ without '..'"),
        ({"reads": {"source": "posteriors/x.xlsx"}}, r"expected a table that ends in one of \['.csv', '.parquet'\]"),
        ({"method": "plda"}, "method is 'plda', and posteriors/x.csv holds no embeddings; expected 'none'"),
        ({"prior": "uniform"}, "the training prior of posteriors/x.csv is unknown: set posteriors.training_prior"),
        ({"reads": {"source": "data/predictions/a.parquet"}, "posteriors": {}}, "posteriors is for a table of prob"),
        ({"posteriors": {"training_prior": "given"}}, "training_prior is 'given' and given is {}: expected shares"),
        ({"posteriors": {"given": {"anger": 1.0}}}, "expected shares in given, one a label, where training_prior is"),
        ({"posteriors": {"training_prior": "given", "given": {"anger": 0.0}}}, "shares sum to 0"),
        ({"posteriors": {"labels": {"a": "anger", "b": "anger"}}}, r"\['anger'\] are of several columns"),
        ({"posteriors": {"scale": "log"}}, "scale is 'log', expected 'probabilities', 'percentages' or 'logits'"),
        ({"posteriors": {"tolerance": 0.5}}, "posteriors.tolerance is 0.5"),
        (
            {"folds": True, "posteriors": {"fitted_on": ["dev"]}},
            "is then taken as out of fold: set posteriors",
        ),
    ],
)
def test_wrong_settings_are_refused_by_key(values, message):
    right = {"reads": {"source": "posteriors/x.csv"}, "prior": "none"}
    settings(**right)
    with pytest.raises(ParameterError, match=message):
        settings(**right | values)


def test_a_table_that_is_missing_or_lies_elsewhere_is_refused(project, tmp_path):
    layout = PosteriorsSettings()
    Path("posteriors/y.csv").write_text(HEADER)
    with pytest.raises(InputError, match=r"other.reads.source 'posteriors/x.csv' does not exist; expected one of \['y"):
        posteriors.read("posteriors/x.csv", project, layout, "other")
    elsewhere = tmp_path.parent / f"{tmp_path.name}_elsewhere.csv"
    elsewhere.write_text(HEADER)
    Path("posteriors/x.csv").symlink_to(elsewhere)
    with pytest.raises(InputError, match=rf"lies at {elsewhere}, outside the project's folder"):
        posteriors.read("posteriors/x.csv", project, layout, "other")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"training_prior": "uniform"}, [1 / 3, 1 / 3, 1 / 3]),
        ({"training_prior": "given", "given": {"anger": 1.0, "neutral": 2.0, "sadness": 1.0}}, [0.25, 0.5, 0.25]),
        ({"training_prior": "train"}, None),
    ],
)
def test_the_prior_that_the_probabilities_contain_is_replaced(tmp_path, monkeypatch, values, expected):
    monkeypatch.chdir(tmp_path)
    of = corpus(n=60)
    Path("posteriors").mkdir()
    probabilities = np.random.default_rng(1).dirichlet(np.ones(5), 60)
    frame = pd.DataFrame(probabilities, columns=["O", "sadness", "neutral", "anger", "X"])
    frame.insert(0, "utterance_id", of.ids)
    frame.to_csv("posteriors/x.csv", index=False)
    manifest.write(Path("data/manifest.parquet"), of)
    entry = {"reads": {"source": "posteriors/x.csv"}, "posteriors": values}
    Path("params.yaml").write_text(json.dumps({"rebalancing": {"other": entry}}))
    rebalancing.main("other")
    table = predictions.read(Path("data/rebalanced/other.parquet"))
    if expected is None:
        train = of.frame["emotion"][of.frame["split"] == "train"]
        counts = np.array([(train == label).sum() for label in LABELS])
        expected = counts / counts.sum()
    weighted = probabilities[:, [3, 2, 1]] / np.array(expected)
    np.testing.assert_allclose(table.posterior, weighted / weighted.sum(axis=1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(table.training_prior, np.full(3, 1 / 3))
    assert table.expert == "other"
    assert table.fitted_on == (("train",) if values["training_prior"] == "train" else ()) and table.chosen_on == ()


def test_with_folds_the_table_is_that_of_every_fold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    of = deal(corpus(n=60), 3)
    Path("posteriors").mkdir()
    probabilities = np.random.default_rng(1).dirichlet(np.ones(3), 60)
    frame = pd.DataFrame(probabilities, columns=LABELS).assign(utterance_id=of.ids)
    frame.to_parquet("posteriors/x.parquet")
    manifest.write(Path("data/manifest.parquet"), of)
    entry = {"reads": {"source": "posteriors/x.parquet"}, "folds": True, "posteriors": {"training_prior": "train"}}
    Path("params.yaml").write_text(json.dumps({"rebalancing": {"other": entry}}))
    rebalancing.main("other")
    fold = folds.fold_of(of)
    expected = np.empty((60, 3))
    for k in range(3):
        view = folds.view(of, k)
        counts = np.bincount(view.truth()[view.mask("train") & (view.truth() >= 0)], minlength=3)
        weighted = probabilities / (counts / counts.sum())
        mine = predictions.read(Path(f"data/rebalanced_folds/other/fold{k}.parquet"))
        np.testing.assert_allclose(mine.posterior, weighted / weighted.sum(axis=1, keepdims=True), rtol=1e-12)
        expected[fold == k] = mine.posterior[fold == k]
    pooled = predictions.read(Path("data/rebalanced/other.parquet"))
    np.testing.assert_array_equal(pooled.posterior[fold >= 0], expected[fold >= 0])
    assert pooled.fitted_on == ()
