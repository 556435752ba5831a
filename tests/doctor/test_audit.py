"""An audit that audited nothing says so."""

import subprocess

import pytest

from pipeline_lib.doctor import audit
from pipeline_lib.errors import InputError

CLEAN = '{"dependencies": [{"name": "a", "version": "1", "vulns": []}], "fixes": []}'
FLAWED = CLEAN.replace("[]}]", '[{"id": "CVE-1", "fix_versions": ["2"], "aliases": [], "description": ""}]}]')
SKIPPED = '{"dependencies": [{"name": "a", "skip_reason": "not found"}], "fixes": []}'


@pytest.fixture
def answering(monkeypatch):
    def answer(text: str):
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, text, "no network"))

    return answer


def test_a_clean_audit_passes(answering, capsys):
    answering(CLEAN)
    audit.main(strict=True)
    assert capsys.readouterr() == ("1 packages audited, 0 known vulnerabilities\n", "")


def test_a_vulnerability_fails_and_is_named_with_its_remedy(answering, capsys):
    answering(FLAWED)
    with pytest.raises(SystemExit) as exit_status:
        audit.main()
    assert exit_status.value.code == 1 and capsys.readouterr().out.startswith("a 1: CVE-1, mended in 2\n")


def test_an_audit_out_of_reach_says_that_nothing_was_audited_and_fails_where_strict(answering, capsys):
    answering(SKIPPED)
    audit.main()
    assert "1 packages could not be audited: the service is out of reach" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        audit.main(strict=True)


def test_no_answer_is_an_error_in_a_sentence(answering):
    answering("")
    with pytest.raises(InputError, match="pip-audit gave no answer: no network"):
        audit.main()
