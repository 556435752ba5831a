"""Load time, real-time factor and memory of a system in memory, on this machine's CPU.

Usage: python -m benchmarks.prediction BUNDLE RECORDING... [--text TEXT] [--repeats N]
"""

import platform
import resource
import time
from datetime import date
from pathlib import Path
from typing import Annotated

import typer


def main(
    bundle: Annotated[Path, typer.Argument(help="folder of a bundle or project")],
    recordings: Annotated[list[Path], typer.Argument(help="files; each is predicted alone")],
    text: Annotated[str | None, typer.Option(help="of every recording, in place of a transcript")] = None,
    repeats: Annotated[int, typer.Option(help="passes over the files, behind one that warms up", min=1)] = 3,
    encoders: Annotated[Path | None, typer.Option(help="folder of checkpoints that are no part of the bundle")] = None,
) -> None:
    """Print one table."""
    began = time.perf_counter()
    from pipeline_lib.inference.pipeline import Pipeline

    imported = time.perf_counter()
    pipeline = Pipeline.load(bundle, encoders=encoders)
    loaded = time.perf_counter()
    first = pipeline.predict(recordings[0], text)
    warm = time.perf_counter()
    spent, audio = time.process_time(), 0.0
    for _ in range(repeats):
        audio += sum(pipeline.predict(path, text).duration_s for path in recordings)
    cpu, wall = time.process_time() - spent, time.perf_counter() - warm
    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    wide = [name for name in ("avx2", "avx512f", "avx512_vnni", "amx_tile") if name in flags.split()]
    print(f"{date.today()}, {platform.machine()} with {', '.join(wide) or 'none of the wide instructions'}")
    print("| importing | loading | first recording | real-time factor, CPU | wall | peak memory |")
    print("|---|---|---|---|---|---|")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = f"{imported - began:.1f} s | {loaded - imported:.1f} s | {warm - loaded:.1f} s"
    print(f"| {seconds} | {cpu / audio:.3f} | {wall / audio:.3f} | {peak:.0f} MB |")
    print(f"{len(recordings)} recordings, {audio / repeats:.1f} s; the first: {first.label}")


if __name__ == "__main__":
    typer.run(main)
