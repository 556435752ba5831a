"""The commit that a checkpoint's name stands for: the hub's answer, else what was downloaded."""

from types import SimpleNamespace

import pytest

from pipeline_lib.transcription import hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def answers(monkeypatch, tmp_path):
    """Give the hub an answer, None for no network; the local cache is empty."""
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))

    def give(sha: str | None) -> None:
        def model_info(self, name, revision=None, timeout=None):
            if sha is None:
                raise ConnectionError
            return SimpleNamespace(sha=sha)

        monkeypatch.setattr(hub.HfApi, "model_info", model_info)

    return give


def test_the_hub_says_the_commit_and_without_it_what_was_downloaded(answers, tmp_path):
    answers(COMMIT)
    assert hub.commit_of("owner/model", None) == COMMIT
    answers(None)
    assert hub.commit_of("owner/model", None) is None
    for branch, commit in (("main", COMMIT), ("other", COMMIT[::-1])):
        path = tmp_path / "models--owner--model" / "refs" / branch
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(commit)
    assert [hub.commit_of("owner/model", branch) for branch in (None, "other")] == [COMMIT, COMMIT[::-1]]
    assert hub.commit_of("owner/model", "f" * 40) == "f" * 40


def test_a_file_or_folder_has_no_commit_and_the_hub_is_not_queried(answers, tmp_path):
    answers(COMMIT)
    for name in (str(tmp_path), "models/demo", "./a/b", "any", "a/b/c"):
        assert hub.commit_of(name, None) is None
