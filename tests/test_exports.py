"""What the package offers: every name of ours that its API takes, gives or raises."""

from __future__ import annotations

import ast
import builtins
import doctest
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

import holdfast
from holdfast import errors

ROOT = Path(holdfast.__file__).parent
OFFERED = {name: getattr(holdfast, name) for name in holdfast.__all__}


def _callables(value: Any) -> Iterator[Any]:
    """The function, or the class with its public methods and its constructor."""
    yield value
    if inspect.isclass(value):
        for name, member in vars(value).items():
            if name == "__init__" or not name.startswith("_"):
                found = member.fget if isinstance(member, property) else member
                found = getattr(found, "__func__", found)
                if inspect.isfunction(found):
                    yield found


def _ours(annotation: Any) -> Iterator[type]:
    """The classes of ours in an annotation."""
    if inspect.isclass(annotation) and annotation.__module__.startswith("holdfast."):
        yield annotation
    # A callable's parameters are a list.
    for each in annotation if isinstance(annotation, list) else get_args(annotation):
        yield from _ours(each)


def _hints(value: Any) -> dict[str, Any]:
    """The annotations, without those of private attributes."""
    if not inspect.isclass(value) and not inspect.isfunction(value):
        return {}
    return {name: hint for name, hint in get_type_hints(value).items() if name[0] != "_"}


def _classes() -> set[str]:
    """Names of the public classes of the package."""
    found = set()
    for path in ROOT.rglob("*.py"):
        first = path.relative_to(ROOT).parts[0]
        if first not in ("tests", "build") and not first.startswith("."):
            tree = ast.parse(path.read_text())
            found |= {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    return found


@pytest.mark.parametrize("name", OFFERED)
def test_an_offered_name_has_only_offered_types_in_its_annotations(name: str) -> None:
    """A caller can name every type that the API takes or gives."""
    value = OFFERED[name]
    named = {
        each for call in _callables(value) for hint in _hints(call).values() for each in _ours(hint)
    }
    missing = {each.__name__ for each in named if each not in OFFERED.values()}
    assert not missing


def test_a_docstring_of_the_api_names_only_offered_errors_and_types() -> None:
    """A caller can catch every error that a docstring says is raised, from `holdfast` itself."""
    classes, missing = _classes(), {}
    for name, value in OFFERED.items():
        for call in _callables(value):
            text = inspect.getdoc(call) or ""
            named = set(re.findall(r"\b[A-Z]\w*Error\b", text))
            named |= set(re.findall(r"`([A-Z]\w+)`", text)) & classes
            unknown = {
                each for each in named if each not in OFFERED and not hasattr(builtins, each)
            }
            if unknown:
                missing[f"{name}: {getattr(call, '__qualname__', name)}"] = unknown
    assert not missing


def test_every_error_is_offered() -> None:
    """The whole tree can be imported from `holdfast`."""
    tree = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert tree <= set(OFFERED)


def test_type_checkers_see_the_same_names() -> None:
    """The imports for type checkers name what is there at run time, from the same modules."""
    tree = ast.parse((ROOT / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname: "." + (node.module or "")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == holdfast._PLACES


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    """`import holdfast` is free: modules are imported when a name is used."""
    code = "import sys, holdfast; print(*(m for m in sys.modules if m.startswith('holdfast')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["holdfast"]


@pytest.mark.parametrize("module", holdfast._NAMES)
def test_the_examples_in_an_offered_module_run(module: str) -> None:
    """Each `>>>` in its docstrings gives what stands below it."""
    assert doctest.testmod(import_module(module, "holdfast")).failed == 0
