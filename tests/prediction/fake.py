"""A system without models: its posterior is worked out by hand from the recording's loudness."""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from pipeline_lib.audio.decoding import BadAudio, decode
from pipeline_lib.inference.prediction import Failure, Prediction
from pipeline_lib.prediction.run import Chosen

LABELS = ("angry", "calm")


class FakePipeline:
    """``angry`` is the loudest sample's size; reads ahead by one batch, as the real one does.

    Args:
        longest_s: longest audio that is read whole
        digest: of the bundle
        dies_after: recordings after which Ctrl-C comes, None for never
    """

    labels, attribute_names = LABELS, ("arousal",)

    def __init__(self, longest_s: float | None = 3.0, digest: str = "one", dies_after: int | None = None) -> None:
        self.longest_s, self.digest, self.dies_after = longest_s, digest, dies_after
        self.computed: list[tuple[str, float | None, float | None]] = []
        self.priors: list = []

    def predict_many(self, recordings, batch_size, prior) -> Iterator[Prediction | Failure]:
        stream = iter(recordings)
        self.priors.append(prior)
        while batch := list(islice(stream, batch_size)):
            for each in batch:
                if self.dies_after is not None and len(self.computed) >= self.dies_after:
                    raise KeyboardInterrupt
                self.computed.append((str(each.audio), each.start, each.end))
                yield self._of(each)

    def _of(self, each) -> Prediction | Failure:
        start, end = each.start or 0.0, each.end
        try:
            length = None if end is None else end - start
            samples = np.array([0.25]) if each.audio is None else decode(each.audio, start, length)
        except BadAudio as error:
            return Failure(each.id, str(error))
        loud, seconds = float(np.abs(samples).max()), len(samples) / 16_000
        shares = {"angry": loud, "calm": 1 - loud}
        label = max(shares, key=lambda name: shares[name])
        expert = {"audio": {"posterior": shares, "attributes": {}}}
        times = [(start, start + seconds)]
        return Prediction(each.id, shares, label, {"arousal": 4.0}, expert, each.text, times, seconds, ["a note"])


def chosen(system: FakePipeline, monkeypatch, **options) -> Chosen:
    """Return options of a run whose bundle is the system."""
    monkeypatch.setattr("pipeline_lib.inference.pipeline.Pipeline.load", lambda *_, **__: system)
    return Chosen(bundle="bundle", **options)
