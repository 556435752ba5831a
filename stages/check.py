"""check: params.yaml -> data/check.txt, a constant; every other stage waits for it"""

from pathlib import Path

from pipeline_lib import whole
from pipeline_lib.command import run
from pipeline_lib.recipes.check import check


def main(out: Path = Path("data/check.txt")) -> None:
    """Refuse every wrong parameter of every section, in one list."""
    check()
    whole.write(out, "params.yaml can be run\n")


if __name__ == "__main__":
    run(main)
