"""Program for an interpreter with LeRobot: makes drivers and calls them as its standard input says.

Each line is a JSON list of a verb and its arguments; each answer is a line with the result, or with
the RobotError. `exit` ends the process as a program ends that never heard of `close`.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from typing import Any

import numpy as np

from holdfast.actors.driver import resolve
from holdfast.errors import RobotError
from holdfast.robot.lerobot.leader import LeRobotTeleoperator


class Called:
    """The verbs."""

    robot: Any = None
    leader: Any = None

    def make(self, options: dict[str, Any]) -> dict[str, Any]:
        self.robot = None
        self.robot = resolve.create("lerobot", options)
        spec = self.robot.spec
        return {
            "actions": spec.action_names,
            "states": spec.state_names,
            "mode": spec.control_mode,
            "lower": spec.lower,
            "upper": spec.upper,
        }

    def read(self) -> list[float]:
        out = np.full(len(self.robot.spec.state_names), np.nan, np.float32)
        self.robot.read_state(out)
        return [float(value) for value in out]

    def watch(self) -> list[float]:
        """A reading that also asks for faults."""
        self.robot._watched_ns = 0
        return self.read()

    def write(self, action: list[float]) -> None:
        self.robot.write_action(np.array(action, np.float32))

    def forget(self) -> None:
        """Drop the robot without closing it."""
        self.robot = None
        gc.collect()

    def hear_late(self) -> list[float]:
        """A reading with an answer to an older question in the port's buffer."""
        bus = self.robot._device.bus
        bus.packet_handler.readTx(bus.port_handler, 1, 0x28, 2)
        bus.port_handler.is_using = False
        while not bus.port_handler.getBytesAvailable():
            pass
        return self.read()

    def lead(self, options: dict[str, Any]) -> list[str]:
        self.leader = LeRobotTeleoperator(**options)
        return list(self.leader.action_names)

    def follow(self) -> list[float]:
        out = np.full(len(self.leader.action_names), np.nan, np.float32)
        self.leader.get_action(out)
        return [float(value) for value in out]


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the library prints is no answer
    called = Called()
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        if verb == "exit":
            sys.exit()
        try:
            owner, _, name = verb.rpartition(".")
            found = getattr(getattr(called, owner) if owner else called, name)(*arguments)
            answers.write(json.dumps({"result": found}) + "\n")
        except RobotError as error:
            answers.write(json.dumps({"error": str(error)}) + "\n")


if __name__ == "__main__":
    main()
