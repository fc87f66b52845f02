"""`python -m holdfast.tools.training`: train a policy."""

from __future__ import annotations

from .train import command

if __name__ == "__main__":
    command()
