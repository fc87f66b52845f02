"""A fleet file from disk or text: the fleet in it, or everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from ...errors import Fault, FleetError
from . import yaml_document, yaml_errors
from .checks import faults_of
from .file_paths import anchored
from .schema import FleetFile
from .yaml_document import Document

BEGIN = "`supervisor init` writes one to start from"


def load(path: Path) -> FleetFile:
    """The fleet in the file `path`. Raises FleetError with all that is wrong with it."""
    return loads(_text(path), str(path), path.resolve().parent)


def loads(text: str, source: str = "fleet.yaml", base: Path | None = None) -> FleetFile:
    """As `load`, from text; paths in it are relative to `base`."""
    fleet, parsed, wrong = _typed(text, source, base or Path.cwd())
    wrong += map(parsed.placed, faults_of(fleet))
    if wrong:
        raise FleetError(source, wrong)
    return fleet


def outline(path: Path) -> FleetFile:
    """The fleet in the file `path` as far as its types are right, unchecked: for looking at one
    part of it while another is wrong. Raises FleetError where there is none."""
    return _typed(_text(path), str(path), path.resolve().parent)[0]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        fault = Fault("$", "there is no such file", remedy=BEGIN)
        raise FleetError(str(path), [fault]) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise FleetError(str(path), [Fault("$", f"cannot be read: {reason}")]) from error


def _typed(text: str, source: str, base: Path) -> tuple[FleetFile, Document, list[Fault]]:
    """The fleet in `text`, the document that it was, and what has a wrong type."""
    parsed = yaml_document.parse(text)
    if parsed.faults and parsed.value is None:
        raise FleetError(source, list(parsed.faults))
    if parsed.value is None:
        raise FleetError(source, [Fault("$", "the file says nothing", remedy=BEGIN)])
    wrong, kept = yaml_errors.mismatches(parsed, FleetFile)
    wrong += parsed.faults
    # What converts without its wrong parts is checked further, so that one run reports everything.
    try:
        fleet = msgspec.convert(kept, FleetFile)
    except msgspec.ValidationError as error:
        raise FleetError(source, wrong or [Fault("$", str(error))]) from None
    return anchored(fleet, base), parsed, wrong


def placed(text: str, faults: Iterable[Fault]) -> list[Fault]:
    """`faults` that were found without the file, with their lines in its `text`."""
    parsed = yaml_document.parse(text)
    return list(map(parsed.placed, faults))
