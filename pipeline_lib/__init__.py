"""A staged pipeline for speech emotion recognition."""

from importlib import import_module
from typing import Any

from pipeline_lib.interrupt import end_while_importing

end_while_importing()

PUBLIC = {"Pipeline": "pipeline", "Recording": "prediction", "Prediction": "prediction", "Failure": "prediction"}


def __getattr__(name: str) -> Any:
    """Return a trained system's class, imported when it is first used: it needs torch."""
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.inference.{PUBLIC[name]}"), name)
