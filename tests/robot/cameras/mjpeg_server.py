"""A motion-JPEG camera on loopback that stalls, freezes, ends, changes its size and comes back."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from holdfast.tests.waiting import wait_until

_BITS = 16
_BLOCK = 8


class MjpegServer:
    """Captures a numbered picture of noise each `period_s`, and sends it to all who look.

    `sending` cleared: pictures queue, as behind a network that stalls. `live` cleared: the picture
    stays the same. `serving` cleared: connections end, and new ones are refused with 503.
    `captured_ns` is when each picture was captured, by its number.
    """

    def __init__(self, size: tuple[int, int] = (64, 48), period_s: float = 0.03) -> None:
        self.size, self.period_s = size, period_s
        self.sending, self.live, self.serving = (
            threading.Event(),
            threading.Event(),
            threading.Event(),
        )
        for event in (self.sending, self.live, self.serving):
            event.set()
        self.captured_ns: dict[int, int] = {}
        self._opened = 0
        self._watchers: list[deque[bytes]] = []
        self._over = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner._serve(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._threads = [
            threading.Thread(target=work, daemon=True)
            for work in (self._server.serve_forever, self._capture)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        for thread in self._threads:
            thread.join()
        self._server.server_close()

    def opened_anew(self, times: int) -> None:
        """Wait until so many further connections have been made."""
        before = self._opened
        wait_until(lambda: self._opened >= before + times, "further connections")

    def _capture(self) -> None:
        number, jpeg = 0, b""
        random = np.random.default_rng(0)
        while not self._over.wait(self.period_s):
            if self.live.is_set() or not jpeg:
                number += 1
                self.captured_ns[number] = time.monotonic_ns()
                jpeg = cv2.imencode(".jpg", _picture(number, self.size, random))[1].tobytes()
            for queue in self._watchers:
                queue.append(jpeg)

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        if not self.serving.is_set():
            handler.send_error(503)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=edge")
        handler.end_headers()
        self._opened += 1
        queue: deque[bytes] = deque()
        self._watchers.append(queue)
        with contextlib.suppress(OSError):
            while self.serving.is_set() and not self._over.is_set():
                while queue and self.sending.is_set():
                    jpeg = queue.popleft()
                    head = (
                        f"--edge\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    )
                    handler.wfile.write(head.encode() + jpeg + b"\r\n")
                    handler.wfile.flush()
                self._over.wait(0.002)
        self._watchers.remove(queue)


def _picture(number: int, size: tuple[int, int], random: np.random.Generator) -> NDArray[np.uint8]:
    """Noise, with `number` in its first row of blocks of pixels."""
    image = random.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    for bit in range(_BITS):
        x, y = bit % 8 * _BLOCK, bit // 8 * _BLOCK
        image[y : y + _BLOCK, x : x + _BLOCK] = 255 * (number >> bit & 1)
    return image


def number_of(image: NDArray[np.uint8]) -> int:
    """The number in a picture."""
    number = 0
    for bit in range(_BITS):
        x, y = bit % 8 * _BLOCK, bit // 8 * _BLOCK
        number |= int(image[y : y + _BLOCK, x : x + _BLOCK].mean() > 127) << bit
    return number
