"""`python -m holdfast`: which commands there are."""

from __future__ import annotations

from .actors.runtime.release import release

COMMANDS = f"""\
holdfast {release()}

  supervisor init                  write a first fleet.yaml
  supervisor check fleet.yaml      say what is wrong with it
  supervisor start fleet.yaml      start the fleet; Ctrl-C stops it
  supervisor stop                  stop it from elsewhere
  supervisor reload fleet.yaml     make the running fleet the one in the file
  actorctl status                  every actor and robot; `actorctl top` goes on showing them
  actorctl logs -f                 what all of them say
  actorctl --help                  all the rest: pause, restart, kill, capacity, doctor, bench ...
  holdfast-train                   train a policy on demonstrations from the simulator

Each has --help. In a program: from holdfast import Fleet, RemotePolicy, serve\
"""


if __name__ == "__main__":
    print(COMMANDS)
