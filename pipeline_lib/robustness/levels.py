"""Conditions and their levels as a command names them: ``noise=20,10``, ``codec=gsm``.

=========  ==========================================================================================================
noise      speech-to-noise ratio in dB, of mean powers over the whole recording
rooms      range of the room's reverberation time in seconds, ``0.5-1``: above 0.5, up to 1
codec      ``mp3_KBPS`` (8 to 160), ``opus_KBPS`` (6 to 256), ``mulaw``, ``alaw``, ``gsm`` (these three at 8 kHz)
band       upper limit in kHz, or both limits: ``4``, ``0.3-3.4``
clipping   share of the samples that stand at full scale, in percent
=========  ==========================================================================================================

``clean`` is the unaltered recording through the same path, which every level is compared with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline_lib.audio.decoding import SAMPLE_RATE
from pipeline_lib.errors import InputError

DEFAULT_LEVELS = {
    "noise": ("20", "10", "5", "0"),
    "rooms": ("0-0.5", "0.5-1", "1-4"),
    "codec": ("opus_24", "opus_12", "mp3_16", "gsm"),
    "band": ("4", "0.3-3.4", "2", "1"),
    "clipping": ("1", "5", "10", "25"),
}
UNITS = {"noise": " dB", "rooms": " s", "codec": "", "band": " kHz", "clipping": " %", "clean": ""}
BITRATES = {"mp3": (8, 160), "opus": (6, 256)}  # kbit/s of one channel at 16 kHz
TELEPHONE = ("mulaw", "alaw", "gsm")
_NYQUIST_KHZ = SAMPLE_RATE / 2000


@dataclass(frozen=True)
class Level:
    """One condition at one level.

    Attributes:
        condition: a key of ``DEFAULT_LEVELS``, or "clean"
        value: as a command names it; "" for clean
    """

    condition: str
    value: str = ""

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"{self.condition}_{self.value}" if self.value else self.condition

    @property
    def words(self) -> str:
        """Value with its unit, "10 dB" for example."""
        return f"{self.value}{UNITS[self.condition]}"

    @property
    def title(self) -> str:
        """Condition and value, "noise 10 dB" for example."""
        return f"{self.condition} {self.words}".rstrip()

    @property
    def number(self) -> float:
        """The value of noise and clipping.

        Raises:
            ValueError: it is no finite number
        """
        number = float(self.value)
        if not abs(number) < float("inf"):
            raise ValueError
        return number

    @property
    def range(self) -> tuple[float, float]:
        """Lower and upper limit of rooms, in seconds, and of a band, in kHz; 0 where only an upper one is given.

        Raises:
            ValueError: it is no range of numbers from 0 on
        """
        low, dash, high = self.value.partition("-")
        limits = (float(low), float(high)) if dash else (0.0, float(low))
        if not 0 <= limits[0] < limits[1] < float("inf"):
            raise ValueError
        return limits

    @property
    def bitrate(self) -> tuple[str, int]:
        """Codec and kbit/s; 0 of a codec that has only one.

        Raises:
            ValueError: no such codec, or it has no such bitrate
        """
        if self.value in TELEPHONE:
            return self.value, 0
        codec, _, kbps = self.value.partition("_")
        lowest, highest = BITRATES.get(codec, (1, 0))
        if not lowest <= int(kbps) <= highest:
            raise ValueError
        return codec, int(kbps)


CLEAN = Level("clean")
_TESTS: dict[str, tuple[Callable[[Level], bool], str]] = {
    "noise": (lambda level: -50 <= level.number <= 100, "a ratio in dB from -50 to 100"),
    "rooms": (lambda level: "-" in level.value and bool(level.range), "a range of seconds such as 0.5-1"),
    "codec": (
        lambda level: bool(level.bitrate),
        "mp3_KBPS (8 to 160), opus_KBPS (6 to 256), " + ", ".join(TELEPHONE),
    ),
    "band": (
        lambda level: 0.1 <= level.range[1] < _NYQUIST_KHZ,
        f"a limit in kHz from 0.1 to below {_NYQUIST_KHZ:g} (recordings are read at 16 kHz), or two such as 0.3-3.4",
    ),
    "clipping": (lambda level: 0 < level.number <= 50, "a share in percent above 0, up to 50"),
}


def levels_of(conditions: Sequence[str], given: Sequence[str]) -> list[Level]:
    """Return the levels of the conditions, those of ``given`` in place of the defaults.

    Args:
        conditions: keys of ``DEFAULT_LEVELS``, in the order of the report
        given: ``condition=value,value``, each condition once

    Raises:
        InputError: no such condition, a condition twice or not among ``conditions``, or no such level of it
    """
    for condition in conditions:
        if condition not in DEFAULT_LEVELS:
            raise InputError(f"--conditions names {condition!r}, expected some of {', '.join(DEFAULT_LEVELS)}")
    if len({*conditions}) < len(conditions):
        raise InputError(f"--conditions {','.join(conditions)} names a condition twice")
    chosen: dict[str, Sequence[str]] = {}
    for text in given:
        condition, _, values = text.partition("=")
        if condition not in conditions:
            raise InputError(
                f"--levels {text!r} is of no condition of this run, expected one of {list(conditions)}=..."
            )
        if condition in chosen:
            raise InputError(f"--levels names {condition} twice; expected one list, {condition}=VALUE,VALUE")
        chosen[condition] = list(dict.fromkeys(values.split(",")))
    return [
        checked(Level(condition, value))
        for condition in conditions
        for value in chosen.get(condition, DEFAULT_LEVELS[condition])
    ]


def checked(level: Level) -> Level:
    """Return the level.

    Raises:
        InputError: its condition has no such level
    """
    test, expected = _TESTS[level.condition]
    try:
        if test(level):
            return level
    except ValueError:
        pass
    raise InputError(f"{level.condition} has no level {level.value!r}, expected {expected}")
