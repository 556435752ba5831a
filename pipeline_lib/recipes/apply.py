"""Lay a recipe down as params.yaml: ``python -m pipeline_lib.recipes.apply taltech``.

A recipe is an overlay of default.yaml that holds what differs: mappings are merged, anything else is replaced. In the
sections with one entry a name it names every entry, and one that the default lacks is written whole. params.yaml is
written out whole, so that ``git diff params.yaml`` shows what the recipe is, and outputs that the new parameters no
longer name are removed.
"""

import shutil
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML

from pipeline_lib.command import run
from pipeline_lib.recipes.check import check
from pipeline_lib.recipes.sections import ENTRIES, ORDER, Params
from pipeline_lib.settings import PARAMS, ParameterError

FOLDER = Path(__file__).parent
DEFAULT = FOLDER / "default.yaml"
WIDTH = 118


def names() -> list[str]:
    """Return the recipes there are."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def compose(name: str) -> str:
    """Return the text of params.yaml under a recipe, comments kept.

    Raises:
        ParameterError: there is no such recipe, or it holds a section that does not exist
    """
    if name not in names():
        raise ParameterError(f"there is no recipe {name!r}, wanted one of {names()}")
    if name == DEFAULT.stem:
        return DEFAULT.read_text(encoding="utf-8")
    yaml = YAML()
    yaml.width = WIDTH
    whole = yaml.load(DEFAULT.read_text(encoding="utf-8"))
    overlay = yaml.load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    for section, value in overlay.items():
        if section not in ORDER:
            raise ParameterError(f"recipe {name!r} holds {section!r}, which is not among {list(ORDER)}")
        if section in ENTRIES:
            for entry in [entry for entry in whole[section] if entry not in value]:
                del whole[section][entry]
        _merge(whole[section], value)
    written = StringIO()
    yaml.dump(whole, written)
    return written.getvalue()


def _merge(whole: dict[str, Any], overlay: dict[str, Any]) -> None:
    """Put the overlay's values into the whole, mapping by mapping."""
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(whole.get(key), dict):
            _merge(whole[key], value)
        else:
            whole[key] = value


def stale_outputs(params: Params, root: Path = Path()) -> list[Path]:
    """Return outputs of earlier parameters that no entry of these names."""
    homes = {
        "demonstration": ["data/demonstration/{}"],
        "embedding": ["data/embeddings/{}", "metrics/embedding/{}.json", "metrics/plots/layers/{}.csv"],
        "finetuning": ["models/{}", "data/predictions/{}.parquet", "metrics/plots/training/{}"],
        "rebalancing": ["data/rebalanced/{}.parquet"],
    }
    stale = []
    for section in ENTRIES:
        keep = {*getattr(params, section), "demo", "fusion"}
        for pattern in homes[section]:
            found = root.glob(pattern.format("*"))
            stale += [path for path in found if path.name.split(".")[0] not in keep and path.name[0] != "."]
    return sorted(stale)


def main(name: Annotated[str, typer.Argument(help=f"one of {', '.join(names())}")], out: Path = PARAMS) -> None:
    """Write params.yaml from a recipe and remove the outputs that it no longer names."""
    draft = out.with_name(f".{out.name}.draft")
    draft.write_text(compose(name), encoding="utf-8")
    try:
        params = check(draft, root=False)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    for path in stale_outputs(params, out.parent):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        print(f"removed {path}, which {name} does not name")
    print(f"{out} is now the recipe {name}; see git diff {out}")
    if params.corpus.root not in {f"data/demonstration/{each}" for each in params.demonstration}:
        found = (
            "" if Path(params.corpus.root).exists() else ", which does not exist yet: set it to where the corpus lies"
        )
        print(f"corpus.root is {params.corpus.root!r}{found}")


if __name__ == "__main__":
    run(main)
