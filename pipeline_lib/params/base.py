"""params.yaml: one frozen class a section, unknown keys refused, every mistake named with what was expected.

The file is read as YAML 1.2, as DVC reads it: ``1e-4`` is a number, ``no`` is a word.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline_lib.errors import InputError
from pipeline_lib.params.mistakes import choose, explain, short

PARAMS = Path("params.yaml")
FILLER = "data/manifest.parquet"
LONGEST_TEXT, LONGEST_NAME = 1000, 255  # letters; bytes between slashes, what file systems take
SENTENCES = ("notice",)  # fields that are neither a name nor a path
UNSEEN = ("Cc", "Cs", "Zl", "Zp")  # Unicode's control characters, halves of characters, line and paragraph separators


class ParameterError(InputError):
    """params.yaml holds something that no stage could run with."""


def renamed(new: str) -> str:
    """Return the message about a key that was renamed."""
    return f"is now {new}: rename it"


def moved(new: str) -> str:
    """Return the message about a key that was moved to machine.yaml."""
    return f"has moved to machine.yaml: remove it here, and set {new} there (docs/machine.md)"


class Settings(BaseModel):
    """Base of every section: frozen, strict types, finite numbers, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    old_keys: ClassVar[Mapping[str, str]] = {}  # a key of earlier versions: what became of it, for the message

    @model_validator(mode="after")
    def _texts_are_names(self) -> Self:
        """Refuse texts that are neither a word, a name nor a path: every text of params.yaml is one of these."""
        for name in type(self).model_fields:
            for text in _texts_in(getattr(self, name)):
                if why := _misshapen(text, sentence=name in SENTENCES):
                    raise ValueError(f"{name} is {short(text)}, {why}")
        return self

    @classmethod
    def read(cls, section: str, path: Path = PARAMS) -> Self:
        """Return the section (``fusion``) or entry (``finetuning.audio``) of that name.

        Args:
            section: dotted name
            path: the parameters

        Raises:
            ParameterError: there is no such section, or a key or value of it is wrong; every mistake is listed
        """
        return cls.parse(read_value(section, path), section, path)

    @classmethod
    def parse(cls, values: Any, section: str, path: Path = PARAMS) -> Self:
        """Return ``values`` as settings.

        Args:
            values: read from YAML
            section: dotted name, for messages
            path: the file they were read from, for messages

        Raises:
            ParameterError: a key or value is wrong; every mistake is listed
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise refusal(cls, error.errors(), section, path) from None


# git's names without their odd signs: the hub's cache joins a revision to a path
Revision = Annotated[
    str | None,
    Field(
        pattern=r"^[A-Za-z0-9_-]+([./+][A-Za-z0-9_-]+)*$",
        max_length=200,
        description="commit, branch or tag on the hub; null is its main branch",
    ),
]
# a path that an entry reads, by its role in `reads`; FILLER where it reads nothing in that role
Slot = Annotated[str, Field(min_length=1)]


def read_params(path: Path = PARAMS) -> dict[str, Any]:
    """Return the whole file.

    Raises:
        ParameterError: the file is missing or is not YAML
    """
    values = load_yaml(path)
    if not isinstance(values, dict):
        raise ParameterError(
            f"{path} holds {type(values).__name__}, expected sections such as 'corpus:' (another file, or an empty"
            " one?); write it by ser apply default"
        )
    return values


def load_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises:
        ParameterError: the file is missing, cannot be read or is not YAML
    """
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParameterError(
            f"{path} does not exist, expected below the project's root, where dvc.yaml is and commands are run (is"
            f" {Path.cwd()} another folder?); cd to the project, or write the file by ser apply default"
        ) from None
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ParameterError(f"{path} is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}") from None
    except RecursionError:
        raise ParameterError(f"{path} is not YAML: brackets are nested too deeply") from None
    except YAMLError as error:
        raise ParameterError(
            f"{path} is not YAML: {' '.join(str(error).split())} (a tab, a bracket or a quote that is not closed, or an"
            " indentation?); correct that line"
        ) from None


def read_value(dotted: str, path: Path = PARAMS) -> Any:
    """Return what stands at a dotted name, ``corpus.root`` for example.

    Args:
        dotted: the name
        path: the parameters

    Raises:
        ParameterError: no such name; the message lists its neighbours
    """
    value: Any = read_params(path)
    done: list[str] = []
    for part in dotted.split("."):
        if not isinstance(value, dict) or part not in value:
            known = sorted(map(str, value)) if isinstance(value, dict) else []
            where = f"section '{'.'.join(done)}'" if done else "the file"
            raise ParameterError(
                f"{path} has no section '{dotted}': '{part}' is not among {known} of {where}"
                f"{choose(part, known, ' (removed, or of another recipe?); add it, or name one of these')}"
            )
        value = value[part]
        done.append(part)
    return value


def refusal(cls: type[Settings], details: Iterable[ErrorDetails], section: str, path: Path) -> ParameterError:
    """Return the error that lists every mistake, a line each.

    Args:
        cls: that read the values
        details: pydantic's
        section: dotted name of the values
        path: the file they were read from
    """
    return ParameterError("\n".join(f"{path}: {explain(cls, section, detail)}" for detail in details))


def _texts_in(value: Any) -> Iterator[str]:
    """Yield the texts of a field; nested settings look at their own."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _texts_in(key)
            yield from _texts_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts_in(each)


def _misshapen(text: str, *, sentence: bool) -> str | None:
    """Return why a text can be no name and no path on any disk, None where it can."""
    if len(text) > LONGEST_TEXT:
        return f"which has {len(text):,} letters, expected at most {LONGEST_TEXT:,}"
    if any(unicodedata.category(letter) in UNSEEN for letter in text):
        return "which holds control characters, expected letters that can be seen"
    longest = max(len(part.encode()) for part in text.split("/"))
    if longest > LONGEST_NAME and not sentence:
        return f"in which a name has {longest} bytes, expected at most {LONGEST_NAME}"
    return None
