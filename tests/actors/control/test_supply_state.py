"""The table of the fail-safe's states, row by row, and its diagram."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.actors.control import supply_state
from holdfast.actors.control.supply_state import MEANING, TABLE, SupplyEvent, SupplyState


def test_the_committed_diagram_is_that_of_the_table() -> None:
    """`python -m holdfast.actors.control.supply_state > actors/control/failsafe.md` renews it."""
    committed = Path(supply_state.__file__).with_name("failsafe.md").read_text()
    assert committed == supply_state.document()


def test_the_diagram_has_an_arrow_for_every_entry_of_the_table() -> None:
    """No transition is missing from the drawing."""
    drawn = supply_state.diagram()
    for state, row in TABLE.items():
        for event, following in row.items():
            arrow = next(x for x in drawn.splitlines() if f"{state} --> {following} :" in x)
            assert event in arrow.split(" : ")[1].split(", ")


def test_every_event_is_explained_and_every_state_has_its_row() -> None:
    """MEANING and TABLE are complete."""
    assert set(MEANING) == set(SupplyEvent)
    assert set(TABLE) == set(SupplyState)


@pytest.mark.parametrize("state", [s for s in SupplyState if s is not SupplyState.DEAD])
def test_a_final_event_leads_from_every_live_state_to_dead(state: SupplyState) -> None:
    """OFFLINE, CHANGED and REFUSED are in every row but that of DEAD."""
    for event in (SupplyEvent.OFFLINE, SupplyEvent.CHANGED, SupplyEvent.REFUSED):
        assert TABLE[state][event] is SupplyState.DEAD
