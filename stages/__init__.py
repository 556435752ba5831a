"""One command a stage of dvc.yaml."""

import pipeline_lib  # noqa: F401  # Ctrl-C during the imports of a stage ends it in one line
from pipeline_lib import instructions, telemetry

telemetry.off()
instructions.hold()
