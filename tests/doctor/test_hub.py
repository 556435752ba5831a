"""The doctor's questions to the hub, against a server on this machine that answers as the hub does."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from pipeline_lib.doctor import examine, hub
from pipeline_lib.doctor.result import Result
from pipeline_lib.params.base import read_params
from pipeline_lib.params.check import read_all

DEFAULT = Path("pipeline_lib/recipes/default.yaml").resolve()
SAFE = ["config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"]
BIN = ["config.json", "pytorch_model.bin", "vocab.txt", "preprocessor_config.json"]


class Repositories(ThreadingHTTPServer):
    """Holds repositories by name; ``asked`` counts the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.files: dict[str, list[str]] = {}
        self.refused: dict[str, tuple[int, str]] = {}
        self.asked: list[str] = []


class Answers(BaseHTTPRequestHandler):
    """Two routes of the hub's API: auth-check, and the list of files at a revision."""

    server: Repositories

    def do_GET(self) -> None:  # noqa: N802
        self.server.asked.append(self.path)
        owner, model, *rest = self.path.partition("?")[0].removeprefix("/api/models/").split("/")
        name, check = f"{owner}/{model}", rest == ["auth-check"]
        if check and name in self.server.refused:
            return self.answer(*self.server.refused[name])
        if name not in self.server.files:
            return self.answer(401, "RepoNotFound")
        if rest[:1] == ["revision"] and rest[1] != "main":
            return self.answer(404, "RevisionNotFound")
        siblings = [{"rfilename": each} for each in self.server.files[name]]
        return self.answer(200, "", {"id": name, "sha": "0123456789abcdef", "siblings": siblings})

    def answer(self, status: int, code: str, values: dict | None = None) -> None:
        body = json.dumps(values or {"error": code}).encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def server(monkeypatch):
    running = Repositories()
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{running.server_address[1]}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield running
    running.shutdown()
    running.server_close()


def params(**encoders: tuple[str, str]) -> SimpleNamespace:
    """Return the default parameters with encoders by entry: modality and checkpoint, at main."""
    values = read_params(DEFAULT)
    values["transcription"]["engine"] = "reference"
    pattern = {"audio": values["embedding"]["audio"], "text": values["embedding"]["text"]}
    values["embedding"] = {}
    for entry, (modality, checkpoint) in encoders.items():
        one = json.loads(json.dumps(pattern[modality]))
        one["encoder"] |= {"checkpoint": checkpoint, "revision": "main"}
        values["embedding"][entry] = one
    found = read_all(values)
    return SimpleNamespace(**{**vars(found), "finetuning": {}})


def only(params) -> tuple[str, str, str]:
    (found,) = hub.hub(params)
    return found.state, found.message, found.remedy


def test_a_checkpoint_is_asked_for_once_and_both_entries_are_named(server):
    server.files["org/model"] = SAFE
    found = only(params(one=("audio", "org/model"), two=("text", "org/model")))
    assert found == (
        "ok",
        "embedding.one, embedding.two: org/model at 0123456789ab may be read and has the files",
        "",
    )
    asked = [each for each in server.asked if each.startswith("/api/models/")]  # the client asks for more by itself
    assert asked == ["/api/models/org/model/auth-check", "/api/models/org/model/revision/main"]


@pytest.mark.parametrize(
    ("status", "code", "said", "remedy"),
    [
        (403, "GatedRepo", "org/model is gated", "ask for access at https://huggingface.co/org/model, then log in"),
        (401, "RepoNotFound", "is neither a folder here nor on the hub for this account", "a slip in the name?"),
        (401, "", "the hub does not know the token", "log in with 'hf auth login' or set HF_TOKEN anew"),
        (503, "", "the hub is out of reach (status 503)", "restore the network"),
    ],
)
def test_whoever_may_not_read_is_told_why(server, status, code, said, remedy):
    server.files["org/model"] = SAFE  # the list of files is public where the files are gated
    server.refused["org/model"] = (status, code)
    found = only(params(one=("audio", "org/model")))
    assert found[0] == "problem" and found[1].startswith("embedding.one: checkpoint org/model ")
    assert said in found[1] and remedy in found[2]
    assert ("log in" in found[2]) == (status != 503)


def test_a_revision_that_is_not_there(server):
    server.files["org/model"] = SAFE
    given = params(one=("audio", "org/model"))
    entry = given.embedding["one"]
    encoder = entry.encoder.model_copy(update={"revision": "v9"})
    given.embedding = {"one": entry.model_copy(update={"encoder": encoder})}
    state, said, remedy = only(given)
    assert (state, remedy) == ("problem", "see https://huggingface.co/org/model/commits/main")
    assert said.endswith("has no revision 'v9'")


@pytest.mark.parametrize(
    ("files", "modality", "said", "remedy"),
    [
        (BIN, "audio", "has no safetensors weights", "ser convert hub org/model models/model"),
        (["model.safetensors"], "audio", "has no config.json", "choose another"),
        (["config.json"], "audio", "has neither safetensors weights nor .bin files", "choose another"),
        (SAFE[:2], "text", "has no tokenizer", "take one from the model"),
        (
            ["config.json", "model.safetensors.index.json", "model-00001-of-00003.safetensors"],
            "audio",
            "lacks shard 2 of 3",
            "choose another revision",
        ),
    ],
)
def test_a_file_that_a_stage_reads_and_that_is_not_there(server, files, modality, said, remedy):
    server.files["org/model"] = files
    found = only(params(one=(modality, "org/model")))
    assert found[0] == "problem" and said in found[1] and remedy in found[2]


def test_whole_shards_and_random_weights_are_enough(server):
    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    server.files["org/model"] = ["config.json", "model.safetensors.index.json", *shards]
    given = params(one=("audio", "org/model"))
    assert only(given)[0] == "ok"
    server.files["org/model"] = ["config.json"]
    entry = given.embedding["one"]
    encoder = entry.encoder.model_copy(update={"pretrained": False})
    given.embedding = {"one": entry.model_copy(update={"encoder": encoder})}
    assert only(given)[0] == "ok"


def test_canary_wants_its_archive(server):
    server.files["nvidia/canary-1b"] = ["README.md", "canary-1b.nemo"]
    server.files["nvidia/other"] = ["canary.nemo"]
    values = read_params(DEFAULT)
    values["transcription"]["canary"]["checkpoint"] = "nvidia/canary-1b"
    given = SimpleNamespace(**{**vars(read_all(values)), "embedding": {}, "finetuning": {}})
    assert only(given)[0] == "ok"
    values["transcription"]["canary"]["checkpoint"] = "nvidia/other"
    given = SimpleNamespace(**{**vars(read_all(values)), "embedding": {}, "finetuning": {}})
    state, said, remedy = only(given)
    assert (
        state == "problem" and "has no file other.nemo" in said and remedy == "download canary.nemo and give its path"
    )


def test_without_a_network_the_remedy_is_the_network_and_a_cached_checkpoint_is_well(server, monkeypatch, tmp_path):
    given = params(one=("audio", "org/model"))
    server.shutdown()
    server.server_close()
    state, said, remedy = only(given)
    assert state == "problem" and "out of reach" in said and remedy.startswith("restore the network")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    state, said, remedy = only(given)
    assert state == "problem" and "HF_HUB_OFFLINE is set" in said and remedy.startswith("unset it once")
    snapshot = tmp_path / "models--org--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (tmp_path / "models--org--model" / "refs").mkdir()
    (tmp_path / "models--org--model" / "refs" / "main").write_text("abc")
    for name in SAFE:
        (snapshot / name).touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert only(given)[:2] == ("ok", "embedding.one: org/model is in the local cache; the hub was not reached")


def test_every_recipe_is_read_joint_experts_too():
    from pipeline_lib.recipes import compose

    names = {"taltech": "meta-llama/Llama-2-7b-hf", "mersa": "google-bert/bert-base-uncased"}
    names["shared_transformer"] = "openai/whisper-medium"
    names["distilled"] = "huawei-noah/TinyBERT_General_4L_312D"
    for recipe, expected in names.items():
        found = hub.checkpoints(read_all(compose.compose(recipe)))
        assert expected in {name for name, _ in found}, (recipe, sorted(found))
    _, needs = found[("huawei-noah/TinyBERT_General_4L_312D", None)]
    assert needs == {"weights", "tokenizer"}


def test_a_hub_that_is_silent_costs_no_more_than_the_limit_for_all_together(monkeypatch):
    monkeypatch.setattr(hub, "WITHIN_S", 0.2)
    silent = threading.Event()

    def request(name, revision, entries, needs):
        if name == "org/silent":
            silent.wait(20)
        return Result("hub", "ok", name)

    monkeypatch.setattr(hub, "_request", request)
    given = params(one=("audio", "org/silent"), two=("audio", "org/model"), three=("text", "org/silent"))
    start = time.monotonic()
    first, second = hub.hub(given)
    silent.set()
    assert time.monotonic() - start < 10
    assert (first.state, second.state) == ("problem", "ok")
    assert first.message == "embedding.one, embedding.three: the hub gave no answer for org/silent within 0.2 s"


def test_checkpoints_are_asked_for_though_the_corpus_is_not_there_yet(tmp_path, monkeypatch):
    values = read_params(DEFAULT)
    values["corpus"] |= {"root": str(tmp_path / "nowhere"), "name": None, "notice": ""}
    (tmp_path / "params.yaml").write_text(json.dumps(values))
    monkeypatch.chdir(tmp_path)
    given = []
    monkeypatch.setattr(hub, "hub", lambda params: given.append(params) or iter(()))
    assert list(examine._online(None)) == []
    assert given[0].corpus.root == str(tmp_path / "nowhere")
    (tmp_path / "params.yaml").write_text("corpus: 3")
    (finding,) = examine._online(None)
    assert finding.state == "problem" and finding.message.startswith("not queried: ")
