"""How many previous turns of its dialogue an entry reads before a text."""

from typing import Annotated

from pydantic import Field

Context = Annotated[
    int, Field(ge=0, description="previous turns of the same dialogue and split that are read before a text, at most")
]
