"""What a port writes about its clients, however often something happens."""

from __future__ import annotations

import logging
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.clients.client_log import INTERVAL_NS, ClientLog


class Lines(logging.Handler):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2 * INTERVAL_NS)), max_size=60))
def test_of_each_kind_there_is_a_line_a_second_and_none_is_uncounted(
    events: list[tuple[str, int]],
) -> None:
    """The lines and the counts of those left out make all that happened, but for the last ones."""
    log, lines, now_ns = logging.Logger("port"), Lines(), 0  # noqa: LOG001 of this example
    log.addHandler(lines)
    said = ClientLog(log, lambda: now_ns)
    written: dict[str, list[int]] = {"a": [], "b": []}
    for kind, later_ns in events:
        now_ns += later_ns
        before = len(lines.said)
        said.info(kind, kind)
        if len(lines.said) > before:
            written[kind].append(now_ns)
    now_ns += INTERVAL_NS
    for kind, instants in written.items():
        assert all(b - a >= INTERVAL_NS for a, b in pairwise(instants))
        said.info(kind, kind)
        own = [line for line in lines.said if line.startswith(kind)]
        more = sum(int(line.split("(")[1].split()[0]) for line in own if "(" in line)
        assert len(own) + more == sum(each == kind for each, _ in events) + 1


def test_a_warning_has_its_level(caplog: pytest.LogCaptureFixture) -> None:
    """A refusal is more than a word in passing."""
    ClientLog(logging.getLogger("port")).warning("refused", "a client is refused")
    assert [(each.levelname, each.message) for each in caplog.records] == [
        ("WARNING", "a client is refused")
    ]
