"""`RequestImages`: what the cameras add to one robot's requests, and its age."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from mmap import mmap

import msgspec

from ...errors import StaleFrameError
from ...transport.arrays import Buffer
from ...transport.bodies import Accept, Error, Reply, Request
from ...transport.frames import FrameReader
from ...transport.header import Header, Kind
from ...transport.images import Image
from ...transport.layout import own
from ...transport.messages import Blobs, decode
from ...transport.outbox import Outbox
from ...transport.poll import ms_until
from ..runtime.configs import NetworkConfig
from .camera_frames import Allocate, CameraFrames, FrameKey, Place, RequestFrames
from .ring_use import RingUse


class RequestImages:
    """Adds the newest frame of every camera to a request, and those of its earlier observations: as
    references into shared memory once the replica accepted it, else as JPEG or raw.

    In shared memory they are copied into the outbox, unless the replica reads the cameras' rings
    and the frames travel as they were captured: then they stay there, and `copy_overdue` copies
    them later if it comes to that (`RingUse`).
    `ages_s`: how old each camera's image was in the last request.
    """

    def __init__(self, config: NetworkConfig, segment: Callable[[str], mmap | bytearray]) -> None:
        """`segment` maps the segment of a name: those of the cameras' rings and of the outbox."""
        self._config = config
        readers = {n: FrameReader(segment(c.segment)) for n, c in config.cameras.items()}
        sizes = {n: (c.width, c.height) for n, c in config.cameras.items()}
        self.frames = CameraFrames(readers, config.max_frame_age_s, sizes)
        self.use = RingUse()
        self.outbox = own(segment(config.outbox), Outbox) if config.outbox else None
        self._episode: int | None = None
        self._began_ns = 0
        self._asked: Header | None = None
        self._taken = RequestFrames({}, {})
        self._shared: dict[FrameKey, Image] | None = None
        self.oldest_ns = 0
        """When the oldest image of the last request was captured (monotonic ns); 0: it had none."""
        self.ages_s: dict[str, float] = {}

    def follow_episode(self, header: Header, now_ns: int) -> None:
        """Note the episode of a message of control: images from before it began are not used.

        A lost RESET has no effect: the first request carries the episode too.
        """
        if header.kind is Kind.CLOSE or header.episode == self._episode:
            return
        if self._episode is not None or header.kind is Kind.RESET:
            # A RESET says when it was: the first frame may be there before it arrives.
            token = header.token if header.kind is Kind.RESET else 0
            self._began_ns = min(token, now_ns) or now_ns
        self._episode = header.episode

    def take(self, header: Header, body: Request, terms: Accept | None, now_ns: int) -> None:
        """Take the frames of a request that `terms` ask for; `add` then adds them to it.

        Raises StaleFrameError when a camera's newest frame is missing, too old or of an earlier
        episode.
        """
        outbox = self.outbox if terms is not None and terms.shm else None
        instants_ns = [header.token - round(age_s * 1e9) for age_s in body.history_age_s]
        since_ns = self._began_ns
        if instants_ns:  # this process may have been started in mid-episode
            since_ns = max(since_ns, header.token - round(body.episode_age_s * 1e9))
        wanted = self._wanted(terms)
        self._asked, self._shared = header, None
        self.use.forget()
        if outbox is None:
            self._read = partial(self._taken_at, wanted, since_ns, instants_ns)
            self._read(now_ns, "ring" if self._config.jpeg_quality else "message")
            return
        in_rings = self.use.allowed(now_ns) and self._read_there(terms, wanted)
        place: Place = "ring" if in_rings else "kept"
        self._taken_at(wanted, since_ns, instants_ns, now_ns, place, outbox.reserve)
        if in_rings and self.frames.passing:
            in_rings = False
            if not self.frames.copy():
                raise StaleFrameError("a camera's frame was overwritten while it was copied")
        frames = self.frames.references() if in_rings else {}
        references = outbox.promise() if in_rings else outbox.publish()
        self._shared = {key: Blobs.reference(r, frames.get(key)) for key, r in references.items()}

    def sent(self, taken_ns: int) -> None:
        """The request is on its way, for which `take` was called at `taken_ns`; frames in rings of
        one for which this is not called are not copied."""
        if self._shared:
            in_rings = any(image.frame is not None for image in self._shared.values())
            self.use.asked(in_rings, taken_ns)

    def wait_ms(self, at_most_ms: int) -> int:
        """In how much time `copy_overdue` is to be called, at most `at_most_ms`."""
        due_ns = self.use.copy_due_ns
        if due_ns is None:
            return at_most_ms
        return min(at_most_ms, ms_until(due_ns, time.monotonic_ns()))

    def copy_overdue(self, now_ns: int) -> None:
        """Copy the frames of the last request into the outbox if its answer does not come soon."""
        due_ns = self.use.copy_due_ns
        if self.outbox is None or due_ns is None or now_ns < due_ns:
            return
        still_there = self.frames.copy()
        if still_there:
            self.outbox.publish()
        self.use.copied(still_there)

    def answered(self, header: Header, frames: list[Buffer], now_ns: int) -> None:
        """The last request was answered by these frames of a message. Raises WireError."""
        found = True
        if header.kind is Kind.ERROR:
            error: Error = decode(frames, header=header).body
            found = error.reason != "shm-overwritten"
        self.use.answered(found, now_ns)

    def _taken_at(
        self,
        wanted: dict[str, tuple[int, int] | None],
        since_ns: int,
        instants_ns: list[int],
        now_ns: int,
        place: Place,
        allocate: Allocate | None = None,
    ) -> None:
        frames = self.frames
        self._taken = frames.take(wanted, now_ns, since_ns, instants_ns, allocate, place)
        self.ages_s = {name: ms / 1e3 for name, ms in frames.age_ms.items()}
        self.oldest_ns = frames.oldest_ns

    def add(self, body: Request, blobs: Blobs, quality: int, now_ns: int) -> Request:
        """`body` with the frames that were taken, of which `blobs` gets the bytes: as JPEG of
        `quality`, or raw if 0, unless they lie in the outbox. Raises StaleFrameError as `take`:
        frames over which a camera wrote meanwhile are taken again."""
        described = self._shared
        if described is None:
            before = len(blobs)
            described = blobs.images(self._taken.pixels, quality)
            if self.frames.overwritten:
                del blobs[before:]
                self._read(now_ns, "kept")
                described = blobs.images(self._taken.pixels, quality)
        frames = self._taken
        return msgspec.structs.replace(
            body,
            images={name: described[name, 0] for name in frames.newest},
            frame_age_s=self.ages_s,
            image_history={
                name: tuple(described[key] for key in (*keys, (name, 0)))
                for name, keys in frames.earlier.items()
            },
        )

    def with_age(self, header: Header, body: Reply) -> Reply:
        """The reply, with the age of the oldest image when control asked for it."""
        asked = self._asked
        if asked is None or (asked.seq, asked.epoch) != (header.seq, header.epoch):
            age_s = 0.0  # it is not the answer that control waits for
        else:
            age_s = max(0.0, (asked.token - self.oldest_ns) / 1e9)
        return msgspec.structs.replace(body, oldest_input_age_s=age_s)

    def _read_there(self, terms: Accept | None, wanted: dict[str, tuple[int, int] | None]) -> bool:
        """Whether frames travel, and the replica reads all of them in their rings."""
        ours = wanted.keys() & self._config.cameras.keys()
        if terms is None or not ours:
            return False
        return ours <= set(terms.rings) and self.frames.unscaled(wanted)

    def _wanted(self, terms: Accept | None) -> dict[str, tuple[int, int] | None]:
        """The cameras whose images travel, and at what size: the policy's, or as captured."""
        if terms is None:
            return dict.fromkeys(self._config.cameras)
        edge = self._config.resize == "edge"
        return {n: size if edge else None for n, size in terms.cameras.items()}
