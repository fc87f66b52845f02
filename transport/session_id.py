"""Session ids: numbers that name a robot's session in all records, of all runs.

An id is 53 random bits from the operating system, 0 excepted. n sessions hold two equal ids with a
probability of less than n² / 2⁵⁴: 6e-11 for a thousand, 6e-5 for a million (300 robots that each
open ten a day, for a year). A clock in the id would not make it smaller: sessions of different
instants are then distinct, and those of the same instant as much likelier to be equal.

53 bits, because every reader of JSON and of columns with gaps (JavaScript, pandas), which turns
numbers to float64, then has the exact id: RFC 7493, section 2.2.
"""

from __future__ import annotations

import secrets

SESSION_BITS = 53


def new_session_id() -> int:
    """An id that no other session has."""
    return secrets.randbits(SESSION_BITS) or new_session_id()
