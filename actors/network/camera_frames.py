"""`CameraFrames`: the frames of a robot's cameras for one request: the newest of each, and those of
earlier instants for a policy that sees several observations.

Guarantees that no frame older than the bound is used, nor one from before the episode began: a
camera without such a frame makes the request impossible, and the error names it and its age.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import msgspec
import numpy as np

from ...errors import FrameError, StaleFrameError
from ...transport.frame_reference import FrameReference
from ...transport.frames import Frame, FrameReader
from ...transport.images import Pixels, resize
from ...transport.parallel import in_two_threads
from ...transport.sockets import packed

FrameKey = tuple[str, int]
"""A camera, and the number of a frame of it; 0 for the newest."""
Allocate = Callable[[Mapping[FrameKey, tuple[int, int, int]]], dict[FrameKey, Pixels]]
"""Returns an array for each shape [h, w, c]."""
Place = Literal["kept", "message", "ring"]
"""Where the pixels lie that are taken: in arrays that are kept for the next call, each in the
memory of a message of its own, or still in the camera's ring, until `overwritten`."""
_SPARE_FRAMES = 2
"""A frame is left in its ring only if its camera publishes so many more before it overwrites it."""
_EARLY_MS = 100.0
"""How much newer than the request a frame may be: it was captured meanwhile."""


@dataclass(frozen=True, slots=True)
class RequestFrames:
    """`pixels`: uint8 [h, w, 3] RGB of each frame; `earlier`: by camera those of the instants that
    were asked for, in their order. A frame that stands for several is there once."""

    pixels: dict[FrameKey, Pixels]
    earlier: dict[str, tuple[FrameKey, ...]]

    @property
    def newest(self) -> dict[str, Pixels]:
        """The newest of each camera."""
        return {name: pixels for (name, number), pixels in self.pixels.items() if not number}


class CameraFrames:
    """The readers of a robot's frame rings by the names that travel.

    `age_ms`: how old each camera's frame was when it was last asked for. `damaged`: how often a
    camera's ring could not be read, or held a frame of the future.
    """

    def __init__(
        self,
        readers: Mapping[str, FrameReader],
        max_age_s: float,
        sizes: Mapping[str, tuple[int, int]],
    ) -> None:
        """`sizes`: (width, height) of what each camera captures, as it is configured."""
        self._readers = readers
        self._sizes = sizes
        self._max_age_ms = max_age_s * 1e3
        self._kept: dict[FrameKey, Pixels] = {}
        self._views: dict[FrameKey, tuple[FrameReader, Frame]] = {}
        self._allocated: Mapping[FrameKey, Pixels] = {}
        self.age_ms: dict[str, float] = {}
        self.oldest_ns = 0
        """When the oldest of the last newest frames was captured; 0 if there was none."""
        self.damaged: Counter[str] = Counter()
        self._faults: dict[str, str] = {}

    def newest(
        self,
        wanted: Mapping[str, tuple[int, int] | None],
        now_ns: int,
        since_ns: int = 0,
        allocate: Allocate | None = None,
    ) -> dict[str, Pixels]:
        """`take` of the newest frames alone, by camera."""
        return self.take(wanted, now_ns, since_ns, allocate=allocate).newest

    def take(
        self,
        wanted: Mapping[str, tuple[int, int] | None],
        now_ns: int,
        since_ns: int = 0,
        instants_ns: Sequence[int] = (),
        allocate: Allocate | None = None,
        place: Place = "kept",
    ) -> RequestFrames:
        """The frames of each wanted camera that this robot has, captured at `since_ns` or later
        (monotonic ns), scaled to (w, h) where `wanted` has a size: the newest. With `instants_ns`,
        those of several observations and the request's own last, the newest at each of them, or
        the first since `since_ns`. Raises StaleFrameError.

        Frames that need no scaling are left in `place`, others are kept. Kept arrays are those of
        `allocate`, by default ones that the next call overwrites. `allocate` is asked for those of
        all frames, so that `copy` can keep what was left in a ring.
        """
        self._faults.clear()
        self._views.clear()
        ours = {n: size for n, size in wanted.items() if n in self._readers}
        shapes = {n: shape for n, size in ours.items() if (shape := self._shape(n, size))}
        chosen: dict[str, list[int]] = {}
        last: dict[str, int] = {}  # the newest's number: all are chosen at one moment
        for name in shapes if instants_ns else ():
            chosen[name], last[name] = self._choose(name, since_ns, instants_ns)
        keys = {(n, number) for n, numbers in chosen.items() for number in numbers if number}
        kept = {(n, 0): shape for n, shape in shapes.items()}
        kept |= {key: shapes[key[0]] for key in keys}
        filled = kept
        if place != "kept":
            filled = {k: shape for k, shape in kept.items() if shape != self._readers[k[0]].shape}
        if allocate is None:
            targets = self._reuse(filled)
        else:
            self._allocated = allocate(kept)
            targets = {key: self._allocated[key] for key in filled}
        # To resize 640x480 to 224x224 takes 1.3 ms, to wake another thread 10 us.
        scaled = any(shape != self._readers[n].shape for n, shape in shapes.items())

        def newest(name: str) -> Frame | None:
            if name not in shapes:
                return None
            target = targets.get((name, 0))
            return self._read((name, 0), last.get(name, 0), target, shapes[name], place)

        def numbered(key: FrameKey) -> Frame | None:
            return self._read(key, key[1], targets.get(key), shapes[key[0]], place)

        found = in_two_threads(newest, ours) if scaled else [newest(name) for name in ours]
        frames = dict(zip(ours, found, strict=True))
        self._check(frames, now_ns, since_ns)
        pixels = {(n, 0): frame.image for n, frame in frames.items() if frame is not None}
        others = sorted(keys)
        found = in_two_threads(numbered, others) if scaled else [numbered(key) for key in others]
        for key, frame in zip(others, found, strict=True):
            if frame is None:
                raise StaleFrameError(f"{key[0]}: frame {key[1]} was overwritten while it was read")
            pixels[key] = frame.image
        self.oldest_ns = min((f.capture_ns for f in frames.values() if f is not None), default=0)
        earlier = {n: tuple((n, number) for number in numbers) for n, numbers in chosen.items()}
        return RequestFrames(pixels, earlier)

    def unscaled(self, wanted: Mapping[str, tuple[int, int] | None]) -> bool:
        """Whether all images that travel have the size in which they are captured."""
        return all(wanted.get(name) in (None, size) for name, size in self._sizes.items())

    @property
    def overwritten(self) -> bool:
        """Whether a camera has written over a frame that was left in its ring: what was read of it
        is not to be used."""
        return not all(reader.valid(frame) for reader, frame in self._views.values())

    @property
    def passing(self) -> bool:
        """Whether a camera will soon write over a frame that was left in its ring."""
        each = self._views.values()
        return any(reader.spare(frame.number) < _SPARE_FRAMES for reader, frame in each)

    def references(self) -> dict[FrameKey, FrameReference]:
        """The frames that were left in their rings."""
        return {key: reader.reference(frame) for key, (reader, frame) in self._views.items()}

    def copy(self) -> bool:
        """Copy the frames that were left in their rings into the arrays that were allocated for
        them; False if a camera has written over one."""
        for key, (_, frame) in self._views.items():
            np.copyto(self._allocated[key], frame.image)
        return not self.overwritten

    def _check(self, frames: Mapping[str, Frame | None], now_ns: int, since_ns: int) -> None:
        """Raise StaleFrameError unless each camera has a frame that may be used."""
        ages_ms = {n: (now_ns - f.capture_ns) / 1e6 for n, f in frames.items() if f is not None}
        for name, age_ms in ages_ms.items():
            if age_ms < -_EARLY_MS:
                self._fault(name, "its ring is damaged: a frame is dated in the future")
        self.age_ms = {n: max(0.0, age) for n, age in ages_ms.items() if n not in self._faults}
        unfit = [
            f"{name}: {self._faults[name]}"
            if name in self._faults
            else f"{name} has no frame"
            if frame is None
            else f"{name} is {self.age_ms[name]:.0f} ms old"
            for name, frame in frames.items()
            if name not in self.age_ms or self.age_ms[name] > self._max_age_ms
        ]
        before = [n for n, frame in frames.items() if frame and frame.capture_ns < since_ns]
        if before and not unfit:
            raise StaleFrameError(f"{', '.join(before)}: no frame of this episode yet")
        if unfit:
            raise StaleFrameError(
                f"{', '.join(unfit)}; at most {self._max_age_ms:.0f} ms are allowed"
            )

    def _choose(
        self, camera: str, since_ns: int, instants_ns: Sequence[int]
    ) -> tuple[list[int], int]:
        """The numbers of the frames of these instants but the last, 0 where it is the last one's,
        and the last one's number, 0 if there is none of the episode."""
        try:
            captured = self._readers[camera].captured()
        except FrameError as error:
            self._fault(camera, f"its ring is damaged: {error}")
            return [], 0
        # Frames from before the episode are left out, unless all are: `take` says so then.
        usable = [frame for frame in captured if frame[1] >= since_ns]
        if not usable:
            return [0] * (len(instants_ns) - 1), 0
        first = usable[0]
        numbers = []
        for instant_ns in instants_ns:
            place = bisect_right(usable, instant_ns, key=lambda frame: frame[1]) - 1
            number, capture_ns = usable[max(place, 0)]
            if place < 0 and first == captured[0] and first[0] > 1 and first[1] > since_ns:
                self._missing(camera, usable[-1][1] - instant_ns, len(captured))
            age_ms = (instant_ns - capture_ns) / 1e6
            if age_ms > self._max_age_ms and instant_ns < instants_ns[-1]:
                raise StaleFrameError(
                    f"{camera} was {age_ms:.0f} ms old at an earlier observation; at most "
                    f"{self._max_age_ms:.0f} ms are allowed"
                )
            numbers.append(number)
        *earlier, newest = numbers
        return [0 if number == newest else number for number in earlier], newest

    @staticmethod
    def _missing(camera: str, ago_ns: int, kept: int) -> None:
        raise StaleFrameError(
            f"{camera} keeps its last {kept} frames, that of {ago_ns / 1e9:.2g} s ago is not among "
            "them: set the robot's images.history_steps"
        )

    def _shape(self, camera: str, size: tuple[int, int] | None) -> tuple[int, int, int] | None:
        """The shape of the image that travels; None while the camera has not written yet."""
        try:
            captured = self._readers[camera].shape
        except FrameError as error:
            self._fault(camera, f"its ring is damaged: {error}")
            return None
        width, height = self._sizes[camera]
        if captured is None:
            return None
        if captured != (height, width, 3):
            self._fault(camera, f"its ring holds frames of {captured}, not ({height}, {width}, 3)")
            return None
        return (size[1], size[0], 3) if size else captured

    def _fault(self, camera: str, why: str) -> None:
        self.damaged[camera] += 1
        self._faults[camera] = why

    def _reuse(self, shapes: Mapping[FrameKey, tuple[int, int, int]]) -> dict[FrameKey, Pixels]:
        # Fresh memory for an image costs more than copying the image.
        spare = {key: pixels for key, pixels in self._kept.items() if key not in shapes}
        found: dict[FrameKey, Pixels] = {}
        for key, shape in shapes.items():
            kept = self._kept.get(key)
            if kept is None or kept.shape != shape:
                other = next((k for k, pixels in spare.items() if pixels.shape == shape), None)
                kept = np.empty(shape, np.uint8) if other is None else spare.pop(other)
            found[key] = kept
        self._kept = found
        return found

    def _read(
        self,
        key: FrameKey,
        number: int,
        target: Pixels | None,
        shape: tuple[int, int, int],
        place: Place,
    ) -> Frame | None:
        """Frame `number`, or the newest for 0: in `target`, without one in `place`."""
        reader = self._readers[key[0]]
        read = partial(reader.read, number) if number else reader.latest
        if target is None and place == "ring":
            frame = reader.view(number)
            if frame is not None:
                self._views[key] = reader, frame
            return frame
        if target is None:
            return read(transform=packed)
        if shape == reader.shape:
            return read(target)
        # Scaled directly from shared memory: the full-size image is never copied.
        frame = read(transform=partial(resize, width=shape[1], height=shape[0]))
        if frame is None:
            return None
        np.copyto(target, frame.image)
        return msgspec.structs.replace(frame, image=target)
