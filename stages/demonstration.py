"""demonstration: params.yaml -> data/demonstration/<name>/: synthetic speech and its labels, laid out as a corpus"""

from pathlib import Path

from pipeline_lib.command import run
from pipeline_lib.demonstration.generate import generate
from pipeline_lib.params.demonstration import DemonstrationSettings
from pipeline_lib.params.machine import read_machine


def main(name: str, out: Path = Path("data/demonstration")) -> None:
    """Generate the demonstration corpus that params.yaml names."""
    generate(DemonstrationSettings.read(f"demonstration.{name}"), out / name, read_machine().demonstration.workers)


if __name__ == "__main__":
    run(main)
