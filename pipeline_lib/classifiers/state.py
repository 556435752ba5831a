"""What a fitted classifier learned, as arrays and numbers by name, and a classifier made of them again.

A classifier names these attributes itself, in ``LEARNED``.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np


def state(model: Any) -> dict[str, np.ndarray | float]:
    """Return what the classifier learned, by the names of its attributes; arrays have the shapes that its class names.

    Args:
        model: fitted, of a class with ``LEARNED``

    Returns:
        arrays of any shape, and scalars
    """
    return {name: getattr(model, name) for name in model.LEARNED}


def restore(model: Any, learned: Mapping[str, Any]) -> Any:
    """Give a classifier what another of its class learned.

    Args:
        model: of a class with ``LEARNED``, changed in place
        learned: as ``state`` returns it; lists become arrays

    Returns:
        the classifier, fitted

    Raises:
        KeyError: an attribute is missing
    """
    for name in model.LEARNED:
        value = learned[name]
        setattr(model, name, np.array(value) if isinstance(value, list) else value)
    return model
