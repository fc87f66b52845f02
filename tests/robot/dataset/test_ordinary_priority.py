"""Encoders that would be real-time processes."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os
from holdfast.robot.dataset.video_encoder import choose

def classes():
    return {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}

before = classes()
assert choose("av1") == "libsvtav1"
assert classes() == before == {os.SCHED_OTHER}, classes()

from fractions import Fraction
import av
from holdfast.robot.dataset.ordinary_priority import ordinary_priority

context = av.CodecContext.create("libsvtav1", "w")
context.width, context.height, context.pix_fmt = 64, 64, "yuv420p"
context.time_base = Fraction(1, 30)
with ordinary_priority():
    context.open()
assert classes() == before, classes()
os.setpriority(os.PRIO_PROCESS, 0, 5)
"""


def test_an_av1_encoder_of_root_is_no_real_time_process() -> None:
    """Neither its threads nor the one that opens it, which may be a recorder's or a command's."""
    subprocess.run([sys.executable, "-P", "-c", PROGRAM], check=True, timeout=300)
