"""`actorctl teleop`: the keys that move a robot whose teleoperator is the keyboard."""

from __future__ import annotations

import typer

from .keys_pressed import KeysPressed
from .option_types import FleetName, RobotName
from .running_fleet import ask, fail, reach

app = typer.Typer()

_WAIT_S = 0.25


@app.command()
def teleop(robot: RobotName, fleet: FleetName = None) -> None:
    """Move a robot by the keys of this terminal, until Ctrl-C.

    Needs `teleop: {driver: keyboard}` in the robot's entry. Space takes over from the policy, and
    gives back to it.
    """
    from ...robot.teleop_keys import PAIRS

    path = reach(fleet)
    answer = ask(path, do="tell", names=[f"{robot}/teleop"], verb="key", args={"keys": ""})
    joints = answer["result"]["actions"]
    if not answer["result"]["has_keys"]:
        fail(f"{robot}'s teleoperator has no keys: it is for `teleop: {{driver: keyboard}}`")
    for name, pair in zip(joints, PAIRS, strict=False):
        print(f"  {pair[0]} {pair[1]}  {name} up, down")
    print("  space  take over, give back   enter  success   0  failure   x  rerecord   Ctrl-C  end")
    manual = None
    with KeysPressed() as keys:
        if not keys.possible:
            fail("stdin is no terminal: there are no keys to press")
        try:
            while True:
                pressed = keys.wait(_WAIT_S)
                args = {"keys": pressed}
                said = ask(path, do="tell", names=[f"{robot}/teleop"], verb="key", args=args)
                now = said["result"]["in_command"]
                if now != manual:
                    print("you command the robot" if now else "you do not command it: press space")
                    manual = now
        except KeyboardInterrupt:
            pass
    if manual:
        print(
            f"{robot} keeps its pose; `actorctl resume {robot}` gives it back to its policy, "
            f"`actorctl pause {robot}` to neither"
        )
