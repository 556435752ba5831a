"""Scripts behind the figures that the project states."""

from pipeline_lib import telemetry

telemetry.off()
