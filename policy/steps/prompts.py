"""The instruction: a default one, and that of a dataset's task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .data_step import Data
from .key_paths import array_at, unfit


@dataclass(frozen=True)
class DefaultPrompt:
    """`prompt` where the data have none; None adds nothing. Source: openpi, `InjectDefaultPrompt`.

    >>> DefaultPrompt("fold the towel")({"state": 1})
    {'state': 1, 'prompt': 'fold the towel'}
    """

    prompt: str | None

    def __call__(self, data: Data) -> Data:
        if self.prompt is None or "prompt" in data:
            return data
        return {**data, "prompt": self.prompt}


@dataclass(frozen=True)
class PromptOfTask:
    """The instruction that a dataset's `task_index` means. Source: openpi,
    `PromptFromLeRobotTask`."""

    tasks: Mapping[int, str]

    def __call__(self, data: Data) -> Data:
        index = int(array_at(data, "task_index", self))
        if index not in self.tasks:
            there = ", ".join(map(str, self.tasks)) or "none"
            raise unfit(self, "task_index", index, f"one of the dataset's tasks: {there}")
        return {**data, "prompt": self.tasks[index]}
