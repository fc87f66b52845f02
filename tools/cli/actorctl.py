"""The program `actorctl`: `estop` at once, all else by way of `actorctl_command`.

The other commands are parsed by a library whose import takes longer than the whole emergency stop.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process."""
    if sys.argv[1:2] == ["estop"]:
        from .estop_command import main as estop

        raise SystemExit(estop(sys.argv[2:]))
    from .actorctl_command import main as everything_else

    everything_else()


if __name__ == "__main__":
    main()
