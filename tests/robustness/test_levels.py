"""Conditions and levels as a command names them."""

import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.robustness.levels import DEFAULT_LEVELS, Level, levels_of


def test_the_defaults_are_levels_of_their_conditions():
    levels = levels_of([*DEFAULT_LEVELS], [])
    assert [(level.condition, level.value) for level in levels] == [
        (condition, value) for condition, values in DEFAULT_LEVELS.items() for value in values
    ]
    assert len({level.name for level in levels}) == len(levels)


def test_given_levels_stand_in_place_of_the_default_and_each_once():
    levels = levels_of(["noise", "codec"], ["codec=gsm,mp3_32,gsm"])
    assert [level.value for level in levels if level.condition == "codec"] == ["gsm", "mp3_32"]
    assert [level.words for level in levels if level.condition == "noise"] == ["20 dB", "10 dB", "5 dB", "0 dB"]


def test_values_are_read_as_numbers():
    assert Level("noise", "-5").number == -5
    assert Level("band", "0.3-3.4").range == (0.3, 3.4)
    assert Level("band", "4").range == (0.0, 4.0)
    assert Level("codec", "opus_12").bitrate == ("opus", 12)
    assert Level("codec", "gsm").bitrate == ("gsm", 0)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("noise=loud", "noise has no level 'loud', expected a ratio in dB"),
        ("noise=nan", "noise has no level 'nan'"),
        ("noise=", "noise has no level ''"),
        ("rooms=0.5", "a range of seconds such as 0.5-1"),
        ("rooms=1-0.5", "a range of seconds"),
        ("codec=mp3", "mp3_KBPS"),
        ("codec=mp3_500", "mp3_KBPS"),
        ("codec=aac_32", "mp3_KBPS"),
        ("band=8", "from 0.1 to below 8"),
        ("clipping=0", "a share in percent"),
        ("clipping=80", "a share in percent"),
        ("wind=3", "is of no condition of this run"),
    ],
)
def test_another_level_is_refused_with_what_is_expected(given, expected):
    with pytest.raises(InputError, match=expected):
        levels_of([*DEFAULT_LEVELS], [given])


def test_conditions_and_lists_that_stand_twice_are_refused():
    for conditions, given, expected in (
        (["noise", "noise"], [], "names a condition twice"),
        (["wind"], [], "names 'wind', expected some of noise, rooms"),
        (["noise"], ["noise=1", "noise=2"], "names noise twice"),
        (["noise"], ["codec=gsm"], "is of no condition of this run"),
    ):
        with pytest.raises(InputError, match=expected):
            levels_of(conditions, given)
