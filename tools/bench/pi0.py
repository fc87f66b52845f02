"""How long π0.5 or π0 takes for a chunk: by batch, views, Euler steps and way of running.

    actorctl bench pi0 [--quick] [--json] [--family pi05] [--size small] [--lerobot-python PATH]
        [--openpi FOLDER] [--openpi-python PATH] [--compiled]

The weights are random; the arithmetic is that of a checkpoint. `small` is 64 wide and 4 layers
deep, in float32 on one thread of a CPU. `published` has the published sizes, in bfloat16 on a GPU,
with as many layers as its memory holds. A call takes one batch from images to actions on the host.
Ours includes the transfer of the inputs to the device; the peer's inputs are there before.

A case is `WAY/VIEWSv-STEPSs/batch-N`. The ways are `eager`, on a GPU `graph` and `float8` (a graph
whose perceptrons multiply in 8 bits), and those of the peers, each their own model in their own
interpreter: `lerobot`, eager, as it serves, and `openpi`, its PyTorch files from a folder of its
repository, eager. openpi's model always sees three images, of which it masks those that are not
there. With --compiled, `compiled` (as `options: {compile: on}` serves, on a CPU) and
`openpi-compiled` (by torch.compile, as openpi serves) too, for two views, ten steps and batches
of 1 and 8 alone, because each shape takes minutes to compile; what was compiled before comes from
torch's cache.

Prompts have 20 tokens. Ours pads them to 32, compiled to 64 and in a graph to the model's most
(200 for π0.5, 48 for π0); the peers to the most. The tokens before the actions of the small π0.5,
with two views: 18 + 32 = 50 eager and 82 compiled, 218 of LeRobot, 27 + 200 = 227 of openpi; at the
published sizes 544 and 576, 712 and 968. So much of a ratio is padding.

All cases of a shape run in turn. `per_sample_p50` is p50 / N. `of_PEER` is the median over the
turns of that time of a sample, divided by what the peer's batch of 1 took in the same turn, with
the tenth and the ninetieth percentile.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ...errors import PolicyError
from ...policy.pi0.architecture import FlowFamily
from . import figures
from .peer_program import PeerProgram, importable, interpreter
from .peers.openpi_files import NETWORK
from .pi_sizes import small

WARM_UP = 3
BATCHES = (1, 2, 4, 8, 16)
WAYS: dict[str, dict[str, Any]] = {
    "eager": {"graphs": "off"},
    "graph": {},
    "float8": {"perceptrons": "float8"},
    "compiled": {"compile": "on"},
}
ON_GPU, ON_CPU = ("eager", "graph", "float8"), ("eager", "compiled")
COMPILED = (2, 10)
"""The views and the steps of compiled cases."""

COMPILED_BATCHES = (1, 8)
"""What openpi's files are compiled to for a batch of 8 fails for one of 2 (torch 2.13)."""

PEERS = ("lerobot", "openpi", "openpi-compiled")
Case = Callable[[], float]


def main() -> int:
    parser = figures.parser("pi0", __doc__, "two views, ten steps, batches of 1 and 8, few rounds")
    parser.add_argument("--family", choices=get_args(FlowFamily), default="pi05", help="(pi05)")
    parser.add_argument(
        "--size", choices=("small", "published"), help="published on a GPU, else small"
    )
    parser.add_argument("--device", help="cuda or cpu; without it, what there is")
    parser.add_argument("--rounds", type=figures.count, help="calls of each case (30, or 10)")
    parser.add_argument("--lerobot-python", metavar="PATH", help="one that has LeRobot 0.6")
    parser.add_argument(
        "--openpi", metavar="FOLDER", type=_openpis, help="a checkout of openpi's repository"
    )
    parser.add_argument(
        "--openpi-python", metavar="PATH", help="one that has openpi's packages (FOLDER/.venv)"
    )
    parser.add_argument(
        "--compiled", action="store_true", help="also by torch.compile (minutes a shape)"
    )
    options = parser.parse_args()
    if find_spec("torch") is None:
        parser.error("torch is not installed: pip install 'holdfast[policy,pi0]'")
    with ExitStack() as stack:
        report = Pi0Bench(options, stack).report()
    print(json.dumps(report) if options.json else _text(report))
    return 0


def _openpis(text: str) -> Path:
    """The type of --openpi."""
    if not (Path(text) / NETWORK).is_file():
        raise argparse.ArgumentTypeError(f"{text} is no folder of openpi's: it has no {NETWORK}")
    return Path(text).resolve()


class Pi0Bench:
    """The cases of one device."""

    def __init__(self, options: argparse.Namespace, stack: ExitStack) -> None:
        import torch

        torch.set_num_threads(1)  # as replicas do
        self._options = options
        self._device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._gpu = self._device.startswith("cuda")
        self._size = options.size or ("published" if self._gpu else "small")
        self._left_out: list[str] = []
        self._about: dict[str, Any] = {"device": self._device, "size": self._size}
        self._path = importable(
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hf-"))) / "imports"
        )
        if not self._gpu:
            needs = [way for way in ON_GPU if way not in ON_CPU]
            self._left_out += [f"{way}/*: needs a GPU" for way in needs]
        wanted = PEERS if options.compiled else PEERS[:2]
        self._peers = {name: peer for name in wanted if (peer := self._started(name, stack))}

    def report(self) -> dict[str, Any]:
        """Every case that can run here."""
        rows: list[dict[str, Any]] = []
        quick = self._options.quick
        for views, steps in [(2, 10)] if quick else product((1, 2, 3), (5, 10)):
            rows += self._measured(views, steps, (1, 8) if quick else BATCHES)
        where = {**figures.machine(), **self._about}
        return {"bench": "pi0", "machine": where, "rows": rows, "left_out": self._left_out}

    def _measured(self, views: int, steps: int, batches: tuple[int, ...]) -> list[dict[str, Any]]:
        cases = {
            f"{way}/{views}v-{steps}s/batch-{batch}": case
            for way, of_batch in self._ways(views, steps)
            for batch, case in (
                (batch, of_batch(batch))
                for batch in batches
                if batch in COMPILED_BATCHES or not way.endswith("compiled")
            )
        }
        for name in [name for name in cases if name.startswith("compiled/")]:
            try:
                cases[name]()  # Compiles.
            except PolicyError as error:
                self._left_out.append(f"{name}: {error}")
                del cases[name]
        rounds = self._options.rounds or (10 if self._options.quick else 30)
        took: dict[str, list[float]] = {name: [] for name in cases}
        for turn in range(-WARM_UP, rounds):
            for name, once in cases.items():
                took_ms = once()
                if turn >= 0:
                    took[name].append(took_ms)
        rows = []
        for name, values in took.items():
            batch = int(name.rpartition("-")[2])
            row = figures.row(name, values, "ms")
            row["per_sample_p50"] = round(row["p50"] / batch, 3)
            for peer in (p for p in self._peers if self._measures(p, views, steps)):
                alone = took[f"{peer}/{views}v-{steps}s/batch-1"]
                # Of the same turn: what else the machine does then is in both.
                of = np.percentile(np.divide(values, alone) / batch, (50, 10, 90)).round(3).tolist()
                row[f"of_{peer}"], row[f"of_{peer}_p10_p90"] = of[0], of[1:]
            rows.append(row)
        return rows

    def _measures(self, way: str, views: int, steps: int) -> bool:
        """Whether there are cases of `way` in this shape."""
        compiled = way.endswith("compiled")
        return not compiled or (self._options.compiled and (views, steps) == COMPILED)

    def _ways(self, views: int, steps: int) -> Iterator[tuple[str, Callable[[int], Case]]]:
        ways = [
            way for way in (ON_GPU if self._gpu else ON_CPU) if self._measures(way, views, steps)
        ]
        for way in ways:
            try:
                yield way, self._ours(way, views, steps)
            except PolicyError as error:
                self._left_out.append(f"{way}/*: {error}")
        for name, peer in self._peers.items():
            if self._measures(name, views, steps):
                yield name, partial(_asked, peer, f"{views} {steps}")

    def _ours(self, way: str, views: int, steps: int) -> Callable[[int], Case]:
        import torch

        from ...policy.pi0.pi_options import PiOptions
        from .random_pi import RandomPi, fitting

        family = self._options.family
        if self._size == "small":
            architecture, dtype = small(family), torch.float32
        else:
            free, _ = torch.cuda.mem_get_info(self._device) if self._gpu else (1 << 40, 0)
            architecture, dtype = fitting(family, free), torch.bfloat16
        options = PiOptions(prefix="none", euler_steps=steps, **WAYS[way])
        policy = RandomPi(architecture, self._device, dtype, views, options)
        self._about["model"] = f"{policy.spec.model}, {architecture.language.layers} layers"

        def of_batch(batch: int) -> Case:
            given = [policy.spec.example(seed) for seed in range(batch)]
            return figures.timed(lambda: policy.predict_chunk(given))

        return of_batch

    def _started(self, name: str, stack: ExitStack) -> PeerProgram | None:
        try:
            python, *folder = [self._lerobot()] if name == "lerobot" else self._openpi()
            words = [*folder, self._options.family, self._size, self._device]
            if folder:
                words.append("compiled" if name == "openpi-compiled" else "eager")
            program = f"{name.partition('-')[0]}_pi0"
            peer = stack.enter_context(PeerProgram(python, program, self._path, *words))
            peer.ready()
        except (ModuleNotFoundError, RuntimeError) as error:
            reason = str(error).strip().splitlines() or ["it ended without a word"]
            self._left_out.append(f"{name}/*: {reason[-1]}")
            return None
        return peer

    def _lerobot(self) -> str:
        named = self._options.lerobot_python
        return interpreter(named, "lerobot-0.6", "lerobot", "--lerobot-python")

    def _openpi(self) -> list[str]:
        """The interpreter, and the folder of the files."""
        folder = self._options.openpi
        if folder is None:
            raise ModuleNotFoundError("its model is on no registry: name a checkout by --openpi")
        own = folder / ".venv/bin/python"
        named = self._options.openpi_python or (str(own) if own.is_file() else None)
        python = interpreter(named, "openpi-torch", "transformers", "--openpi-python")
        return [python, str(folder)]


def _asked(peer: PeerProgram, shape: str, batch: int) -> Case:
    return lambda: peer.once(f"{shape} {batch}")


def _text(report: dict[str, Any]) -> str:
    left_out = (f"left out: {what}" for what in report["left_out"])
    return "\n".join([figures.text(report), *left_out])


if __name__ == "__main__":
    figures.run(main)
