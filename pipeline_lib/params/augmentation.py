"""The part ``augmentation`` of an entry of ``finetuning``: what training audio goes through; all is off by default."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from pipeline_lib.params.base import Settings
from pipeline_lib.params.network import Count

Probability = Annotated[float, Field(ge=0, le=1)]
Decibels = Annotated[float, Field(ge=-50, le=100)]
Seconds = Annotated[float, Field(ge=0.1, le=3.0)]
Factor = Annotated[float, Field(ge=0.5, le=2.0)]
Folder = Annotated[str, Field(min_length=1)]


class NoiseSettings(Settings):
    """One recording of noise, music or speech below the speech."""

    probability: Probability = Field(0.0, description="that a chunk gets noise")
    root: Folder | None = Field(None, description="folder of recordings, MUSAN's for example")
    table: Folder | None = Field(
        None, description="CSV or Parquet below root with their files and categories; null: sub-folders are categories"
    )
    snr_db: dict[str, Annotated[list[Decibels], Field(min_length=2, max_length=2)]] = Field(
        {"noise": [0.0, 15.0], "music": [5.0, 15.0], "speech": [13.0, 20.0]},
        description="the categories that are used, with the lowest and highest speech-to-noise ratio of each",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.probability and self.root is None:
            raise ValueError(f"probability is {self.probability:g} and root null; expected a folder of recordings")
        if not self.snr_db:
            raise ValueError("snr_db names no category, expected one with its [lowest, highest] ratio")
        for category, bounds in self.snr_db.items():
            if bounds[0] > bounds[1]:
                raise ValueError(f"snr_db.{category} is {bounds}, expected [lowest, highest]")
        return self


class ReverberationSettings(Settings):
    """The speech as in a room."""

    probability: Probability = Field(0.0, description="that a chunk is convolved with a room's impulse response")
    root: Folder | None = Field(None, description="folder of impulse responses; null simulates rooms")
    table: Folder | None = Field(
        None, description="CSV or Parquet below root with their files; null takes every recording not named noise"
    )
    rooms: Count = Field(200, description="how many are simulated")
    rt60_s: Annotated[list[Seconds], Field(min_length=2, max_length=2)] = Field(
        [0.2, 0.8], description="shortest and longest reverberation time of simulated rooms"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.rt60_s[0] > self.rt60_s[1]:
            raise ValueError(f"rt60_s is {self.rt60_s}, expected [shortest, longest]")
        if self.table is not None and self.root is None:
            raise ValueError(f"table is {self.table!r} and root null; expected the folder that holds it")
        return self


class SpeedSettings(Settings):
    """Whole batches played faster or slower, tempo and pitch together."""

    share: Probability = Field(0.0, description="of an epoch's batches")
    factors: Annotated[list[Factor], Field(min_length=1)] = Field([0.9, 1.1], description="one is drawn a batch")


class MixingSettings(Settings):
    """A chunk mixed with one of another training utterance, and its targets with those of the other."""

    probability: Probability = Field(0.0, description="that a chunk is mixed with another utterance's")
    alpha: Annotated[float, Field(gt=0)] = Field(
        1.0, description="the chunk's own share is drawn from Beta(alpha, alpha); large keeps it near a half"
    )


class AugmentationSettings(Settings):
    """Each by itself; development and prediction never have any."""

    noise: NoiseSettings = NoiseSettings()
    reverberation: ReverberationSettings = ReverberationSettings()
    speed: SpeedSettings = SpeedSettings()
    mixing: MixingSettings = MixingSettings()

    @property
    def is_on(self) -> bool:
        """Whether anything is done to any chunk."""
        probabilities = (self.noise.probability, self.reverberation.probability, self.mixing.probability)
        return any(probabilities) or self.speed.share > 0
