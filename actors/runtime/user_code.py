"""Classes by name: built-in ones, and `module:Class` or `module:function` of the user's
own, importable from the directory of the fleet file.

Errors say what the user's own code did, with its file and line.
"""

from __future__ import annotations

import importlib
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FrameType, MethodType
from typing import Any

from ...errors import HoldfastError, RobotError
from .suggestions import closest
from .user_classes import constructor_missing, lacking, uncallable, unfinished

_PACKAGE = Path(__file__).parents[2]
_STDLIB = Path(sysconfig.get_paths()["stdlib"])


def load(
    name: str,
    built_in: Mapping[str, str],
    import_path: str | None = None,
    what: str = "driver",
    error_type: type[HoldfastError] = RobotError,
) -> Callable[..., Any]:
    """The class or function that `name` means, of a `what`; a user's module is looked for in
    `import_path`, the directory of fleet.yaml, too. Raises `error_type` when there is none."""
    where, colon, attribute = built_in.get(name, name).partition(":")
    if hint := _misspelt(name):
        raise error_type(f"there is no {what} {name!r}: did you mean {hint!r}?")
    if not colon or not where or not attribute:
        raise error_type(
            f"there is no {what} {name!r}: built in are {', '.join(built_in)}; your own is named "
            "module:Class or module:function"
        )
    if import_path is not None and import_path not in sys.path:
        sys.path.append(import_path)
    try:
        module = importlib.import_module(where)
    except (Exception, SystemExit) as error:
        raise error_type(
            f"{what} {name!r} cannot be imported: {blame(error)}; "
            f"{_remedy(error, where, import_path)}"
        ) from error
    try:
        found: Callable[..., Any] = getattr(module, attribute)
    except AttributeError:
        file = getattr(module, "__file__", where)
        own = [n for n, value in vars(module).items() if _made_in(where, value)]
        raise error_type(
            f"{what} {name!r}: {file} has no {attribute!r}; {closest(attribute, own)}"
        ) from None
    if not callable(found):
        raise error_type(f"{what} {name!r} is a {type(found).__name__}, expected a class")
    return found


def _misspelt(name: str) -> str:
    """`module:Class` for a name with the module's file, or with a dot for the colon; else empty."""
    where, colon, attribute = name.partition(":")
    if not colon:
        where, dot, attribute = name.rpartition(".")
        return f"{where}:{attribute}" if dot and where and attribute.isidentifier() else ""
    if not attribute or not ("/" in where or where.endswith(".py")):
        return ""
    file = Path(where)
    parts = (file.name,) if file.is_absolute() else file.parts
    return f"{'.'.join(parts).removesuffix('.py')}:{attribute}"


def _remedy(error: BaseException, module: str, import_path: str | None) -> str:
    """What to do about `error` of importing the user's `module`."""
    if not isinstance(error, ModuleNotFoundError):
        return "mend it there"
    if error.name != module.partition(".")[0]:
        return f"install it for {sys.executable}, which runs this"
    return (
        f"it is looked for in {import_path} and among the installed packages of {sys.executable}: "
        "mend the name, or put it there"
    )


def _made_in(module: str, value: object) -> bool:
    """Whether `value` is a public class or function that `module` itself defines."""
    own = getattr(value, "__module__", None) == module
    return own and callable(value) and not getattr(value, "__name__", "_").startswith("_")


def construct(
    name: str, make: Callable[..., Any], base: type, given: Mapping[str, Any], opener: str
) -> Any:
    """What the class or function `make` of the driver `name` makes of the options `given`, which
    touches no device: the method `opener` opens it. Raises RobotError when it is not finished as a
    `base`, or raises: its own RobotError as it is, another error with what to mend."""
    if why := unfinished(make, base) or lacking(make, given):
        raise RobotError(f"{name}: {why}")
    try:
        return make(**given)
    except RobotError:
        raise
    except (Exception, SystemExit) as error:
        shown = ", ".join(f"{key}={value!r}" for key, value in given.items())
        remedy = constructor_missing(make, base, given) or (
            "mend its `options` or its constructor, which has to work without the device "
            f"(`{opener}` opens it)"
        )
        raise RobotError(f"{name}({shown}) raised {blame(error)}; {remedy}") from error


def with_defaults(name: str, made: Any, base: type, needed: Iterable[str]) -> Any:
    """`made`, of the driver `name`, with the defaults of `base` for what it does not have: a class
    may have the methods without inheriting it. Raises RobotError when it lacks one of `needed`, and
    for one that cannot be called as that of `base`."""
    missing = [method for method in needed if not callable(getattr(made, method, None))]
    if missing:
        raise RobotError(
            f"{name} made a {type(made).__name__} without {', '.join(missing)}: it has to be a "
            f"holdfast.{base.__name__}"
        )
    if why := uncallable(made, base):
        raise RobotError(f"{name}: {why}")
    for attribute, default in vars(base).items():
        if attribute.startswith("_") or hasattr(made, attribute):
            continue
        bound = MethodType(default, made) if callable(default) else default
        try:
            setattr(made, attribute, bound)
        except AttributeError:
            raise RobotError(
                f"{name}: {type(made).__name__} has no {attribute}: inherit "
                f"holdfast.{base.__name__}"
            ) from None
    return made


def blame(error: BaseException) -> str:
    """`error` in a line, with the file, line and function of the user's code that raised it: the
    last one outside of this package, of installed ones and of Python's own, if there is one; else
    the last one of those."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    if isinstance(error, SystemExit):
        said = f"SystemExit by sys.exit({'' if error.code is None else repr(error.code)})"
    frames = _frames(error)
    own = [frame for frame in frames if not _of_library(frame)]
    return f"{said} {_place(own or frames)}".strip()


def place(error: BaseException) -> str:
    """The file, line and function of the user's own code that raised `error`, in brackets; empty if
    it was none of theirs."""
    return _place([frame for frame in _frames(error) if not _of_library(frame)])


def _place(frames: list[traceback.FrameSummary]) -> str:
    if not frames:
        return ""
    return f"({frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name})"


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    return _outside(traceback.extract_tb(error.__traceback__))


def waits_in(frame: FrameType | None) -> str:
    """What a thread with the innermost `frame` does in the user's own code: `importing my_arm`, or
    `Arm.__init__`'s file, line and function; empty if none of its frames is theirs."""
    stack = _outside(traceback.StackSummary.extract(traceback.walk_stack(frame)))
    own = [each for each in reversed(stack) if not _of_library(each)]
    importing = [each for each in own if each.name == "<module>"]
    what = f"importing {Path(importing[0].filename).stem} " if importing else ""
    return what + _place(own)


def _outside(stack: traceback.StackSummary) -> list[traceback.FrameSummary]:
    """Those of files outside of this package and of the import machinery, in their order."""
    return [
        frame
        for frame in stack
        for path in [Path(frame.filename)]
        if path.is_file() and _PACKAGE not in path.parents and "importlib" not in path.parts
    ]


def _of_library(frame: traceback.FrameSummary) -> bool:
    path = Path(frame.filename)
    return _STDLIB in path.parents or not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
