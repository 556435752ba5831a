"""Plan of a recipe at the size of a corpus: hours, memory and disk of each stage that runs a model.

=============== ======================================================================================================
hours           FLOP of ``counting`` at the mean length of a turn (chunks: at their mean) over the device's rate times
                ``utilisation``, which is assumed until a run measures it. Training: all epochs; the development split
                whenever it is measured; at the end every utterance, of a joint expert also from each combination of
                modalities. Early stopping ends it sooner; padding is not counted. Training is in bfloat16 where the
                device has it and all encoders are trained; predictions and embeddings are in the weights' precision
memory          weights, 12 bytes a trained parameter, activations of a batch of the longest turns, or chunks, and 3 GB
                for the driver, fragments and what lives a moment
disk            embeddings: utterances x layers x width x 2 bytes, once in data/, once in the cache; experts: float32 of
                what is trained, while training three times that (weights, two moments) in each of two checkpoints, and
                the best weights, one fold after the other; predictions: 4 bytes a number of an embedding, 8 of a
                posterior, a table each combination
transcription   2 FLOP a parameter and position: encoder frames, decoded tokens. A lower bound: a decoder that writes a
                token at a time waits for memory, not for arithmetic
=============== ======================================================================================================

Rebalancing, fusion and scoring are linear algebra on the CPU, and not planned.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline_lib.doctor.project import FRAMES_A_SECOND, embedding_bytes
from pipeline_lib.errors import InputError
from pipeline_lib.modalities import MODALITIES, parts_of
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.sections import Params
from pipeline_lib.params.training import PhaseSettings
from pipeline_lib.rehearsal import counting, networks, published
from pipeline_lib.rehearsal.corpora import LONGEST_S, Size
from pipeline_lib.rehearsal.devices import Device

SPARE_GB = 3.0
CHECKPOINTS = 2  # that finetuning.checkpoints keeps
CANARY = {"nvidia/canary-1b": (0.6e9, 12.5, 0.4e9)}  # encoder's parameters, frames a second, decoder's parameters


@dataclass(frozen=True)
class Row:
    """One stage of the plan; None where a figure is not known.

    Attributes:
        stage: its name in dvc.yaml
        parameters, trained: of its network
        forward_gflop, training_gflop: an audio second
        audio_hours: that go through the network, in training and in all forward passes
        hours: on the device
        weights_gb, memory_gb, disk_gb: in 10^9 bytes; memory is the weights and what training or a pass adds
        note: what is assumed, or why figures are absent
    """

    stage: str
    parameters: float | None = None
    trained: float | None = None
    forward_gflop: float | None = None
    training_gflop: float | None = None
    audio_hours: tuple[float, float] = (0.0, 0.0)
    hours: float | None = None
    weights_gb: float | None = None
    memory_gb: float | None = None
    disk_gb: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """A recipe's plan.

    Attributes:
        params: all sections
        size: of the corpus
        device: that computes
        utilisation: share of the device's rate that is assumed to be reached
    """

    params: Params
    size: Size
    device: Device
    utilisation: float

    def rows(self) -> Iterator[Row]:
        """Yield the stages in their order; one whose checkpoint is unknown has a note in place of figures."""
        yield self._transcription()
        for name, entry in self.params.embedding.items():
            yield self._guarded(f"embedding.{name}", self._embedding, entry)
        for name, expert in self.params.finetuning.items():
            yield self._guarded(f"finetuning.{name}", self._expert, expert)

    def _guarded(self, stage: str, row: Any, entry: Any) -> Row:
        try:
            return row(stage, entry)
        except InputError as error:
            return Row(stage, note=f"not planned: {error}")

    def _hours(self, flop: float, *, half: bool) -> float:
        return flop / (self.device.rate(half=half) * self.utilisation) / 3600

    def _transcription(self) -> Row:
        settings = self.params.transcription
        if settings.engine == "reference":
            return Row("transcription", hours=0.0, note="reads the corpus's own texts")
        chosen: Any = getattr(settings, settings.engine)
        if settings.engine == "canary":
            if chosen.checkpoint not in CANARY:
                return Row("transcription", note=f"not planned: the size of {chosen.checkpoint!r} is not known here")
            encoder, rate, decoder = CANARY[chosen.checkpoint]
            frames = rate
        else:
            config = published.configuration(chosen.checkpoint)
            encoder = 12 * config.d_model**2 * config.encoder_layers
            decoder = 16 * config.d_model**2 * config.decoder_layers
            frames = config.max_source_positions / self.size.mean_s  # each turn is a window of 30 s
        flop = 2 * (encoder * frames + decoder * counting.TOKENS_PER_S)
        return Row(
            "transcription",
            parameters=encoder + decoder,
            forward_gflop=flop / 1e9,
            audio_hours=(0.0, self.size.hours),
            hours=self._hours(flop * self.size.hours * 3600, half=chosen.half_precision),
            note="2 FLOP a parameter and position; a lower bound",
        )

    def _embedding(self, stage: str, entry: EmbeddingSettings) -> Row:
        if entry.encoder is None:
            return Row(stage, note="not planned: it reads a trained expert, whose row has its encoder")
        if entry.encoder.is_functionals:
            return Row(stage, note="not planned: hand-made features, on the CPU")
        architecture = networks.Architecture.of(entry.encoder)
        counted = counting.count_encoder(architecture, entry.modality, self.size.mean_s)
        timed = MODALITIES[entry.modality].unit == "seconds"
        seconds = self.size.hours * 3600
        layers = architecture.blocks + 1 if entry.layers == "all" else len(entry.layers)
        width: int = architecture.config.hidden_size  # type: ignore[attr-defined]
        rate = FRAMES_A_SECOND if timed else counting.TOKENS_PER_S
        stored = embedding_bytes(entry, self.size.turns, seconds * rate if entry.frames else 0.0, layers, width)
        flop = counted.forward_flop / self.size.mean_s
        return Row(
            stage,
            parameters=counted.parameters,
            forward_gflop=flop / 1e9,
            audio_hours=(0.0, self.size.hours),
            hours=self._hours(flop * seconds, half=entry.encoder.weights != "float32"),
            weights_gb=counted.weights / 1e9,
            memory_gb=counted.weights / 1e9 + SPARE_GB,
            disk_gb=2 * stored / 1e9,
            note="disk: half of it is the cache",
        )

    def _expert(self, stage: str, expert: FinetuningSettings) -> Row:
        phase = next(iter(expert.phases.values()))
        batch = phase.batch_size
        typical = self._chunk(phase, self.size.mean_s)
        longest = max(self._chunk(part, LONGEST_S, longest=True) for part in expert.phases.values())
        counted = counting.count(expert, self.params, typical, batch)
        largest = counted if longest == typical else counting.count(expert, self.params, longest, batch)
        training, forward = (flop / (batch * typical) for flop in (counted.training_flop, counted.forward_flop))
        trained_hours, predicted_hours = self._audio_hours(expert)
        encoders = [branch.encoder for branch in expert.branches.values() if branch.encoder is not None]
        half = expert.precision != "float32" and all(b.adaptation.method != "frozen" for b in expert.branches.values())
        narrow = bool(encoders) and all(encoder.weights != "float32" for encoder in encoders)
        hours = self._hours(training * trained_hours * 3600, half=half or narrow)
        hours += self._hours(forward * predicted_hours * 3600, half=narrow)
        return Row(
            stage,
            parameters=counted.parameters,
            trained=counted.trained,
            forward_gflop=forward / 1e9,
            training_gflop=training / 1e9,
            audio_hours=(trained_hours, predicted_hours),
            hours=hours * self._folds(expert),
            weights_gb=largest.weights / 1e9,
            memory_gb=(largest.weights + largest.training + largest.activations) / 1e9 + SPARE_GB,
            disk_gb=self._disk(expert, counted) / 1e9,
            note=f"batch of {batch}, up to {longest:g} s" + (f"; {self._folds(expert)} folds" if expert.folds else ""),
        )

    def _chunk(self, phase: PhaseSettings, whole_s: float, *, longest: bool = False) -> float:
        """Return the seconds of an utterance in training: of a chunk, or of the whole."""
        if phase.chunk_s is None:
            return whole_s
        return phase.chunk_s[1] if longest else sum(phase.chunk_s) / 2

    def _audio_hours(self, expert: FinetuningSettings) -> tuple[float, float]:
        """Return the hours of audio that are trained on, and that are predicted."""
        train, dev = self.size.turns_of("train"), self.size.turns_of("dev")
        trained, measured = 0.0, 0
        for phase in expert.phases.values():
            turns = phase.epochs * train
            if expert.max_steps is not None:
                turns = min(turns, expert.max_steps * phase.batch_size * phase.gradient_accumulation_steps)
            trained += turns * self._chunk(phase, self.size.mean_s)
            measured += -(-phase.epochs // expert.early_stopping.every) * dev
        passes = 1 + len(list(parts_of(tuple(expert.branches)))) if len(expert.branches) > 1 else 1
        predicted = (measured + passes * self.size.turns) * self.size.mean_s
        return trained / 3600, predicted / 3600

    def _folds(self, expert: FinetuningSettings) -> int:
        k = self.params.corpus.split.folds.k
        return (k if isinstance(k, int) else 1) if expert.folds else 1

    def _disk(self, expert: FinetuningSettings, counted: counting.Count) -> float:
        """Return bytes: the expert, its checkpoints while it is trained, its predictions."""
        width = expert.head.width if expert.head.kind != "sequence_classification" else 0
        tables = 1 + len(list(parts_of(tuple(expert.branches)))) if len(expert.branches) > 1 else 1
        outputs = len(networks.labels_of(expert, self.params)) + len(expert.targets.attributes)
        table = self.size.turns * (4 * width + 8 * outputs)
        trained = 4 * counted.trained
        saved = 2 * self._folds(expert) if expert.folds else 1  # of a fold in models/, until the last one in work/ too
        return trained * (saved + 3 * CHECKPOINTS + 1) + tables * table
