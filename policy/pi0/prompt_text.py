"""The instruction of a request as the text that the models were trained to read.

| | text |
|---|---|
| π0 of openpi | the task, then a newline that is tokenized apart |
| π0 of LeRobot | the task as it is, with a newline at its end |
| π0.5 | `Task: T, State: 12 0 7;` newline `Action: ` |
| π0-FAST | `Task: T, State: 12 0 7;` newline |

The task of all but LeRobot's π0 is without spaces around it, underscores and newlines; that of
openpi's π0-FAST is in lower case and keeps its newlines. After the text of π0-FAST, LeRobot begins
a second time. π0.5 reads the state as a number for each value, unless it was trained without
(openpi's `discrete_state_input`, which is off for LIBERO); it then has the text of openpi's π0.

Sources: openpi 15a9616, `src/openpi/models/tokenizer.py`; lerobot 0.6.1,
`policies/pi0/processor_pi0.py`, `policies/pi05/processor_pi05.py`,
`policies/pi0_fast/modeling_pi0_fast.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .architecture import Family, Origin
from .word_pieces import WordPieces

_EDGES = np.linspace(-1.0, 1.0, 257)[:-1]
_log = logging.getLogger(__name__)


def state_numbers(state: NDArray[Any]) -> NDArray[Any]:
    """For each of the values [S], one of 256 numbers, evenly from -1 to 1; -1 below, 255
    above.

    >>> state_numbers(np.array([-2.0, -1.0, 0.0, 1.0])).tolist()
    [-1, 0, 128, 255]
    """
    numbers: NDArray[Any] = np.digitize(state, _EDGES) - 1
    return numbers


def texts_of(
    family: Family, origin: Origin, task: str, state: NDArray[Any] | None
) -> tuple[str, ...]:
    r"""The text of a request, in the parts that are tokenized apart. `state` [S] is normalized and
    not padded, and None where the model does not read it.

    >>> texts_of("pi05", "openpi", "pick_the cup", np.zeros(2))
    ('Task: pick the cup, State: 128 128;\nAction: ',)
    """
    if family == "pi0" and origin == "lerobot":
        return (task if task.endswith("\n") else f"{task}\n",)
    if (family, origin) == ("pi0_fast", "openpi"):
        clean = task.lower().strip().replace("_", " ")
    else:
        clean = task.strip().replace("_", " ").replace("\n", " ")
    if state is None:
        return clean, "\n"
    numbers = " ".join(map(str, state_numbers(state)))
    if family == "pi0_fast":
        # Its answer begins with the text that π0.5 has in its prompt: `fast_model`.
        return (f"Task: {clean}, State: {numbers};\n",)
    return (f"Task: {clean}, State: {numbers};\nAction: ",)


def tokens_of(pieces: WordPieces, texts: Sequence[str], limit: int) -> list[int]:
    """The tokens of a prompt, at most `limit`: as in training, the rest of a longer one is cut,
    with a warning in the log."""
    first, *others = texts
    tokens = [*pieces.begun(first), *(token for text in others for token in pieces.encode(text))]
    if len(tokens) > limit:
        _log.warning(
            "a prompt of %d tokens is cut to the model's %d: %.80r", len(tokens), limit, texts[0]
        )
    return tokens[:limit]
