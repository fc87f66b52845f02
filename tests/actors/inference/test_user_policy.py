"""A policy of the user's own by its name, and what is said of one that cannot be used."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.actors.inference import user_policy
from holdfast.actors.inference.policy_loading import configured_policy, warmed_up
from holdfast.actors.inference.served_session import message_of
from holdfast.actors.runtime.configs import InferenceConfig
from holdfast.errors import PolicyError, RefusedError

POLICIES = """
import numpy as np
from holdfast import Chunk, PolicySpec

SPEC = PolicySpec(model="m", revision="1", cameras=(), state_names=("a",), action_names=("a",),
                  chunk_size=5, fps=30)

class Swing:
    spec = SPEC
    def __init__(self, amplitude=1.0, checkpoint=None, weights=None):
        if amplitude < 0:
            raise ValueError("a negative amplitude")
        self.amplitude, self.checkpoint = amplitude, checkpoint
        if weights is not None:
            self.weights = np.full(3, weights, np.float32)
    def predict_chunk(self, batch):
        actions = np.full((5, 1), self.amplitude, np.float32)
        return [Chunk(model=actions, robot=actions) for _ in batch]

class Remembers(Swing):
    calls = 0
    def predict_chunk(self, batch):
        self.calls += 1
        actions = np.full((5, 1), self.calls, np.float32)
        return [Chunk(model=actions, robot=actions) for _ in batch]

class Named(Swing):
    checkpoint_hash = "of my own"

class Heavy(Swing):
    def __init__(self): raise MemoryError("it must not be made for a check")
    @classmethod
    def describe(cls): return SPEC

class Loose(Heavy):
    @classmethod
    def describe(cls): return {"chunk": 5}

class Unlucky(Swing):
    def __init__(self, error): raise {"gpu": RuntimeError("CUDA out of memory"), "net":
        ConnectionResetError("hub"), "file": FileNotFoundError("weights")}[error]

class Torn(Swing):
    def predict_chunk(self, batch):
        np.concatenate([np.zeros(2), np.zeros((2, 2))])

class Mute:
    spec = SPEC

class Narrow(Swing):
    def predict_chunk(self): pass

class Bare: pass

class Specless(Swing):
    spec = {"chunk": 5}

def make(amplitude): return Swing(2 * amplitude)

number = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    """The directory of a fleet file, with modules of a user's own."""
    (tmp_path / "my_policies.py").write_text(POLICIES)
    (tmp_path / "torn_policies.py").write_text("class Swing:\n  def (\n")
    yield str(tmp_path)
    for name in ("my_policies", "torn_policies"):
        sys.modules.pop(name, None)
    if str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


def made(folder: str, name: str, **given: Any) -> Any:
    return user_policy.create(f"my_policies:{name}", given, folder)


def test_a_class_is_called_with_its_options_and_the_checkpoint(folder: str) -> None:
    """`device` and `dtype` are keywords too where they are not the usual ones."""
    given = user_policy.keywords({"amplitude": 4.0}, "/runs/x", "cpu", "float32")
    assert given == {"amplitude": 4.0, "checkpoint": "/runs/x"}
    assert user_policy.keywords({}, None, "cuda:1", "bfloat16") == {
        "device": "cuda:1",
        "dtype": "bfloat16",
    }
    policy = made(folder, "Swing", **given)
    assert policy.predict_chunk([None])[0].robot.tolist() == [[4.0]] * 5
    assert policy.spec.chunk_size == 5


def test_a_function_may_make_the_policy(folder: str) -> None:
    """What it returns is the policy."""
    assert made(folder, "make", amplitude=3.0).predict_chunk([None])[0].robot[0, 0] == 6.0


def test_a_policy_is_named_by_its_weights_and_options(folder: str) -> None:
    """Equal ones have the same hash; other weights, options or code have another."""

    def hashed(name: str = "Swing", **given: Any) -> str:
        return str(made(folder, name, **given).checkpoint_hash)

    hashes = [hashed(), hashed(amplitude=2.0), hashed(weights=1), hashed(weights=2)]
    assert len(set(hashes)) == 4
    assert hashes == [hashed(), hashed(amplitude=2.0), hashed(weights=1), hashed(weights=2)]
    assert hashed(checkpoint="/a") == hashed(checkpoint="/b"), "a path is no weight"
    assert hashed("Named", amplitude=3.0) == "of my own"
    (Path(folder) / "my_policies.py").write_text(POLICIES + "# edited\n")
    assert hashed() != hashes[0]


def test_a_class_that_loads_long_describes_itself_without_being_made(folder: str) -> None:
    """`describe` gets the keywords of the constructor."""
    assert user_policy.describe("my_policies:Heavy", {}, folder).model == "m"
    with pytest.raises(PolicyError, match=r"what `describe` returned is \{'chunk': 5\}, expected"):
        user_policy.describe("my_policies:Loose", {}, folder)
    assert user_policy.describe("my_policies:Swing", {}, folder).model == "m"


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("no_policies:Swing", {}, r"policy 'no_policies:Swing' cannot be imported.*looked for in"),
        ("my_policies:Swung", {}, r"policy .*my_policies.py has no 'Swung'"),
        ("my_policies:number", {}, "is a int, expected a class"),
        (":Swing", {}, "there is no policy .:Swing.: built in are flow"),
        ("my_policies:Swing", {"speed": 1}, "raised TypeError: .*'speed'"),
        ("my_policies:Swing", {"amplitude": -1}, r"negative amplitude \(.*my_policies.py:12 in __"),
        ("my_policies:Mute", {}, "made a Mute without predict_chunk.*add it"),
        ("my_policies:Narrow", {}, r"predict_chunk\(\) cannot be called as predict_chunk\(batch\)"),
        ("my_policies:Bare", {"speed": 1}, r"ChunkPolicy and define __init__\(self, speed\)"),
        ("my_policies.py:Swing", {}, "no policy .*: did you mean 'my_policies:Swing'"),
        ("my_policies:Specless", {}, r"`spec` is \{'chunk': 5\}, expected a holdfast.PolicySpec"),
        ("torn_policies:Swing", {}, r"SyntaxError: .*\(.*torn_policies.py:2\)"),
    ],
)
def test_an_unusable_policy_is_named_with_the_file_and_line_of_the_users_code(
    folder: str, name: str, given: dict[str, Any], said: str
) -> None:
    """In one line: what was found, and where."""
    with pytest.raises(PolicyError, match=said) as refused:
        user_policy.create(name, given, folder)
    assert "\n" not in str(refused.value)


def test_an_option_that_the_service_has_a_key_for_is_refused() -> None:
    """Both would be the same keyword."""
    with pytest.raises(PolicyError, match="options: checkpoint: the service has keys of its own"):
        user_policy.keywords({"checkpoint": "x"}, "y")


def config(folder: str, name: str, **options: Any) -> InferenceConfig:
    return InferenceConfig(
        service="swing",
        replica=0,
        brokers=(),
        policy=f"my_policies:{name}",
        options=options,
        import_path=folder,
    )


def test_a_replica_probes_the_users_policy_as_any_other(folder: str) -> None:
    """One that remembers serves one robot at a time, whatever its spec says."""
    modes = {}
    for name in ("Swing", "Remembers"):
        wanted = config(folder, name)
        runner = warmed_up(configured_policy(wanted), wanted, None, lambda: None)
        modes[name] = runner.mode
        assert np.isfinite(runner.times[1])
    assert modes == {"Swing": "shared", "Remembers": "exclusive"}
    with pytest.raises(RefusedError, match="negative amplitude"):
        configured_policy(config(folder, "Swing", amplitude=-1))


@pytest.mark.parametrize(
    ("error", "expected"), [("gpu", PolicyError), ("net", PolicyError), ("file", RefusedError)]
)
def test_a_constructor_that_fails_for_want_of_a_device_is_tried_again(
    folder: str, error: str, expected: type[Exception]
) -> None:
    """A refusal ends the replica until a person restarts it; other errors restart it."""
    with pytest.raises(
        expected, match=r"Unlucky\(error='\w+'\) raised .*my_policies.py:\d+ in __init__"
    ):
        configured_policy(config(folder, "Unlucky", error=error))


def test_an_error_of_the_policy_is_told_with_the_users_file_and_line(folder: str) -> None:
    """Of the user's code, not of the library that it calls: at the warm-up and at a request."""
    wanted = config(folder, "Torn")
    place = r"\(.*my_policies.py:\d+ in predict_chunk\)"
    with pytest.raises(RefusedError, match=rf"failed with ValueError: all the input .*{place} at"):
        warmed_up(configured_policy(wanted), wanted, None, lambda: None)
    policy = configured_policy(wanted)
    with pytest.raises(ValueError, match="all the input") as failed:
        policy.predict_chunk([policy.spec.example()])
    assert re.search(rf"all the input.* {place}$", message_of(failed.value))
