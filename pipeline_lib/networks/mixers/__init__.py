"""Mixers: from the frames of several modalities to one vector an utterance, whatever of them the utterance has.

A mixer is an ``nn.Module`` with ``width``, the width of what comes out, and ``forward(frames) -> (batch, width)``,
where ``frames`` is ``{modality: Frames}``. A modality that an utterance lacks has an all-False mask or is left out of
the dict; what its values hold, NaN and inf too, changes no bit of the outcome. An utterance that lacks all of them is
a ValueError.
"""
