"""The interface of a policy."""

from __future__ import annotations

import doctest

from holdfast.policy import base


def test_the_examples_in_the_docstrings_run() -> None:
    """Each exported class has an example, and every example gives what it shows."""
    result = doctest.testmod(base)
    assert result.attempted >= 8 and result.failed == 0
