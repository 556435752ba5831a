"""The JavaScript that draws the page of ``dvc plots show``, from the package vl-convert: no network is needed then.

``.dvc/plots.html``, the page that DVC fills, loads it from ``.venv/vega.js``, and from DVC's own sources on the network
where that file is not there. It holds Vega, Vega-Lite and Vega-Embed (BSD-3-Clause) with what they depend on.
"""

from pathlib import Path

from pipeline_lib.storage import atomic

SCRIPT = Path(".venv/vega.js")


def write_script(path: Path = SCRIPT) -> None:
    """Write the script that the page loads.

    Args:
        path: the file; the page looks for ``SCRIPT``
    """
    import vl_convert  # of the extra "pipeline"

    atomic.write_file(path, vl_convert.javascript_bundle(snippet=None))  # type: ignore[arg-type]  # the default
