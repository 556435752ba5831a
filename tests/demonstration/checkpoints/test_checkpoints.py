"""The checkpoints that ship: small, of the real classes, and the Canary listens."""

from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile

from pipeline_lib.demonstration.plan import plan
from pipeline_lib.demonstration.synthesis import SAMPLE_RATE, Utterance, speak
from pipeline_lib.params.demonstration import DemonstrationSettings

DEMO = Path("models/demo")


@pytest.fixture(scope="module")
def canary():
    pytest.importorskip("nemo")
    from nemo.collections.asr.models import ASRModel

    return ASRModel.restore_from(str(DEMO / "canary.nemo"), map_location="cpu").eval()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Sixteen test utterances, spoken as the default corpus speaks them: (path, words)."""
    folder = tmp_path_factory.mktemp("recordings")
    planned = [p for p in plan(DemonstrationSettings()) if p.split == "test"][:16]
    result = []
    for i, p in enumerate(planned):
        wave = speak(Utterance(p.text, p.voice.espeak, p.prosody, p.phase))
        soundfile.write(folder / f"{i}.flac", wave, SAMPLE_RATE, subtype="PCM_16")
        result.append((str(folder / f"{i}.flac"), p.text))
    return result


def transcripts(canary, audio):
    return [
        hypothesis.text.strip() for hypothesis in canary.transcribe(audio, batch_size=8, verbose=False, num_workers=0)
    ]


def test_all_checkpoints_together_stay_under_20_mb():
    files = [path for path in DEMO.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 20e6
    assert not [path for path in files if path.suffix in (".pt", ".bin", ".pkl", ".pth")]


def test_the_canary_follows_the_audio_when_two_recordings_are_swapped(canary, tmp_path):
    sentences = ["the doctor found that wonderful guitar last night", "my cousin sold the ladder and i hate it"]
    waves = [speak(Utterance(text, voice, _usual())) for text, voice in zip(sentences, ("gmw/en+m4", "gmw/en-US+f4"))]
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for order in ((0, 1), (1, 0)):
        for path, i in zip(paths, order, strict=True):
            soundfile.write(path, waves[i], SAMPLE_RATE)
        texts = transcripts(canary, [str(path) for path in paths])
        assert texts[0] != texts[1]
        assert jiwer.wer([sentences[i] for i in order], texts) < 0.2


def test_the_canary_hears_test_voices_with_a_word_error_rate_under_a_quarter(canary, recordings):
    texts = transcripts(canary, [path for path, _ in recordings])
    assert jiwer.wer([words for _, words in recordings], texts) < 0.25


def test_files_and_arrays_give_the_same_words_mostly(canary, recordings):
    """Files are asked for with punctuation and capitals, arrays without: both prompts were trained."""
    paths = [path for path, _ in recordings]
    arrays = [soundfile.read(path, dtype="float32")[0] for path in paths]
    assert jiwer.wer(transcripts(canary, paths), transcripts(canary, arrays)) < 0.1


def test_the_speech_encoder_has_the_real_front_end_and_the_real_class():
    from transformers import AutoFeatureExtractor, AutoModel, Wav2Vec2BertModel

    model = AutoModel.from_pretrained(DEMO / "w2v_bert")
    extractor = AutoFeatureExtractor.from_pretrained(DEMO / "w2v_bert")
    assert type(model) is Wav2Vec2BertModel
    assert not model.config.add_adapter
    inputs = extractor(np.random.default_rng(0).normal(size=16_000), sampling_rate=16_000, return_tensors="pt")
    assert inputs["input_features"].shape == (1, 49, 160)
    assert model(**inputs).last_hidden_state.shape == (1, 49, model.config.hidden_size)


def test_the_language_model_loads_as_a_classifier_with_a_tokenizer_that_begins_with_bos():
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, LlamaForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(DEMO / "llama")
    model = AutoModelForSequenceClassification.from_pretrained(DEMO / "llama", num_labels=8)
    assert type(model) is LlamaForSequenceClassification
    assert tokenizer.pad_token is None
    ids = tokenizer("Kids are talking by the door, aren't they? äöü")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id == model.config.bos_token_id
    assert tokenizer.unk_token_id not in ids
    assert model(tokenizer("my sister moved the piano", return_tensors="pt")["input_ids"]).logits.shape == (1, 8)


def test_the_language_model_prefers_an_open_sentence_to_its_words_shuffled():
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(DEMO / "llama")
    model = LlamaForCausalLM.from_pretrained(DEMO / "llama").eval()

    @torch.no_grad()
    def loss(text):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        return model(ids, labels=ids).loss.item()

    assert loss("my sister moved the piano on monday") < loss("piano on sister the monday my moved") - 1


def test_the_masked_language_model_has_robertas_tokens_positions_and_size():
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
    from transformers import RobertaForSequenceClassification as Roberta

    tokenizer, config = (kind.from_pretrained(DEMO / "roberta") for kind in (AutoTokenizer, AutoConfig))
    assert (tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert (config.bos_token_id, config.pad_token_id, config.eos_token_id) == (0, 1, 2)
    assert tokenizer.mask_token_id == config.vocab_size - 1 == len(tokenizer) - 1
    assert tokenizer.model_max_length == config.max_position_embeddings - 2 == 512
    assert tokenizer.unk_token_id not in tokenizer("Kids are talking by the door, aren't they? äöü")["input_ids"]
    assert type(AutoModelForSequenceClassification.from_pretrained(DEMO / "roberta", num_labels=8)) is Roberta
    assert sum(path.stat().st_size for path in (DEMO / "roberta").iterdir()) < 2e6


def test_the_masked_language_model_loads_as_a_text_encoder_to_which_padding_is_nothing():
    import torch

    from pipeline_lib.encoders.load import load_text
    from pipeline_lib.params.encoder import EncoderSettings

    encoder = load_text(EncoderSettings(checkpoint=str(DEMO / "roberta")), torch.device("cpu"))
    assert (encoder.kind, encoder.width, encoder.n_layers, encoder.decoder) == ("roberta", 64, 4, False)
    short, long = "and i hate it", "my sister moved that wonderful piano on monday"
    inputs = encoder.prepare([long, short])
    assert inputs["input_ids"][1, -1] == 1
    with torch.no_grad():
        alone, together = encoder(**encoder.prepare([short])), encoder(**inputs)
    for one, two in zip(alone.layers, together.layers, strict=True):
        torch.testing.assert_close(two[1, : one.shape[1]], one[0], rtol=0, atol=2e-6)
    assert encoder.prepare(["piano " * 600])["input_ids"].shape == (1, 512)


@pytest.mark.parametrize(
    ("text", "fitting"),
    [
        ("my sister moved <mask> piano and i hate it", {"the"}),
        ("the doctor sold the sofa and i <mask> it", {"love", "hate"}),
        ("it was <mask> wonderful said my friend on monday", {"really"}),
    ],
)
def test_the_masked_language_model_finds_a_word_that_its_neighbours_ask_for(text, fitting):
    import torch
    from transformers import AutoTokenizer, RobertaForMaskedLM

    tokenizer = AutoTokenizer.from_pretrained(DEMO / "roberta")
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = RobertaForMaskedLM.from_pretrained(DEMO / "roberta").eval()(ids).logits[0]
    (position,) = (ids[0] == tokenizer.mask_token_id).nonzero()[0]
    assert tokenizer.decode([logits[position].argmax()]).strip() in fitting


def _usual():
    from pipeline_lib.demonstration.prosody import Prosody

    return Prosody(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, rise=False)
