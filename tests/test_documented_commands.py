"""Every command of the README and of docs/: run here, or in a list of what it needs, and its options exist."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from dvc.cli.parser import get_main_parser

from pipeline_lib import cli
from pipeline_lib.params.base import read_params

ROOT = Path.cwd()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"\s+# .*$")
RUN, HUB, MINUTE, MACHINES, EARLIER, SHELL = "run", "a hub", "minutes", "several machines", "an earlier run", "a shell"
CORPUS = "a corpus"
MELD = "--path /data/MELD=/mnt/meld"
PATHS = "--path /data/MSP-PODCAST=/mnt/msp --path /data/musan=/mnt/musan"
COMMANDS = {  # command: run by this test, or what it needs
    f"ser apply taltech {PATHS}": RUN,
    "ser apply taltech --small": RUN,
    "ser apply small_corpus --path /data/mine=/mnt/mine --path openai/whisper-base=/mnt/whisper_base": RUN,
    f"ser apply open_meld_text {MELD}": RUN,
    f"ser apply open_meld_text_context {MELD}": RUN,
    "ser apply open_cross_corpus --path /data/cross=/mnt/corpora --path openai/whisper-base=/mnt/whisper_base": RUN,
    "ser evaluate /data/nemo": CORPUS,  # tests/evaluation/ runs it on a corpus of its own
    "ser evaluate /data/theirs/labels.csv --reader table --map rage=anger,joy=happiness --merge calm=neutral": CORPUS,
    "ser evaluate ../other/params.yaml --split test --name theirs": CORPUS,
    "ser bundle --out bundle --with-encoders": EARLIER,  # tests/bundle/ packs systems of its own
    "ser pull owner/name --out bundle": HUB,  # tests/bundle/test_hub.py has a hub of its own
    "ser predict recording.mp3 --bundle bundle --segment vad --out x.csv": EARLIER,  # tests/prediction/, tests/bundle/
    "pip install 'speech-emotion-pipeline[predict]'": SHELL,
    "less metrics/evaluation/nemo.md": EARLIER,
    "ser apply open_ravdess --path /data/ravdess=/mnt/ravdess --path openai/whisper-base=/mnt/whisper_base": RUN,
    "ser table emobox --path openai/whisper-base=/mnt/whisper_base": EARLIER,
    "hf download openai/whisper-base && hf download sentence-transformers/all-MiniLM-L6-v2": HUB,
    (
        "curl -LO https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip"
        " && unzip Audio_Speech_Actors_01-24.zip -d /data/ravdess"
    ): HUB,
    "git clone https://github.com/amu-cai/nEMO /data/nemo": HUB,
    "make repro": MINUTE,
    "make test": MINUTE,
    "dvc repro": MINUTE,
    "dvc exp run -n logreg -S fusion.method=logreg": MINUTE,
    "dvc exp run -n seed2 -S finetuning.audio.seed=2": MINUTE,
    "dvc repro embedding@wavlm": HUB,
    "hf auth login": HUB,
    "ser doctor --online": HUB,
    "ser convert hub facebook/hubert-base-ls960 models/hubert_base": HUB,
    "ser convert hub huawei-noah/TinyBERT_General_4L_312D models/tinybert --model-type bert": HUB,
    "bash pipeline_lib/recipes/papers/taltech.sh --path /data/MSP-PODCAST=/mnt/msp ...": HUB,
    "ser rehearse taltech": MINUTE,
    "ser rehearse taltech distilled --plan": MINUTE,
    "ser rehearse taltech --plan --device h100": MINUTE,
    "ser rehearse taltech --small": MINUTE,  # tests/rehearsal/ runs another recipe so
    "ser start /data/mine": CORPUS,  # tests/start/ runs it on corpora of its own
    "dvc exp show --only-changed --drop '.*/|.*f1|Created'": EARLIER,
    "dvc metrics diff": EARLIER,
    "ser robustness --noise /data/noise --conditions noise --levels noise=0 --largest 24": EARLIER,
    "ser robustness --noise /data/musan --rooms /data/rirs": EARLIER,  # tests/robustness/ has a system of its own
    "dvc plots show": EARLIER,  # tests/test_plots_page.py runs it on tables of one
    "dvc queue start": EARLIER,
    "ser table taltech": EARLIER,
    "less metrics/report.md": EARLIER,
    "ray get-auth-token --generate": MACHINES,
    "export RAY_AUTH_MODE=token": MACHINES,
    "ray start --head --port=6379": MACHINES,
    "ray start --address=10.0.0.1:6379": MACHINES,
    "RAY_ADDRESS=10.0.0.1:6379 dvc repro embedding@wavlm": MACHINES,
    "accelerate launch --config_file pipeline_lib/recipes/accelerate/ddp.yaml -m stages.finetuning audio": MACHINES,
    "source .venv/bin/activate": SHELL,
    "echo 'embedding: {executor: {workers: 4}}' > machine.yaml": SHELL,
    "pip install -e '.[pipeline,asr,cluster]'": SHELL,
    "tmux new -s run": SHELL,
    (
        r"cd /data/corpus && find . -type f -name '*.wav' -printf '%P\n' | sort | xargs -d '\n' sha256sum > SHA256SUMS"
    ): SHELL,
}


def documented() -> list[str]:
    """Return each command once; blocks without a language, and of sh, are commands."""
    pages = [Path("README.md"), *sorted(Path("docs").glob("*.md"))]
    blocks = [block for page in pages for kind, block in FENCE.findall(page.read_text()) if kind in ("", "sh")]
    lines = [COMMENT.sub("", line).strip() for block in blocks for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line))


def context(words: list[str]) -> typer.Context:
    """Parse the words behind ``ser`` as the command line does, without running anything."""
    command = typer.main.get_command(cli.app)
    parsed, rest = command.make_context("ser", [words[0]]), words
    while hasattr(command, "commands"):
        name, rest = rest[0], rest[1:]
        command = command.commands[name]
        arguments = rest[:1] if hasattr(command, "commands") else rest
        parsed = command.make_context(name, list(arguments), parent=parsed)
    return parsed


def test_the_list_holds_every_command_of_the_pages_and_no_other():
    assert set(documented()) == set(COMMANDS)


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.startswith("ser ")])
def test_a_command_of_ser_has_these_arguments_and_options(command, capsys):
    parsed = context(shlex.split(command)[1:])
    assert "--help" in parsed.get_help() + capsys.readouterr().out and parsed.command.help


@pytest.mark.parametrize("words", [["apply", "ravdess", "--smal"], ["convert", "hub", "a"], ["doctor", "x"]])
def test_an_argument_that_a_command_does_not_have_is_noticed(words):
    with pytest.raises(Exception, match=r"(?i)no such option|missing parameter|unexpected extra"):
        context(words)


@pytest.mark.parametrize("command", [each for each in COMMANDS if re.match(r"(RAY_ADDRESS=\S+ )?dvc ", each)])
def test_a_command_of_dvc_has_these_options(command):
    words = shlex.split(command)
    assert get_main_parser().parse_args(words[words.index("dvc") + 1 :])


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.startswith("make ")])
def test_a_target_of_make_is_there(command):
    assert re.search(rf"^{command.split()[1]}:", Path("Makefile").read_text(), re.MULTILINE)


def test_files_that_commands_name_are_there():
    names = [word for command in COMMANDS for word in command.split() if word.startswith("pipeline_lib/")]
    assert names and all(Path(name).is_file() for name in names)


@pytest.mark.parametrize("command", [each for each, needs in COMMANDS.items() if needs == RUN])
def test_a_quick_command_runs(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(ROOT / "models")
    parsed = context(shlex.split(command)[1:])
    parsed.command.invoke(parsed)
    assert "params.yaml is now the recipe" in capsys.readouterr().out
    assert read_params(tmp_path / "params.yaml")["corpus"]
