"""Session ids: what holds them, and that they differ."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from holdfast.transport.bodies import Open
from holdfast.transport.session_id import SESSION_BITS, new_session_id


def test_ids_are_exact_in_every_type_that_holds_them() -> None:
    """int64 of a dataset and of the plan's memory, float64 of JavaScript and pandas, JSON."""
    for made in (1, (1 << SESSION_BITS) - 1, new_session_id()):
        assert int(np.int64(made)) == int(np.float64(made)) == json.loads(json.dumps(made)) == made


def test_ten_thousand_ids_use_all_bits_and_none_is_given_twice() -> None:
    """Two equal ones would be found here once in 180 million runs."""
    made = [new_session_id() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    assert all(0 < each < 1 << SESSION_BITS for each in made)
    assert np.bitwise_or.reduce(made) == (1 << SESSION_BITS) - 1


@pytest.mark.parametrize("session", [-1, 1 << SESSION_BITS, 1.5, "7"])
def test_an_open_with_an_id_that_is_none_is_refused(session: object) -> None:
    """Nothing gets into the records that they cannot hold."""
    names: dict[str, object] = {"robot": "r", "service": "s", "action_names": [], "state_names": []}
    asked = {**names, "cameras": {}, "fps": 30}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**asked, "session": session}, Open)
