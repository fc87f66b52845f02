"""`RequestSender`: control's requests, with their images, to the broker; what cannot be sent is
answered by an ERROR."""

from __future__ import annotations

import time
from collections import Counter

from ...errors import StaleFrameError, WireError
from ...transport import messages
from ...transport.arrays import Buffer
from ...transport.bodies import Error, Request
from ...transport.header import Header
from ...transport.messages import Blobs, Message
from .control_link import ControlLink
from .request_audit import RequestAudit
from .request_images import RequestImages
from .session_moves import SessionMoves
from .uplink import Uplink


class RequestSender:
    """Of one network actor. What is not sent is counted in `dropped` by its reason, except for a
    request that waits for the `uplink`."""

    def __init__(
        self,
        images: RequestImages,
        session: SessionMoves,
        audit: RequestAudit,
        uplink: Uplink,
        control: ControlLink,
        dropped: Counter[str],
    ) -> None:
        self._images, self._session, self._audit = images, session, audit
        self._uplink, self._control, self._dropped = uplink, control, dropped

    def send(self, message: Message[Request]) -> None:
        """Send a request with its images."""
        header, terms = message.header, self._session.terms
        now_ns = time.monotonic_ns()
        limited = terms is None or not terms.shm
        if limited and self._uplink.wait_ns(now_ns):
            self._wait(header)
            return
        try:
            self._images.take(header, message.body, terms, now_ns)
            frames = self._encoded(message)
            size = sum(len(frame) for frame in frames)
            while limited and not self._uplink.fits(size, now_ns):
                if not self._uplink.lower(size, now_ns):
                    self._wait(header)
                    return
                frames = self._encoded(message)
                size = sum(len(frame) for frame in frames)
            messages.check(frames)
        except StaleFrameError as stale:
            self._refuse(header, "stale-frame", str(stale))
            return
        except WireError as error:
            self._refuse(header, error.reason, f"{error}: send smaller images, or JPEG")
            return
        if self._session.ask(header, frames, time.monotonic_ns()):
            sent_ns = time.monotonic_ns()
            self._images.sent(now_ns)
            self._uplink.sent(size, sent_ns)
            self._audit.asked(header, self._session.id, self._images.ages_s, sent_ns)
        else:
            self._dropped["broker-full"] += 1
            self._refuse(header, "unreachable", "the broker takes no message")

    def _encoded(self, message: Message[Request]) -> list[Buffer]:
        blobs = Blobs(message.blobs)
        body = self._images.add(message.body, blobs, self._uplink.quality, time.monotonic_ns())
        return messages.encode(message.header, body, blobs)

    def _refuse(self, header: Header, reason: str, message: str) -> None:
        self._dropped[reason] += 1
        self._answer(header, reason, message)

    def _wait(self, header: Header) -> None:
        limit, quality = self._uplink.max_kbps, self._uplink.quality
        words = f"max_uplink_kbps ({limit:g}) leaves no room yet for a request of quality {quality}"
        self._answer(header, "uplink-limit", words)

    def _answer(self, header: Header, reason: str, message: str) -> None:
        self._control.reply(self._control.identity, header, Error(reason=reason, message=message))
