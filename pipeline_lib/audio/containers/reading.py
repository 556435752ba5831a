"""A recording opened and read in blocks, every block and, where it is read whole, the whole of it tested."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np

from pipeline_lib.audio.containers.channels import DECIDED_S, Energies, Mixing
from pipeline_lib.audio.containers.cursor import Cursor
from pipeline_lib.audio.containers.decoder import Decoder, decoder, message
from pipeline_lib.audio.containers.layout import Layout
from pipeline_lib.audio.containers.md5 import Md5
from pipeline_lib.audio.containers.span import Defect, Sound
from pipeline_lib.errors import InputError

LIMIT = 8.0  # float recordings overshoot 1 a little and are clipped; beyond 8 they are not on audio's scale
FULL_SCALE = 32_767 / 32_768  # what 16 bit reach
LONGEST_S = 4 * 3600.0  # in one piece: a day of 16 kHz fills 5 GB
RATES = (1_000, 768_000)  # Hz
MOST_CHANNELS = 64
_BLOCK = 1 << 18  # samples read at once: many channels are mixed before they fill the memory
_UNKNOWN = 1 << 60  # libsndfile's frame count for streams that do not say
_UNSUPPORTED = (4, 64)  # libsndfile's errors: an encoding that it does not decode, a form that it does not know
_ENTERED = {f"PCM_{kind}" for kind in ("S8", "U8", "16", "24", "32")} | {"FLOAT", "DOUBLE", "ULAW", "ALAW"}  # exactly;
# libsndfile's seeks in MP3 and Vorbis land elsewhere, in Opus they give other samples
_MOST_DECISIONS = 4_096  # files whose mixing is remembered
_LOCK = Lock()


class BadAudio(InputError):
    """A recording that cannot be used.

    Args:
        reason: one of the short words of ``pipeline_lib.audio.decoding``
        message: one sentence that names the file
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


class Reading:
    """An open recording.

    Args:
        path: the recording
        layout: its container, inspected
        identity: device, inode, time of change and size of the file
        longest_s: duration that is decoded at most, seconds, whatever the file declares or leaves out

    Attributes:
        rate: Hz
        channels: number of channels
        n_frames: samples of each channel; None where the file does not declare them
        read: frames that were counted
        clipped: samples of them at full scale, of every channel
        cursor: number and decoder of the stretch that was read last, where it cannot be entered in the middle
        decisions: how the channels of files become one, by ``identity``
    """

    decisions: dict[tuple[int, int, int, int], Mixing] = {}

    def __init__(self, path: Path, layout: Layout, identity: tuple[int, int, int, int], longest_s: float) -> None:
        self.path, self.layout, self.identity, self.longest_s = path, layout, identity, longest_s
        self.read, self.clipped = 0, 0
        self.rate = self.channels = 0
        self.cursor: tuple[int, Cursor] | None = None
        self._first: Decoder | None = None
        self.lengths = [self._length(index, sound) for index, sound in enumerate(layout.sounds)]
        known = [length for length in self.lengths if length is not None]
        self.n_frames = sum(known) if len(known) == len(self.lengths) else None
        if self.n_frames == 0:
            raise BadAudio("empty", f"{path} has a header and no samples (an interrupted recording?)")
        if not RATES[0] <= self.rate <= RATES[1] or self.channels > MOST_CHANNELS:
            text = f"{self.rate} Hz and {self.channels} channels, expected {RATES[0]} to {RATES[1]} Hz"
            raise BadAudio("implausible", f"{path} declares {text} and at most {MOST_CHANNELS} (a damaged header?)")

    def again(self, path: Path, longest_s: float) -> None:
        """Begin anew with a reading that stayed open.

        Args:
            path: the recording, perhaps under another name
            longest_s: duration that is decoded at most, seconds
        """
        self.path, self.longest_s, self.read, self.clipped = path, longest_s, 0, 0

    def whole(self) -> tuple[np.ndarray, Mixing]:
        """Return the whole recording as one channel, shape ``(n_frames,)``, and its mixing; verify every byte."""
        first = Mixing() if self.layout.centre is None else Mixing("centre", self.layout.centre)
        energies = self._energies()

        def counted() -> Iterator[np.ndarray]:
            for block in self.blocks(0, None):
                energies.add(block)
                yield first.mixed(self.counted(block))

        samples = self._joined(counted())
        mixing = self._decide(energies)
        if mixing.channel != first.channel:
            samples = self._joined(mixing.mixed(block) for block in self.blocks(0, None))
        return samples, mixing

    def _joined(self, blocks: Iterator[np.ndarray]) -> np.ndarray:
        """Return blocks of the whole recording as one array, filled while they come where the length is known."""
        if self.n_frames is None:
            return np.concatenate([np.zeros(0, np.float32), *blocks])
        self._refuse_long(self.n_frames)
        samples, position = np.empty(self.n_frames, np.float32), 0
        for block in blocks:
            samples[position : position + len(block)] = block
            position += len(block)
        return samples

    def counted(self, block: np.ndarray) -> np.ndarray:
        """Count a block's frames and its samples at full scale; return it, shape ``(n_frames, channels)``."""
        self.read += len(block)
        if _peak(block) >= FULL_SCALE:
            self.clipped += int(np.count_nonzero(np.abs(block) >= FULL_SCALE))
        return block

    def mixing(self) -> Mixing:
        """Return the mixing of the whole recording, which is decoded for that alone where it is not known yet."""
        if self.channels == 1:
            return Mixing()
        if (known := self.decisions.get(self.identity)) is not None:
            return known
        energies = self._energies()
        stop = energies.limit if self.n_frames is None else min(energies.limit, self.n_frames)
        for block in self._decoded(0, stop, False):
            energies.add(block)
        return self._decide(energies)

    def blocks(self, begin: int, end: int | None) -> Iterator[np.ndarray]:
        """Yield frames, float32, shape ``(n_frames, channels)``; a whole file is verified whole.

        Args:
            begin: first frame
            end: one behind the last frame, None for the recording's end
        """
        last = _UNKNOWN if self.n_frames is None else self.n_frames
        stop = last if end is None else min(end, last)
        if self.n_frames is not None:
            self._refuse_long(stop - begin)
        whole = begin == 0 and end is None
        if whole:
            self.layout.verify()
        return self._decoded(begin, stop, whole)

    def close(self) -> None:
        """Close all decoders."""
        for file in (self._first, self.cursor and self.cursor[1]):
            if file is not None:
                file.close()
        self._first = self.cursor = None

    def _length(self, index: int, sound: Sound) -> int | None:
        """Return a stretch's length in frames; refuse one whose rate or channels differ from the first's."""
        try:
            file = decoder(sound.span)
            rate, channels, n_frames = file.samplerate, file.channels, file.frames
            if len(self.layout.sounds) == 1:
                self._first = file  # read from its beginning later
            else:
                file.close()
        except RuntimeError as error:
            if getattr(error, "code", None) in _UNSUPPORTED:
                text = f"is {self.layout.container} in a form that cannot be decoded: {message(error)}"
                raise Defect("not supported", text) from None
            raise Defect(
                "damaged", f"begins like {self.layout.container} and cannot be opened: {message(error)}"
            ) from None
        if index and (rate, channels) != (self.rate, self.channels):
            before = f"{self.rate} Hz and {self.channels} channels to {rate} Hz and {channels}"
            raise Defect("not supported", f"changes from {before} in part {index + 1} of {len(self.layout.sounds)}")
        self.rate, self.channels = rate, channels
        if sound.n_frames is None:
            return n_frames if n_frames < _UNKNOWN else None
        if n_frames != sound.n_frames and not sound.span.is_inflated:
            text = f"holds {sound.n_frames} samples of each channel, of which the decoder makes {n_frames}"
            raise Defect("not supported", f"{text} (an unusual header?)")
        return sound.n_frames

    def _energies(self) -> Energies:
        return Energies(self.channels, int(DECIDED_S * self.rate), self.layout.centre)

    def _decide(self, energies: Energies) -> Mixing:
        mixing = energies.mixing()
        with _LOCK:
            while len(self.decisions) >= _MOST_DECISIONS:
                self.decisions.pop(next(iter(self.decisions)))
            self.decisions[self.identity] = mixing
        return mixing

    def _decoded(self, begin: int, stop: int, whole: bool) -> Iterator[np.ndarray]:
        """Yield the tested frames of all stretches."""
        offset = 0
        for index, length in enumerate(self.lengths):
            last = stop if length is None else min(stop, offset + length)
            if last > max(begin, offset):
                part = (offset, max(begin - offset, 0), last - offset)
                for block in self._verified(index, *part) if whole else self._part(index, *part):
                    self._test(block)
                    yield block
            offset = last if length is None else offset + length

    def _verified(self, index: int, offset: int, begin: int, stop: int) -> Iterator[np.ndarray]:
        """Yield all frames of a stretch, and compare their checksum and number with those it declares."""
        sound = self.layout.sounds[index]
        file, self._first = self._first or decoder(sound.span), None
        with file:
            digest = Md5(sound.span, file)
            yield from self._frames(digest.read, sound, 0, offset, begin, stop)
            if not digest.fits():
                raise BadAudio("damaged", f"{self.path} does not decode to the sound whose MD5 it declares")
            if self.n_frames is not None and len(file.read(1, dtype="float32")):
                declared_s = (offset + stop) / self.rate
                text = f"declares {declared_s:.3f} s and holds more (a damaged header?)"
                raise BadAudio("damaged", f"{self.path} {text}")

    def _part(self, index: int, offset: int, begin: int, stop: int) -> Iterator[np.ndarray]:
        """Yield frames ``[begin, stop)`` of a stretch: entered there, or decoded on from the last part."""
        sound = self.layout.sounds[index]
        if self.cursor is None or self.cursor[0] != index or not self.cursor[1].reaches(begin):
            file, self._first = self._first or decoder(sound.span), None
            if self.n_frames is not None and file.subtype in _ENTERED:
                with file:
                    position = self._entered(file, begin, offset)
                    yield from self._frames(
                        partial(file.read, dtype="float32", always_2d=True), sound, position, offset, begin, stop
                    )
                return
            file.close()
            if self.cursor is not None:
                self.cursor[1].close()
            self.cursor = index, Cursor(decoder(sound.span, by_position=True))
        cursor = self.cursor[1]
        yield from self._frames(cursor.read, sound, cursor.go_to(begin), offset, begin, stop)

    def _entered(self, file: Decoder, begin: int, offset: int) -> int:
        """Go to a frame in the middle and return its number."""
        try:
            return file.seek(begin) if begin else 0
        except RuntimeError as error:
            begin_s = (offset + begin) / self.rate
            raise BadAudio(
                "truncated", f"{self.path} cannot be read from {begin_s:.3f} s on: {message(error)}"
            ) from None

    def _frames(
        self, read: Callable[[int], np.ndarray], sound: Sound, position: int, offset: int, begin: int, stop: int
    ) -> Iterator[np.ndarray]:
        """Yield frames ``[begin, stop)`` of a stretch as they are in the file; ``read`` goes on from ``position``."""
        at_once, why = max(1, _BLOCK // self.channels), "it ends there"
        try:
            while position < stop:
                block = read(min(at_once, stop - position))
                if not len(block):
                    break
                block, position = block[max(0, begin - position) :], position + len(block)
                self._refuse_long(offset + position - begin)
                if not len(block):
                    continue  # in front of the chunk
                yield block if sound.gain == 1 else block * np.float32(sound.gain)
        except RuntimeError as error:
            why = message(error)
        self._check_end(offset, position, begin, stop, why)

    def _check_end(self, offset: int, position: int, begin: int, stop: int, why: str) -> None:
        known = self.n_frames is not None
        if position < stop and (known or position == begin or why != "it ends there"):
            expected = f"{(offset + stop) / self.rate:.3f} s" if known else "more"
            decoded_s = (offset + position) / self.rate
            raise BadAudio("truncated", f"{self.path} decodes to {decoded_s:.3f} s, expected {expected}: {why}")

    def _refuse_long(self, n_frames: int) -> None:
        seconds = n_frames / self.rate
        if seconds > self.longest_s:
            raise BadAudio("too long", f"{self.path} lasts {seconds:.2f} s, expected at most {self.longest_s:g} s")

    def _test(self, block: np.ndarray) -> None:
        peak = _peak(block)
        if not np.isfinite(peak):
            raise BadAudio(
                "nan", f"{self.path} has samples that are NaN or infinite, expected finite ones (a failed conversion?)"
            )
        if peak > LIMIT:
            raise BadAudio(
                "out of range", f"{self.path} has samples up to {peak:g}, expected -1 to 1 (integers written as float?)"
            )


def _peak(block: np.ndarray) -> float:
    """Return the largest absolute sample; NaN where one is."""
    return float(np.maximum(block.max(initial=0), -block.min(initial=0)))
