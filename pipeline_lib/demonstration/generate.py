"""Speak a planned corpus and write it in one of two layouts.

It is synthetic speech for trying the pipeline out: its numbers say nothing about people.
"""

from pathlib import Path

from pipeline_lib.command import progress
from pipeline_lib.demonstration import msp_podcast_layout, table_layout
from pipeline_lib.demonstration.plan import plan
from pipeline_lib.demonstration.synthesis import Utterance, speak_all
from pipeline_lib.params.demonstration import DemonstrationSettings
from pipeline_lib.storage import atomic

NOTICE = "synthetic demonstration speech (eSpeak NG): its numbers show that the pipeline works, not how people sound"
LAYOUTS = {"table": table_layout, "msp_podcast": msp_podcast_layout}


def generate(settings: DemonstrationSettings, out: Path, workers: int = 1) -> None:
    """Write recordings, labels and ``README.txt``.

    Args:
        settings: the section ``demonstration`` of params.yaml
        out: folder, replaced as a whole
        workers: processes that synthesise, at least 1; the bytes do not depend on it
    """
    planned, layout = plan(settings), LAYOUTS[settings.layout]
    names = layout.names(planned)
    with atomic.replace_folder(out) as temporary:
        spoken = speak_all([Utterance(p.text, p.voice.espeak, p.prosody, p.phase) for p in planned], workers)
        with progress(len(planned), "speaking") as advance:
            for name, wave in zip(names, spoken, strict=True):
                layout.write_sound(temporary, name, wave)
                advance(1)
        layout.write_labels(temporary, names, planned)
        readme = f"This is {NOTICE}.\nMade by stages/demonstration.py from seed {settings.seed}.\n"
        (temporary / "README.txt").write_text(readme, encoding="utf-8")
