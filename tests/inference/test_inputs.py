"""What a member reads: its own utterances are present, the corpus around them stays."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from pipeline_lib.inference.experts import Inputs
from pipeline_lib.inference.members import Member
from pipeline_lib.tables.manifest import Manifest

SETTINGS = SimpleNamespace(modalities=("text",), text="transcripts", context=1)
ROWS = np.array([False, True, True, False])


def inputs(**more):
    frame = pd.DataFrame({"utterance_id": list("abcd"), "split": "test", "dialogue": "d", "turn": [0, 1, 2, 3]})
    frame["subsets"] = [[] for _ in range(4)]
    for name in ("audio", "audio_sha256", "reference_text"):
        frame[name] = pd.Series([None] * 4, dtype=object)
    for name in ("duration_s", "start_s", "end_s"):
        frame[name] = np.nan
    return Inputs(Manifest(frame, "talk", ("x", "y")), Path(), ["A", "B", "C", "D"], **more)


def test_a_member_predicts_its_own_rows_and_reads_the_turns_before_them():
    read = inputs().of(Member(0, ROWS), SETTINGS)
    assert read.present[:, 0].tolist() == ROWS.tolist() and read.context == 1
    assert read.read(1, 0.0, None) == (("A", "B"),)  # A is of another member


def test_where_speakers_normalise_a_member_predicts_all():
    assert inputs(by_member=False).of(Member(0, ROWS), SETTINGS).present.all()
