"""check: params.yaml -> data/check.txt, a constant; every other stage waits for it"""

from pathlib import Path

from pipeline_lib.command import run
from pipeline_lib.doctor import mixing
from pipeline_lib.params import outputs
from pipeline_lib.params.check import check
from pipeline_lib.params.machine import read_machine
from pipeline_lib.storage import atomic


def main(out: Path = Path("data/check.txt")) -> None:
    """Refuse every wrong parameter of every section, in one list, and then those of machine.yaml.

    Warn where a run would mix devices or precisions; remove figures and metrics of entries that are no longer named.
    """
    params, machine = check(), read_machine()
    for path in outputs.stale_figures(params):
        outputs.remove(path)
        print(f"removed {path}, which no entry of params.yaml writes")
    mixing.warn(params, machine)
    atomic.write_file(out, "params.yaml can be run\n")


if __name__ == "__main__":
    run(main)
