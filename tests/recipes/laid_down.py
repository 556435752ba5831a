"""Recipes as they are laid down."""

from functools import cache

from ruamel.yaml import YAML

from pipeline_lib.params.check import read_all
from pipeline_lib.recipes.compose import compose, fill_slots, merge, write_yaml
from pipeline_lib.recipes.small import shrink

YAML12 = YAML(typ="safe", pure=True)


@cache
def text(name, small=False):
    params = compose(name)
    if small:
        shrink(params)
    return write_yaml(filled(params))


def filled(params):
    fill_slots(params, read_all(YAML12.load(write_yaml(params))))
    return params


def overlaid(overlay):
    params = compose("default")
    merge(params, YAML12.load(overlay), "a test")
    return params
