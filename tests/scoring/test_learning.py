"""Learning curves in words."""

import json

import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.scoring.learning import read_curves, section, sentence

CURVE = {
    "recordings": [100, 200, 400],
    "macro_f1": [0.4, 0.5, 0.55],
    "ua": [0.42, 0.5, 0.56],
    "ua_deviation": [0.02, 0.03, 0.01],
    "sentences": ["From 200 to 400 training recordings UA changes by +0.060: more would help"],
}


def test_a_curve_is_told_by_its_points_and_by_what_the_stage_concludes():
    assert sentence("layers", CURVE) == (
        "layers: UA 0.420 from 100, 0.500 from 200, 0.560 from 400 training recordings. From 200 to 400 training"
        " recordings UA changes by +0.060: more would help."
    )


def test_curves_are_read_of_rebalanced_systems_under_the_systems_names(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"learning_curve": CURVE}))
    (tmp_path / "b.json").write_text(json.dumps({"notice": ""}))
    (tmp_path / "c.json").write_text(json.dumps({"learning_curve": None}))
    tables = {name: f"data/rebalanced/{name}.parquet" for name in ("b", "c", "gone")}
    tables |= {"layers": "data/rebalanced/a.parquet", "expert": "data/predictions/a.parquet"}
    assert read_curves(tables, tmp_path) == {"layers": CURVE}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"a.json is no JSON: run dvc repro rebalancing"),
        (
            json.dumps({"learning_curve": {"ua": [1.0]}}),
            r"holds \['ua'\], expected lists .* of one length",
        ),
        (json.dumps({"learning_curve": {**CURVE, "ua": [0.4]}}), r"expected lists .* of one length"),
        (json.dumps({"learning_curve": {**CURVE, "sentences": []}}), r"of one length, and sentences"),
    ],
)
def test_a_file_that_holds_no_curve_is_refused(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_curves({"a": "data/rebalanced/a.parquet"}, tmp_path)


def test_the_section_is_absent_where_nothing_is_known():
    assert section({}, "") == []
    assert section({"layers": CURVE}, "Label audit: none.")[2:4] == [
        f"- {sentence('layers', CURVE)}",
        "- Label audit: none.",
    ]
