"""The shapes and dtypes that policy/ promises in its annotations, checked while it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from jaxtyping import install_import_hook

CHECKED = ("encoder", "transformer", "flow_network", "act", "rtc")
names = [f"holdfast.policy.{name}" for name in CHECKED]
with install_import_hook(names, "beartype.beartype"):
    from holdfast.policy import act, encoder, flow_network, rtc, transformer

import torch
from holdfast.policy.kinds import load_policy

checkpoint = sys.argv[1]
for options in ({}, {"prefix": "guided"}, {"prefix": "guided", "jacobian": "identity"}):
    policy = load_policy("flow", checkpoint, **options)
    policy.predict_chunk([policy.spec.example(s) for s in range(3)])

sizes = encoder.Sizes(("front",), state=3, actions=2, steps=12, vocabulary=9)
images = (torch.zeros(4, 24, 32, 3, dtype=torch.uint8),)
given = torch.arange(12).expand(4, -1) < 3
for network in (
    flow_network.FlowNetwork(flow_network.FlowConfig(auxiliary=2), sizes),
    act.ActNetwork(act.ActConfig(), sizes),
):
    seen, _ = network.observe(images, torch.zeros(4, 3), torch.zeros(4, 5, dtype=torch.long))
    path = torch.rand(4), torch.randn(4, 12, 2)
    network.loss(seen, torch.zeros(4, 12, 2), given, ~given, *path).backward()

try:
    network.observe(images, torch.zeros(5, 3), torch.zeros(4, 5, dtype=torch.long))
except Exception as error:
    assert "state" in str(error) or "jaxtyping" in type(error).__module__, error
else:
    raise SystemExit("shapes are not checked: a batch of 5 states passed with 4 images")
"""


def test_tensors_have_the_shapes_of_their_annotations(checkpoint: Path) -> None:
    """Checked at run time in a process of its own, where a wrong shape raises."""
    command = [sys.executable, "-c", PROGRAM, str(checkpoint)]
    # One thread, as in conftest.py.
    one = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=one
    )
    assert done.returncode == 0, done.stderr[-3000:]
