"""Write the hashed requirements that ``make install`` installs, from pyproject.toml and the pins of constraints.txt.

``make lock`` runs it. Three files that have no package in common, of wheels for Linux x86_64 and the Pythons below:

- ``build.txt``: what builds the packages of SOURCE and this project itself;
- ``base.txt``: the core, the extras and the test tools, but for
- ``asr.txt``: what NeMo alone brings.

torch has no hash, because its build differs by index (CPU, CUDA); nor has what only its CUDA build needs (OF_TORCH).
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
UV = "uv==0.13.9"
PYTHONS = ("3.11", "3.12")
PLATFORM = "x86_64-manylinux_2_28"
SOURCE = {
    "antlr4-python3-runtime": "no release that hydra-core 1.3 (of DVC) and omegaconf 2.3 (of NeMo) admit has a wheel",
}
BUILD = ("setuptools",)
WITHOUT_HASH = ("torch",)
OF_TORCH = ("nvidia-", "cuda-toolkit", "triton")
ASR = "asr"
Packages = dict[str, tuple[str, set[str]]]  # version and hashes by name


def main() -> None:
    """Write the three files.

    Raises:
        SystemExit: constraints.txt does not pin what is resolved; the lines that it lacks are printed
    """
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    with tempfile.TemporaryDirectory() as folder:
        uv = install_uv(Path(folder))
        everything = resolve(uv, [*extras])
        base = resolve(uv, [name for name in extras if name not in (ASR, "dev")])
    pins = pinned(ROOT / "constraints.txt")
    unpinned = [f"{name}=={version}" for name, (version, _) in everything.items() if pins.get(name) != version]
    if unpinned:
        sys.exit("constraints.txt lacks:\n" + "\n".join(unpinned))
    files = {
        "build": {name: everything[name] for name in BUILD},
        "base": {name: package for name, package in base.items() if name not in BUILD},
        "asr": {name: package for name, package in everything.items() if name not in base and name not in BUILD},
    }
    for name, packages in files.items():
        (HERE / f"{name}.txt").write_text(text(packages), encoding="utf-8")
        print(f"requirements/{name}.txt: {len(packages)} packages")


def install_uv(folder: Path) -> Path:
    """Install uv in an environment of its own below ``folder`` and return the program."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", "--only-binary", ":all:", UV], check=True)
    return folder / "bin" / "uv"


def resolve(uv: Path, extras: list[str]) -> Packages:
    """Return what the core and some extras need, with the hashes of the files for every Python of PYTHONS.

    Args:
        uv: the program
        extras: of pyproject.toml
    """
    packages: Packages = {}
    for python in PYTHONS:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "pylock.lock.toml"
            command = [uv, "pip", "compile", "--quiet", "--format", "pylock.toml", "--output-file", out]
            command += ["--python-version", python, "--python-platform", PLATFORM, "--constraints", "constraints.txt"]
            command += [word for name in extras for word in ("--extra", name)]
            command += ["--only-binary", ":all:", *(word for name in SOURCE for word in ("--no-binary", name))]
            command += ["--no-python-downloads", "--no-sources", "pyproject.toml"]
            subprocess.run(command, cwd=ROOT, check=True)
            locked = tomllib.loads(out.read_text(encoding="utf-8"))["packages"]
        for package in locked:
            name, version = package["name"], package["version"]
            if name in WITHOUT_HASH or (name.startswith(OF_TORCH) and name not in pinned(ROOT / "constraints.txt")):
                continue
            archives = [package["sdist"]] if name in SOURCE else package["wheels"]
            hashes = {archive["hashes"]["sha256"] for archive in archives}
            known, earlier = packages.get(name, (version, set()))
            assert known == version, f"{name} has two versions"  # constraints.txt pins one
            packages[name] = (version, earlier | hashes)
    return dict(sorted(packages.items()))


def pinned(path: Path) -> dict[str, str]:
    """Return the versions that a file of pins has, by the package's normalised name."""
    lines = [line.split("==") for line in path.read_text(encoding="utf-8").split() if "==" in line]
    return {name.lower().replace("_", "-").replace(".", "-"): version for name, version in lines}


def text(packages: Packages) -> str:
    """Return a requirements file: wheels alone but for SOURCE, each version with its hashes."""
    lines = [
        "# Written by `make lock`; wheels for Linux x86_64, Python " + " and ".join(PYTHONS),
        "--only-binary :all:",
    ]
    for name, reason in SOURCE.items():
        if name in packages:
            lines += [f"# {name} is built here: {reason}", f"--no-binary {name}"]
    for name, (version, hashes) in packages.items():
        lines.append(" \\\n".join([f"{name}=={version}", *(f"    --hash=sha256:{each}" for each in sorted(hashes))]))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
