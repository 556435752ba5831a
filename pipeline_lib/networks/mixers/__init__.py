"""Mixers: from the frames of several modalities to one vector an utterance, whichever modalities it has.

A mixer is an ``nn.Module`` with ``width``, the width of its vectors, and ``forward(frames) -> (batch, width)``,
where ``frames`` is ``{modality: Frames}``. A modality that an utterance lacks has an all-False mask or is left out of
the dict; its values, NaN and inf included, change no bit of the result. An utterance that lacks all of them is a
ValueError.
"""
