"""What a control process carries: nothing that it does not need in its loop."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import holdfast.actors.control.loop
heavy = ("torch", "cv2", "simplejpeg", "rich", "typer", "psutil", "yaml", "holdfast.policy")
print(*[name for name in sys.modules if name.startswith(heavy)])
print(int(open("/proc/self/statm").read().split()[1]) * 4096)
"""


def test_the_control_process_imports_no_policy_no_torch_and_no_image_codec() -> None:
    """Importing the loop takes less than 60 MB."""
    out = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    heavy, resident = out.stdout.splitlines()
    assert heavy == ""
    assert int(resident) < 60e6
