"""params.yaml is read strictly, and every mistake is named with what was expected."""

from typing import Annotated, Literal

import pytest
from pydantic import Field, model_validator

from pipeline_lib.params.base import ParameterError, Revision, Settings, read_value
from pipeline_lib.params.network import LoraSettings
from pipeline_lib.params.training import PhaseSettings


class Inner(Settings):
    step: Annotated[float, Field(gt=0, le=1)] = 0.05


class Range(Settings):
    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self):
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class Outer(Settings):
    method: Literal["grid", "logreg"]
    experts: list[str]
    grid: Inner = Inner()
    entries: dict[str, Inner] = {}


@pytest.fixture
def params(tmp_path):
    def write(text):
        path = tmp_path / "params.yaml"
        path.write_text(text)
        return path

    return write


def test_numbers_are_read_as_dvc_reads_them(params):
    # YAML 1.1 takes 1e-1 for a string; DVC and this project read YAML 1.2
    path = params("outer: {method: grid, experts: [a], grid: {step: 1e-1}}")
    assert Outer.read("outer", path).grid.step == 0.1


def test_a_nested_entry_is_read_by_its_dotted_name(params):
    path = params("outer: {entries: {one: {step: 0.5}}}")
    assert Inner.read("outer.entries.one", path).step == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("outer: {method: gird, experts: [a]}", r"outer\.method is 'gird', expected 'grid' or 'logreg'"),
        (
            "outer: {method: grid, experts: [a], setp: 1}",
            r"outer\.setp is not a parameter, expected one of \['entries', 'exp",
        ),
        (
            "outer: {method: grid, experts: [a], grid: {stp: 1}}",
            r"outer\.grid\.stp is not a parameter, expected one of \['step'\]",
        ),
        ("outer: {method: grid, experts: [a], entries: {x: {stp: 1}}}", r"outer\.entries\.x\.stp is not .* \['step'\]"),
        ("outer: {method: grid}", r"outer\.experts is missing"),
        ("outer: {method: grid, experts: a}", r"outer\.experts is 'a': should be a valid list"),
        (
            "outer: {method: grid, experts: [a], grid: {step: '1'}}",
            r"outer\.grid\.step is '1': should be a valid number",
        ),
        (
            "outer: {method: grid, experts: [a], grid: {step: 2}}",
            r"outer\.grid\.step is 2: should be less than or equal to 1",
        ),
        ("other: 1", r"no section 'outer': 'outer' is not among \['other'\]"),
        ("outer: [", r"is not YAML"),
        ("", r"holds NoneType, expected sections"),
    ],
)
def test_a_mistake_is_named_with_what_was_wanted(params, text, message):
    with pytest.raises(ParameterError, match=message):
        Outer.read("outer", params(text))


def test_every_mistake_of_a_section_is_listed_at_once(params):
    with pytest.raises(ParameterError) as caught:
        Outer.read("outer", params("outer: {method: x, experts: 1, z: 2}"))
    assert str(caught.value).count("\n") == 2


def test_a_missing_file_says_where_commands_are_run(tmp_path):
    with pytest.raises(ParameterError, match="does not exist, expected below the project's root"):
        read_value("corpus", tmp_path / "params.yaml")


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Inner().step = 0.1


def test_keys_that_do_not_fit_together_are_named_without_the_whole_section(params):
    with pytest.raises(ParameterError, match=r"params.yaml: range: low 2.0 is above high 1.0$"):
        Range.read("range", params("range: {low: 2.0, high: 1.0}"))


class Source(Settings):
    revision: Revision = None


@pytest.mark.parametrize("revision", ["main", "refs/pr/1", "v1.0", "0d2f8a1c", None])
def test_a_revision_is_a_name_of_git(revision):
    assert Source.parse({"revision": revision}, "encoder").revision == revision


@pytest.mark.parametrize("revision", ["../../x", "a/../b", "/etc", "a//b", "a b", "a\n", "", "a" * 201, "${x}"])
def test_a_revision_that_leads_out_of_the_hubs_cache_is_refused(revision):
    with pytest.raises(ParameterError, match=r"encoder\.revision is "):
        Source.parse({"revision": revision}, "encoder")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("accumulation", "gradient_accumulation_steps"),
        ("warmup_share", "warmup_steps"),
        ("decay", "lr_scheduler_type"),
        ("optimiser", "optim"),
        ("max_gradient_norm", "max_grad_norm"),
    ],
)
def test_a_key_of_earlier_versions_is_refused_with_its_name_of_today(old, new):
    with pytest.raises(ParameterError, match=rf"finetuning\.x\.phases\.only\.{old} is now {new}[^:]*: rename it"):
        PhaseSettings.parse({old: 1}, "finetuning.x.phases.only")
    assert new in PhaseSettings.model_fields


def test_a_warm_up_is_a_share_or_whole_steps():
    assert PhaseSettings.parse({"warmup_steps": 100}, "x").warmup_steps == 100
    with pytest.raises(ParameterError, match="warmup_steps is 1.5, expected a share below 1 or a whole number"):
        PhaseSettings.parse({"warmup_steps": 1.5}, "x")


def test_low_rank_adaptation_has_the_names_of_peft():
    with pytest.raises(ParameterError) as error:
        LoraSettings.parse({"rank": 8, "alpha": 8.0, "dropout": 0.1}, "lora")
    messages = [line.split(": ", 1)[1] for line in str(error.value).splitlines()]
    assert messages == [
        "lora.rank is now r: rename it",
        "lora.alpha is now lora_alpha: rename it",
        "lora.dropout is now lora_dropout: rename it",
    ]
