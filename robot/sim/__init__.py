"""A conveyor cell: parcels ride a belt, a gantry arm picks the one it is told and bins it.

task, arm     what is asked, and what the arm can do
scene         the whole state of the cell as one fixed-size block of bytes
cell          the physics: scene in, next scene out; decides success and failure
expert        the scripted policy that reads the truth
draw          the two cameras
rollout       policies run synchronously on the cell, with or without delay
simulation    the cell in real time
devices       the robot and the cameras
"""

from .arm import CONTROL_HZ, SPEC
from .task import TASKS

__all__ = ["CONTROL_HZ", "SPEC", "TASKS"]
