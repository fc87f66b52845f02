"""What scripts do, done in the cells of a notebook by a real kernel."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from holdfast import Fleet
from holdfast.tests.waiting import wait_until

if not all(importlib.util.find_spec(name) for name in ("nbclient", "ipykernel")):
    pytest.skip("needs nbclient and ipykernel: a Jupyter kernel", allow_module_level=True)

FLEET = """
name: noted
gateway: {enabled: false}
services:
  pick: {policy: constant, checkpoint: conveyor-flow}
robots:
  - name: r1
    service: pick
    cameras: {overhead: &small {width: 64, height: 48, fps: 15}, wrist: *small}
"""
IMPORT = "from holdfast import Fleet"
BLOCK = """
with Fleet("fleet.yaml") as fleet:
    fleet.wait(60)
    print(*(actor["pid"] for actor in fleet.status()["actors"]))
    print(fleet.camera("r1/overhead").latest().image.shape)
"""
SERVE = """
import numpy as np
from holdfast import Chunk, PolicySpec, serve
spec = PolicySpec(model="nod", revision="1", cameras=(), state_names=("neck",),
                  action_names=("neck",), chunk_size=50, fps=50.0)
chunk = np.zeros((50, 1), np.float32)
print("begun")
serve(lambda seen: [Chunk(model=chunk, robot=chunk) for _ in seen], spec, service="nod")
"""
START = "fleet = Fleet('fleet.yaml'); fleet.start(); fleet.wait(60)"
PIDS = "print(*(actor['pid'] for actor in fleet.status()['actors']))"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the notebook lies, and what kernels would otherwise leave in the home directory."""
    (tmp_path / "fleet.yaml").write_text(FLEET)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))
    return tmp_path


@pytest.fixture
def sockets() -> Iterator[dict[str, Any]]:
    """What has a kernel listen on sockets of a folder. Of ports it is given the numbers of some
    that were free, which other programs may have taken until it listens."""
    folder = tempfile.mkdtemp(prefix="hf-kernel-")  # short: a socket path holds 107 bytes
    yield {"KernelManager": {"transport": "ipc", "ip": f"{folder}/socket"}}
    shutil.rmtree(folder)


class Kernel:
    """A running kernel and what a person does with it."""

    def __init__(self, directory: Path, sockets: dict[str, Any]) -> None:
        import jupyter_client
        from traitlets.config import Config

        self.manager = jupyter_client.manager.KernelManager(config=Config(sockets))
        self.manager.start_kernel(cwd=str(directory))
        self.client = self.manager.client()
        self.client.start_channels()
        try:
            self.client.wait_for_ready(timeout=120)
        except BaseException:
            self.end()
            raise

    def run(self, cell: str) -> str:
        """What the cell printed. Fails with the cell's own traceback."""
        output: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            content = message["content"]
            output.append(content.get("text", "") + "\n".join(content.get("traceback", ())))

        reply = self.client.execute_interactive(cell, output_hook=hear, timeout=300)
        assert reply["content"]["status"] == "ok", "".join(output)
        return "".join(output)

    def begin(self, cell: str) -> None:
        """Start a cell that lasts, and go on once it has printed `begun`. The kernel also runs a
        cell that it is sent in the moment of its interruption."""
        self.client.execute(cell, stop_on_error=False)

        def begun() -> bool:
            return bool(self.client.get_iopub_msg(timeout=120)["content"].get("text") == "begun\n")

        wait_until(begun, "the cell's first output")

    def stop(self) -> str:
        """Press the stop button; how the cell that runs ended."""
        self.manager.interrupt_kernel()
        content = self.client.get_shell_msg(timeout=120)["content"]
        return str(content.get("ename", content["status"]))

    def end(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()
        self.client.context.destroy(linger=0)


@pytest.fixture
def kernel(directory: Path, sockets: dict[str, Any]) -> Iterator[Kernel]:
    running = Kernel(directory, sockets)
    yield running
    running.end()


def ended(pids: str) -> None:
    """Wait until none of these processes exists."""
    assert len(pids.split()) == 8
    wait_until(lambda: not any(psutil.pid_exists(int(pid)) for pid in pids.split()), "their end")


def test_a_fleet_runs_in_a_cell_and_ends_with_it(directory: Path, sockets: dict[str, Any]) -> None:
    """No process outlives the cell."""
    import nbclient
    import nbformat
    from traitlets.config import Config

    new: Any = nbformat.v4
    notebook = new.new_notebook(cells=[new.new_code_cell(cell) for cell in (IMPORT, BLOCK)])
    resources = {"metadata": {"path": str(directory)}}
    config = Config(sockets)
    nbclient.NotebookClient(notebook, timeout=300, resources=resources, config=config).execute()
    pids, shape = notebook.cells[1].outputs[0].text.splitlines()
    assert shape == "(48, 64, 3)"
    ended(pids)


def test_stopping_a_cell_leaves_the_fleet_of_another_cell_running(kernel: Kernel) -> None:
    """Jupyter interrupts the kernel's whole process group."""
    kernel.run(f"{IMPORT}\n{START}")
    pids = kernel.run(PIDS)
    kernel.begin("print('begun')\nimport time; time.sleep(60)")
    assert kernel.stop() == "KeyboardInterrupt"
    assert kernel.run(PIDS) == pids
    kernel.run("fleet.wait(60); fleet.stop()")
    ended(pids)


def test_a_cell_serves_a_policy_until_it_is_stopped(kernel: Kernel, tmp_path: Path) -> None:
    """It leaves the broker in order, and the notebook goes on."""
    broker = tmp_path / "broker.yaml"
    broker.write_text("name: lab\nservices: {}\nrobots: []\ngateway: {enabled: false}\n")
    with Fleet(broker) as fleet:
        kernel.begin(SERVE)
        wait_until(lambda: replicas(fleet) == 1, "the replica")
        assert kernel.stop() == "ok"
        assert kernel.run("print('goes on')") == "goes on\n"
        wait_until(lambda: replicas(fleet) == 0, "its end")


def replicas(fleet: Fleet) -> int:
    (broker,) = fleet.status()["actors"]
    return int((broker["report"] or {}).get("replica_count", 0))


def test_a_fleet_ends_when_its_kernel_is_killed(kernel: Kernel) -> None:
    """However the kernel ends, no process is left."""
    kernel.run(f"{IMPORT}\n{START}")
    pids = kernel.run(PIDS)
    kernel.manager.shutdown_kernel(now=True)
    ended(pids)
