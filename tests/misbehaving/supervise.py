"""A supervisor of misbehaving actors: `python supervise.py NAME SPARE_S < ACTORS_JSON`."""

from __future__ import annotations

import sys

import msgspec

from holdfast.actors.runtime.runtime_dir import RuntimeDir, state_dir
from holdfast.actors.runtime.spec import ActorSpec
from holdfast.actors.supervision import spares
from holdfast.actors.supervision.logstore import LogStore
from holdfast.actors.supervision.supervisor import Supervisor


def main() -> None:
    name, spares.ANSWER_S = sys.argv[1], float(sys.argv[2])
    specs = msgspec.json.decode(sys.stdin.buffer.read(), type=list[ActorSpec])
    runtime = RuntimeDir(name)
    logs = LogStore(state_dir(name), file_bytes=2_000_000, files=3)
    Supervisor(name, specs, runtime, logs).run()


if __name__ == "__main__":
    main()
