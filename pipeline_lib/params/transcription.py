"""The section ``transcription`` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline_lib.params.base import FILLER, Revision, Settings, Slot, moved


class CanarySettings(Settings):
    """NVIDIA Canary through NeMo, greedy."""

    checkpoint: Annotated[str, Field(min_length=1, description="name on the hub, a .nemo file, or its folder")] = (
        "nvidia/canary-1b"
    )
    revision: Revision = None
    source_language: Annotated[
        str, Field(min_length=2, description="what is spoken, and written: en, de, es, fr ...")
    ] = "en"
    pnc: Annotated[bool, Field(description="ask for punctuation and capitals")] = False
    batch_size: Annotated[int, Field(ge=1, description="recordings at once on a GPU; 1 on a CPU")] = 16
    max_chunk_s: Annotated[float, Field(ge=2.0, le=60.0, description="longer audio is cut at quiet points")] = 40.0
    half_precision: Annotated[bool, Field(description="bfloat16 where the hardware computes in it")] = False


class WhisperSettings(Settings):
    """Whisper through transformers, greedy, without timestamps."""

    checkpoint: Annotated[str, Field(min_length=1, description="name on the hub, or a folder; safetensors only")] = (
        "openai/whisper-large-v3"
    )
    revision: Revision = None
    language: Annotated[
        str | None, Field(min_length=2, description="what is spoken; null detects it in each chunk")
    ] = "en"
    batch_size: Annotated[int, Field(ge=1, description="recordings at once on a GPU; 1 on a CPU")] = 16
    max_chunk_s: Annotated[float, Field(ge=2.0, le=30.0, description="Whisper hears 30 s; longer audio is cut")] = 30.0
    half_precision: Annotated[bool, Field(description="bfloat16 where the hardware computes in it")] = False

    def unsupported(self, known: list[str]) -> str:
        """Return the message about a language that is not among those that the checkpoint knows."""
        return (
            f"transcription.whisper.language is {self.language!r}, which {self.checkpoint} does not transcribe;"
            f" expected one of {known}"
        )


class ReferenceSettings(Settings):
    """The corpus's human text in place of a machine's."""

    missing: Annotated[Literal["refuse", "empty"], Field(description="an utterance without a human text")] = "refuse"


class TranscriptionReads(Settings):
    """What the stage reads beside the manifest, by role; ``data/manifest.parquet`` where there is nothing."""

    checkpoint: Annotated[Slot, Field(description="the engine's checkpoint, where it is a file or folder")] = FILLER


class TranscriptionSettings(Settings):
    """Each engine keeps its own options; ``engine`` chooses."""

    old_keys = {
        "after": "is now reads, with one slot a role: apply the recipe again",
        "device": moved("transcription.device"),
        "executor": moved("transcription.executor"),
    }

    engine: Annotated[Literal["canary", "whisper", "reference"], Field(description="who transcribes")]
    reads: TranscriptionReads = TranscriptionReads()
    shard_size: Annotated[int, Field(ge=1, description="utterances a shard: what an interruption costs at most")] = 256
    without_audio: Annotated[
        Literal["reference", "empty"],
        Field(description="the text of an utterance without audio: the human one where there is one, or ''"),
    ] = "reference"
    silence_dbfs: Annotated[
        float,
        Field(
            ge=-120.0, le=0.0, description="audio whose loudest 25 ms stay below it (RMS re full scale) has the text ''"
        ),
    ] = -60.0
    canary: CanarySettings = CanarySettings()
    whisper: WhisperSettings = WhisperSettings()
    reference: ReferenceSettings = ReferenceSettings()
