"""The Canary engine on small NeMo checkpoints with random weights, made here, offline."""

import io
import shutil
import tarfile

import numpy as np
import pytest
import torch
import yaml

from pipeline_lib.audio.decoding import SAMPLE_RATE
from pipeline_lib.demonstration.checkpoints.canary_config import model_config
from pipeline_lib.errors import InputError
from pipeline_lib.params.transcription import CanarySettings
from tests.transcription.archives import SECTIONS_OF_TRAINING, repacked

WORDS = ["the", "red", "tree", "river", "you", "they", "walk", "sing", "never", "always", "today", "because", "people"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Save a Canary whose decoder's weights are large enough that its text follows its input."""
    from nemo.collections.asr.models import EncDecMultiTaskModel
    from nemo.collections.common.tokenizers.canary_tokenizer import CanaryTokenizer
    from nemo.collections.common.tokenizers.sentencepiece_tokenizer import create_spt_model
    from omegaconf import OmegaConf

    folder = tmp_path_factory.mktemp("canary")
    random = np.random.default_rng(0)
    (folder / "text.txt").write_text("\n".join(" ".join(random.choice(WORDS, 6)) for _ in range(300)))
    create_spt_model(str(folder / "text.txt"), 52, -1, True, tokenizer_type="bpe", output_dir=str(folder / "en"))
    CanaryTokenizer.build_special_tokenizer(["translate", "transcribe", "en", "de"], str(folder / "special"))
    torch.manual_seed(1)
    config = model_config(str(folder / "special"), str(folder / "en")) | {"restore_timestamps_model": False}
    model = EncDecMultiTaskModel(cfg=OmegaConf.create(config))
    with torch.no_grad():
        for weight in model.transf_decoder.parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.6)
    model.save_to(str(folder / "tiny.nemo"))
    return folder / "tiny.nemo"


@pytest.fixture(scope="module")
def engine(checkpoint):
    from pipeline_lib.transcription.canary import Canary

    return Canary(CanarySettings(checkpoint=str(checkpoint)), "cpu")


@pytest.fixture(scope="module")
def waveforms():
    random = np.random.default_rng(0)
    tones = [(1.5, 200), (2.5, 900), (0.4, 3000), (0.9, 400), (4.0, 60)]
    return [
        (
            0.3 * np.sin(2 * np.pi * hz * np.arange(int(s * SAMPLE_RATE)) / SAMPLE_RATE)
            + random.normal(0, 0.01, int(s * SAMPLE_RATE))
        ).astype("f4")
        for s, hz in tones
    ]


def refused(**settings):
    from pipeline_lib.transcription.canary import Canary

    with pytest.raises(InputError) as error:
        Canary(CanarySettings(**settings), "cpu")
    return str(error.value)


def test_texts_follow_the_audio_and_its_order(engine, waveforms):
    texts = engine.transcribe(waveforms)
    assert len(set(texts)) == len(waveforms) and all(texts)
    assert engine.transcribe(waveforms[::-1]) == texts[::-1]


def test_a_text_does_not_depend_on_its_neighbours(engine, waveforms):
    assert engine.transcribe(waveforms) == [engine.transcribe([waveform])[0] for waveform in waveforms]


def test_texts_are_those_of_nemos_own_transcribe(engine, waveforms):
    from pipeline_lib.transcription.canary import SPECIAL

    for waveform, text in zip(waveforms, engine.transcribe(waveforms), strict=True):
        (theirs,) = engine.model.transcribe([waveform], batch_size=1, verbose=False, pnc="no")
        theirs = " ".join(SPECIAL.sub(" ", theirs.text).split())
        assert theirs.startswith(text)
        assert len(theirs) - len(text) <= len(" because")  # NeMo lets a text that does not end run a token longer
    engine.model.eval()


def test_decoding_is_the_likeliest_token_after_the_likeliest_token(engine, waveforms):
    lengths = torch.tensor([len(waveforms[0])])
    with torch.inference_mode():
        _, frames, states, mask = engine.model.forward(
            input_signal=torch.from_numpy(waveforms[0])[None], input_signal_length=lengths
        )
        engine.model.transf_decoder.eval()
        tokens = engine.prompt
        while tokens.shape[1] < int(frames) + 10 and tokens[0, -1] != engine.model.tokenizer.eos_id:
            result = engine.model.transf_decoder(
                input_ids=tokens, decoder_mask=torch.ones_like(tokens), encoder_embeddings=states, encoder_mask=mask
            )
            best = engine.model.log_softmax(hidden_states=result)[:, -1].argmax(dim=-1)
            tokens = torch.cat([tokens, best[None]], dim=1)
    from pipeline_lib.transcription.canary import SPECIAL

    text = engine.model.tokenizer.ids_to_text(tokens[0, engine.prompt.shape[1] :].tolist())
    assert engine.transcribe(waveforms[:1]) == [" ".join(SPECIAL.sub(" ", text).split())]


def test_the_prompt_requests_a_transcript_in_the_source_language(checkpoint, engine):
    from pipeline_lib.transcription.canary import Canary

    token = {i: name for name, i in engine.model.tokenizer.special_tokens.items()}
    prompt = [token[i] for i in engine.prompt[0].tolist()]
    assert prompt == ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|en|>", "<|nopnc|>"]
    german = Canary(CanarySettings(checkpoint=str(checkpoint), source_language="de", pnc=True), "cpu")
    prompt = [token[i] for i in german.prompt[0].tolist()]
    assert prompt == ["<|startoftranscript|>", "<|de|>", "<|transcribe|>", "<|de|>", "<|pnc|>"]


def test_a_language_that_the_checkpoint_lacks_is_refused(checkpoint):
    message = refused(checkpoint=str(checkpoint), source_language="et")
    assert "transcription.canary.source_language is 'et'" in message and "expected one of ['de', 'en']" in message


def test_a_beam_search_of_the_checkpoint_becomes_greedy(checkpoint):
    from nemo.collections.asr.models import ASRModel
    from omegaconf import OmegaConf

    from pipeline_lib.transcription.canary import Canary

    model = ASRModel.restore_from(str(checkpoint), map_location="cpu")
    model.change_decoding_strategy(
        OmegaConf.create({"strategy": "beam", "beam": {"beam_size": 1, "max_generation_delta": 7}})
    )
    model.save_to(str(checkpoint.with_name("beam.nemo")))
    engine = Canary(CanarySettings(checkpoint=str(checkpoint.with_name("beam.nemo"))), "cpu")
    assert type(engine.model.decoding.decoding).__name__ == "TransformerAEDGreedyInfer"
    assert engine.model.cfg.decoding.greedy.max_generation_delta == 7


def test_a_full_gpu_is_distinguished_from_a_fault(engine, waveforms, monkeypatch):
    def full(**_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine.model, "forward", full)
    with pytest.raises(MemoryError):
        engine.transcribe(waveforms)


def test_nemo_prints_nothing_while_it_transcribes(engine, waveforms, capfd):
    engine.transcribe(waveforms)
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_is_refused():
    assert refused(checkpoint="models/none.nemo").startswith("models/none.nemo does not exist, expected a .nemo file")


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "pointer.nemo").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "pointer.nemo is not a .nemo archive (cut short, or a Git LFS pointer" in refused(
        checkpoint=str(tmp_path / "pointer.nemo")
    )


def test_an_archive_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no model")
    with tarfile.open(tmp_path / "other.nemo", "w") as archive:
        archive.add(tmp_path / "notes.txt", "notes.txt")
    message = refused(checkpoint=str(tmp_path / "other.nemo"))
    assert "other.nemo holds ['notes.txt'], expected model_config.yaml and model_weights.ckpt" in message


def test_an_unknown_name_on_the_hub_is_refused_with_the_remedy():
    message = refused(checkpoint="nobody/canary-0b")
    assert message.startswith("checkpoint nobody/canary-0b is not in the local cache and HF_HUB_OFFLINE is set")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, "neither a folder here nor"),
        (403, "is gated: ask for access"),
        (404, "has no file canary-1b.nemo on the hub (is it a NeMo checkpoint?)"),
        (503, "(status 503)"),
    ],
)
def test_what_the_hub_answers_becomes_one_sentence(monkeypatch, status, expected):
    from httpx2 import Request, Response
    from huggingface_hub import errors

    from pipeline_lib.transcription import canary

    kind = {
        401: errors.RepositoryNotFoundError,
        403: errors.GatedRepoError,
        404: errors.RemoteEntryNotFoundError,
        503: errors.HfHubHTTPError,
    }[status]

    def answer(*_, **__):
        raise kind("no", response=Response(status, request=Request("GET", "https://huggingface.co/nvidia/canary-1b")))

    monkeypatch.setattr(canary, "hf_hub_download", answer)
    message = refused(checkpoint="nvidia/canary-1b")
    assert message.startswith("checkpoint nvidia/canary-1b ") and expected in message and "\n" not in message


def test_a_folder_with_one_archive_stands_for_it(checkpoint, engine, waveforms, tmp_path):
    from pipeline_lib.transcription.canary import Canary

    assert "is a folder with 0 .nemo files" in refused(checkpoint=str(tmp_path))
    shutil.copy(checkpoint, tmp_path / "a.nemo")
    (tmp_path / "README.md").write_text("notes")
    assert Canary(CanarySettings(checkpoint=str(tmp_path)), "cpu").transcribe(waveforms) == engine.transcribe(waveforms)
    shutil.copy(checkpoint, tmp_path / "b.nemo")
    assert "is a folder with 2 .nemo files ['a.nemo', 'b.nemo'], expected one" in refused(checkpoint=str(tmp_path))


def test_weights_that_hold_nan_are_refused(checkpoint, tmp_path):
    def with_nan(data: bytes) -> bytes:
        state = torch.load(io.BytesIO(data), weights_only=True)
        state["encoder.pre_encode.out.weight"][0, 0] = torch.nan
        out = io.BytesIO()
        torch.save(state, out)
        return out.getvalue()

    path = repacked(checkpoint, tmp_path / "nan.nemo", {"model_weights.ckpt": with_nan})
    assert "encoder.pre_encode.out.weight holds NaN or infinity" in refused(checkpoint=str(path))


def test_a_fine_tuned_canary_with_adapters_and_sections_of_its_training_restores(checkpoint, engine, waveforms):
    from nemo.collections.asr.models import EncDecMultiTaskModel
    from nemo.collections.common.parts.adapter_modules import LinearAdapterConfig

    from pipeline_lib.transcription.canary import Canary

    model = EncDecMultiTaskModel.restore_from(str(checkpoint), map_location="cpu").eval()
    model.replace_adapter_compatible_modules()
    model.add_adapter("encoder:mine", LinearAdapterConfig(in_features=model.cfg.encoder.d_model, dim=8))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "adapter" in name:
                weight.normal_(std=0.5)
    path = checkpoint.with_name("tuned.nemo")
    model.save_to(str(path))

    def with_training(text: bytes) -> bytes:
        config = {key: value for key, value in yaml.safe_load(text).items() if key != "optim"}
        return yaml.safe_dump(config).encode() + SECTIONS_OF_TRAINING.encode()

    repacked(path, path.with_name("trained.nemo"), {"model_config.yaml": with_training})
    tuned = Canary(CanarySettings(checkpoint=str(path.with_name("trained.nemo"))), "cpu")
    expected, state = model.state_dict(), tuned.model.state_dict()
    assert expected.keys() == state.keys() and all(torch.equal(expected[name], state[name]) for name in state)
    features, length = tuned.model.preprocessor(
        input_signal=torch.from_numpy(waveforms[0])[None], length=torch.tensor([len(waveforms[0])])
    )
    with torch.inference_mode():
        ours, theirs, without = (
            model_.encoder(audio_signal=features, length=length)[0] for model_ in (tuned.model, model, engine.model)
        )
    assert torch.equal(ours, theirs) and not torch.allclose(ours, without, atol=0.1)
    assert len(tuned.transcribe(waveforms[:2])) == 2


def test_nemo_restores_what_was_checked_whatever_takes_the_archives_place(checkpoint, monkeypatch, tmp_path):
    from omegaconf import OmegaConf
    from omegaconf.basecontainer import BaseContainer

    from pipeline_lib.transcription import canary

    path = tmp_path / "a.nemo"
    shutil.copy(checkpoint, path)
    restore, resolvers = canary.EncDecMultiTaskModel.restore_from, dict(BaseContainer._resolvers)
    assert OmegaConf.has_resolver("oc.env")
    seen = []

    def replaced(*arguments, **options):
        path.write_bytes(b"something else")
        seen.append(dict(BaseContainer._resolvers))
        return restore(*arguments, **options)

    monkeypatch.setattr(canary.EncDecMultiTaskModel, "restore_from", replaced)
    canary.Canary(CanarySettings(checkpoint=str(path)), "cpu")
    assert seen == [{}] and BaseContainer._resolvers == resolvers
