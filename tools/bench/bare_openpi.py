"""A server of openpi's protocol with nothing behind it: every observation is unpacked and answered
by the same chunk."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from ...actors.clients.msgpack_arrays import pack, unpack

STEPS = 50


@contextmanager
def running(joints: int) -> Iterator[int]:
    """The port of one, in a process of its own, whose actions have so many joints."""
    code = f"from {__name__} import main; main({joints})"
    argv = [sys.executable, "-P", "-c", code]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def main(joints: int) -> None:
    """Serve until it is killed or its parent is gone."""
    asyncio.run(_serve(joints))


async def _serve(joints: int) -> None:
    answer = pack({"actions": np.zeros((STEPS, joints), np.float32)})

    async def client(connection: ServerConnection) -> None:
        await connection.send(pack({"model": "bare"}))
        try:
            while True:
                unpack(await connection.recv())
                await connection.send(answer)
        except ConnectionClosed:
            return

    async with serve(client, "127.0.0.1", 0, compression=None, max_size=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        # Until the parent is gone.
        await asyncio.to_thread(sys.stdin.read)
