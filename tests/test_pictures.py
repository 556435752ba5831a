"""The README's picture of a result: the obtained rows of EmoBox's table beside the published ones."""

import re

import matplotlib.pyplot as plt

from docs.pictures import STYLE, result
from pipeline_lib.recipes.paper_table import PAPERS, read_paper
from pipeline_lib.reports.paper_page import key_of


def test_the_picture_shows_published_figures_obtained_ones_and_marks_normalisation_by_speaker(tmp_path):
    paper = read_paper(PAPERS / "emobox.yaml")
    obtained = {}
    for table in paper["tables"][:2]:
        for i, row in enumerate(row for row in table["rows"] if row.get("system") in ("layers", "layers_by_speaker")):
            scores = {"UA %, mean of folds": [0.761 + i], "UA %, pooled": [0.76, 0.7, 0.8]}
            obtained[key_of(table, row, False)] = {"scores": scores}
    with plt.rc_context(STYLE):
        result(paper, obtained, tmp_path / "result.svg")
    words = re.findall(r">([^<>]+)</text>", (tmp_path / "result.svg").read_text())
    published = {row["model"]: row["published"][0] for row in paper["tables"][0]["rows"] if row["published"]}
    assert len(published) == 7 and published["WavLM large"] == 72.0
    assert {*published} < {*words} and {f"{value:.1f}" for value in published.values()} <= {*words}
    assert words.count("76.1") == 2
    assert sum("¹" in word and word.startswith("Whisper base") for word in words) == 1
    assert "Whisper base, one layer, LDA and logistic regression" not in words  # it was not run
