"""The labels that a robot's tags have in metrics."""

from __future__ import annotations

import re

_NOT_IN_LABELS = re.compile(r"[^A-Za-z0-9_]")


def tag_label(tag: str) -> str:
    """`tag_` and the tag's name, with `_` for each character that Prometheus allows in no label.

    >>> tag_label("site"), tag_label("cell-3 ö")
    ('tag_site', 'tag_cell_3__')
    """
    return f"tag_{_NOT_IN_LABELS.sub('_', tag)}"
