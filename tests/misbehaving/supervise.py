"""A supervisor of misbehaving actors: `python supervise.py NAME ACTORS_JSON`."""

from __future__ import annotations

import json
import sys

import msgspec

from holdfast.actors.expand import ActorSpec
from holdfast.actors.logstore import LogStore
from holdfast.actors.rundir import RuntimeDir, state_dir
from holdfast.actors.supervisor import Supervisor


def main() -> None:
    name, actors = sys.argv[1:]
    specs = msgspec.convert(json.loads(actors), list[ActorSpec])
    runtime = RuntimeDir(name)
    logs = LogStore(state_dir(name), file_bytes=2_000_000, files=3)
    final = Supervisor(name, specs, runtime, logs).run()
    print(json.dumps(final))


if __name__ == "__main__":
    main()
