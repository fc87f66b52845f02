"""Device files of this machine, serial ports and cameras: which there are, and who may use them."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Iterable
from pathlib import Path

PORTS = ("ttyACM*", "ttyUSB*", "ttyAMA*", "ttyTHS*")
"""Of serial adapters, and of the boards that robots are built around. A ttyS* is there on every
machine, whether it has a connector or not."""
CAMERAS = ("video*",)
DEV = Path("/dev")


def serial_ports(dev: Path = DEV) -> dict[Path, Path]:
    """The serial ports below `dev`: each by its stable name (`serial/by-id`) where it has one, and
    the device that this is now."""
    return _by_id(dev / "serial" / "by-id", _found(dev, PORTS))


def cameras(dev: Path = DEV) -> dict[Path, Path]:
    """The cameras below `dev`, likewise (`v4l/by-id`)."""
    return _by_id(dev / "v4l" / "by-id", _found(dev, CAMERAS))


def trouble(device: Path) -> tuple[str, str]:
    """Why `device` cannot be used by this user now, and what to do; two empty texts if it can."""
    try:
        found = device.stat()
    except (OSError, ValueError):
        kind, there = _alike(device)
        listed = ", ".join(map(str, there)) or f"no {kind}s at all"
        instead = f"; there are: {listed}" if kind else ""
        return f"there is no {device} now{instead}", "plug it in, or name another"
    if not stat.S_ISCHR(found.st_mode):
        return f"{device} is no device", "name the device's file"
    if not os.access(device, os.R_OK | os.W_OK):
        return f"{device} is not accessible to this user", remedy(found)
    return "", ""


def remedy(found: os.stat_result) -> str:
    """What makes a device file, by its stat, accessible to this user."""
    try:
        group = grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        group = str(found.st_gid)
    if group != "root" and found.st_mode & stat.S_IRGRP and found.st_mode & stat.S_IWGRP:
        return f"`sudo usermod -aG {group} $USER`, then log in anew"
    return "a udev rule with GROUP and MODE=0660 for it, then plug it in anew"


def _alike(device: Path) -> tuple[str, Iterable[Path]]:
    """What kind of device `device` is called like, and which of that kind there are."""
    if "/tty" in str(device) or "/serial/" in str(device):
        return "serial port", serial_ports()
    if "/video" in str(device) or "/v4l/" in str(device):
        return "camera", cameras()
    return "", ()


def _found(dev: Path, patterns: Iterable[str]) -> list[Path]:
    return sorted(path for pattern in patterns for path in dev.glob(pattern))


def _by_id(links: Path, devices: list[Path]) -> dict[Path, Path]:
    """Each device by the link in the directory `links` that leads to it, else by its own path."""
    try:
        named = {link.resolve(): link for link in sorted(links.iterdir(), reverse=True)}
    except OSError:
        named = {}
    return {named.get(device.resolve(), device): device for device in devices}
