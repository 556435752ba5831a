"""Several corpora in one manifest: names never collide, paths stay below each corpus's folder, a fold a corpus."""

import numpy as np
import pandas as pd
import pytest

from pipeline_lib.corpus.checksums import SUMS
from pipeline_lib.corpus.checksums import write as write_sums
from pipeline_lib.corpus.collect import collect
from pipeline_lib.errors import InputError
from pipeline_lib.params.base import ParameterError
from pipeline_lib.tables import folds
from tests.corpus.conftest import EMOTIONS

LABELS = ["anger", "happiness", "neutral"]
TABLE = {"reader": "table", "merge": {"joy": "happiness"}}
ONE_OUT = {"method": "folds", "folds": {"by": "column", "column": "corpus"}}


@pytest.fixture
def both(tmp_path, say):
    """Write four actors of RAVDESS, and a table whose ids and speakers are RAVDESS's own but for two."""
    for actor in range(1, 5):
        for emotion, times in EMOTIONS.items():
            for intensity in range(1, times + 1):
                name = f"03-01-{emotion}-{intensity:02d}-01-01-{actor:02d}.flac"
                say(tmp_path / "ravdess" / f"Actor_{actor:02d}" / name)
    rows = []
    for actor in (1, 2, 8, 9):
        for i, emotion in enumerate(("anger", "joy", "neutral", "calm")):
            name = f"03-01-{i + 1:02d}-01-01-01-{actor:02d}"
            say(tmp_path / "mine" / "wavs" / f"{name}.wav")
            rows.append([name, f"wavs/{name}.wav", f"Actor_{actor:02d}", emotion, 1 + actor / 4])
    columns = ["utterance_id", "audio", "speaker", "emotion", "arousal"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "mine" / "corpus.csv", index=False)
    return tmp_path


def several(settings, **more):
    values = {"corpora": {"ravdess": {"reader": "ravdess"}, "own": TABLE | {"folder": "mine"}}, "labels": LABELS}
    return settings("several", **(values | {"split": ONE_OUT} | more))


def test_names_paths_and_labels_are_those_of_each_corpus(both, settings):
    collected = collect(several(settings))
    frame = collected.manifest.frame
    assert collected.manifest.labels == tuple(LABELS) and len(frame) == 4 * 15 + 16
    of = {name: frame[[name in row for row in frame["subsets"]]] for name in ("ravdess", "own")}
    assert len(of["ravdess"]) == 60 and len(of["own"]) == 16
    for name, folder in (("ravdess", "ravdess/Actor_"), ("own", "mine/wavs/")):
        assert of[name]["utterance_id"].str.startswith(f"{name}/").all()
        assert of[name]["speaker"].str.startswith(f"{name}/Actor_").all()
        assert of[name]["audio"].str.startswith(folder).all()
    ids = frame["utterance_id"].str.partition("/")[2]
    assert ids.duplicated().any() and frame["utterance_id"].is_unique  # the same name in both
    assert of["own"]["emotion"].value_counts().to_dict() == dict.fromkeys(("anger", "happiness", "neutral", "calm"), 4)
    assert of["ravdess"]["emotion"].value_counts()["happiness"] == 8


def test_leaving_one_corpus_out_trains_on_the_other_alone(both, settings):
    manifest = collect(several(settings)).manifest
    assert folds.count(manifest) == 2
    own, ravdess = folds.view(manifest, 0), folds.view(manifest, 1)  # in the order of their names
    for view, tested in ((own, "own"), (ravdess, "ravdess")):
        is_tested = manifest.mask(tested)
        assert (view.mask("test") == is_tested).all()
        assert (view.mask("train") | view.mask("dev"))[~is_tested].all()
        train, dev = ({*view.frame["speaker"][view.mask(name)]} for name in ("train", "dev"))
        assert train and dev and not train & dev


def test_split_by_speakers_cuts_all_corpora_and_attributes_share_a_scale(both, settings):
    corpora = {"ravdess": {"reader": "ravdess"}, "own": TABLE | {"folder": "mine", "attribute_scale": [1, 5]}}
    collected = collect(several(settings, corpora=corpora, split={"method": "speakers"}))
    frame = collected.manifest.frame
    speakers = frame.groupby("speaker")["split"].nunique()
    assert (speakers == 1).all() and {*frame["split"]} == {"train", "dev", "test"}
    values = frame[frame["speaker"] == "own/Actor_08"]["arousal"]
    np.testing.assert_allclose(values, 4.0)  # 3 in the middle of [1, 5] is the middle of [1, 7]
    assert "own: attributes of 16 utterances are brought from [1, 5] to [1, 7]." in collected.metrics["warnings"]


def test_mistakes_name_the_corpus(both, settings):
    bad = TABLE | {"folder": "mine", "merge": {"jy": "happiness"}}
    with pytest.raises(InputError, match=r"corpora\.own: corpus\.corpora\.own\.merge names 'jy'.*did you mean 'joy'"):
        collect(several(settings, corpora={"ravdess": {"reader": "ravdess"}, "own": bad}))
    with pytest.raises(InputError, match=r"corpus\.root .*absent.* does not exist"):
        collect(several(settings, corpora={"ravdess": {"reader": "ravdess"}, "absent": TABLE}))


@pytest.mark.parametrize("folder", ["../outside", "link", "."])
def test_a_folder_that_leaves_the_root_is_refused(both, settings, tmp_path_factory, folder):
    outside = tmp_path_factory.mktemp("outside")
    (both / "link").symlink_to(outside)
    corpora = {"ravdess": {"reader": "ravdess"}, "own": TABLE | {"folder": folder}}
    with pytest.raises(InputError, match=r"corpora\.own: the folder .* lies at .*, not below corpus\.root"):
        collect(several(settings, corpora=corpora))


def test_a_path_of_one_corpus_does_not_reach_into_another(both, settings):
    table = both / "mine" / "corpus.csv"
    table.write_text(table.read_text().replace("wavs/03-01-01", "../ravdess/Actor_01/03-01-01", 1))
    with pytest.raises(InputError, match=r"corpora\.own: .*is no path below .*mine"):
        collect(several(settings))


def test_checksums_of_each_corpus_are_verified_and_those_of_one_alone_are_not(both, settings):
    write_sums(both / "mine")
    assert f"{SUMS} of own is there, of ravdess is not" in collect(several(settings)).metrics["warnings"]
    write_sums(both / "ravdess")
    file = both / "ravdess" / "Actor_01" / "03-01-01-01-01-01-01.flac"
    file.write_bytes((both / "ravdess" / "Actor_02" / "03-01-01-01-01-01-02.flac").read_bytes())
    quarantine = collect(several(settings)).quarantine
    assert quarantine["utterance_id"].tolist() == ["ravdess/03-01-01-01-01-01-01"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"corpora": {}}, r"reader is several and corpora names \[\], expected an entry a corpus"),
        ({"corpora": {"one": TABLE}}, r"corpora has the folders \['one'\], expected two or more"),
        (
            {"corpora": {"one": TABLE, "two": TABLE | {"folder": "one"}}},
            r"\['one', 'one'\], expected two or more, each",
        ),
        ({"corpora": {"dev": TABLE, "two": TABLE}}, r"corpora names \['dev'\], which are splits or subsets"),
        ({"corpora": {"One": TABLE, "two": TABLE}}, r"corpora names \['One'\], expected lower-case letters"),
        ({"corpora": {"one": {"reader": "several"}, "two": TABLE}}, "corpora.one.reader is 'several', expected"),
        ({"split": {"method": "folds", "folds": {"by": "column"}}}, "folds.column is 'fold'; of several corpora it is"),
    ],
)
def test_entries_that_do_not_fit_are_refused(settings, values, message):
    with pytest.raises(ParameterError, match=message):
        several(settings, **values)


def test_corpora_of_another_reader_are_refused(settings):
    with pytest.raises(ParameterError, match="reader is ravdess and corpora names .* only reader several reads it"):
        settings("ravdess", corpora={"one": TABLE, "two": TABLE})


def test_an_uncut_corpus_keeps_its_own_splits_and_needs_neither_speakers_nor_labels(both, settings):
    table = pd.read_csv(both / "mine" / "corpus.csv").drop(columns="speaker")
    table.assign(split=["dev"] * 4 + [None] * 12).to_csv(both / "mine" / "corpus.csv", index=False)
    alone = settings("table", root=str(both / "mine"))
    with pytest.raises(InputError, match="split is '', expected train"):
        collect(alone)
    manifest = collect(alone, cut=False).manifest
    assert manifest.frame["split"].value_counts().to_dict() == {"test": 12, "dev": 4}
    assert manifest.labels == ("anger", "neutral", "calm", "joy")
