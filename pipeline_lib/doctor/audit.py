"""``python -m pipeline_lib.doctor.audit``: known vulnerabilities of the pinned packages, by pip-audit.

pip-audit succeeds where its service cannot be reached, having audited nothing; here what was not audited is said, and
with ``--strict`` it fails.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline_lib.command import run
from pipeline_lib.errors import InputError

TIMEOUT_S = 600


def main(
    constraints: Path = Path("constraints.txt"),
    strict: Annotated[bool, typer.Option(help="fail too where a package could not be audited")] = False,
) -> None:
    """Print the vulnerabilities of the packages that constraints.txt pins; exit status 1 where there are any."""
    audited, skipped, found = account(_answer(constraints))
    for line in found:
        print(line)
    print(f"{audited} packages audited, {len(found)} known vulnerabilities")
    if skipped:
        cause = "the service is out of reach" if not audited else "not known to the service"
        print(f"{skipped} packages could not be audited: {cause}", file=sys.stderr)
    if found or (strict and skipped):
        sys.exit(1)


def account(answer: dict[str, Any]) -> tuple[int, int, list[str]]:
    """Return how many packages were audited, how many skipped, and a line for each vulnerability."""
    packages = answer["dependencies"]
    skipped = sum("skip_reason" in each for each in packages)
    found = [
        f"{each['name']} {each['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version'}"
        for each in packages
        for flaw in each.get("vulns", [])
    ]
    return len(packages) - skipped, skipped, found


def _answer(constraints: Path) -> dict[str, Any]:
    options = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(constraints), *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        return json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise InputError(f"pip-audit did not answer in {TIMEOUT_S} s (is its service out of reach?)") from None
    except ValueError:
        said = " ".join(done.stderr.split())[-300:]
        raise InputError(f"pip-audit gave no answer: {said} (is it installed, and its service in reach?)") from None


if __name__ == "__main__":
    run(main)
