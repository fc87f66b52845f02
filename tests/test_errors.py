"""The tree of errors: one place, one base, names that end in Error."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
from pathlib import Path

import pytest

import holdfast
from holdfast import errors
from holdfast.errors import Fault, HoldfastError

ROOT = Path(holdfast.__file__).parent
ERRORS = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, Exception)
]


def _depth(line: str) -> int:
    return len(re.match(r"[│├└─ ]*", line)[0]) // 4  # type: ignore[index]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_an_error_is_of_the_tree_ends_in_error_and_says_when_it_is_raised(
    error: type[Exception],
) -> None:
    """`except HoldfastError` handles every error of ours."""
    assert issubclass(error, HoldfastError)
    assert error.__name__.endswith("Error")
    assert (error.__doc__ or "").strip()


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    """Base classes, and builtin types in parentheses, are what the module's docstring draws."""
    drawn = {}
    above: list[str] = []
    document = inspect.getdoc(errors) or ""
    for line in document[document.index("HoldfastError\n") :].split("\n\n")[0].splitlines():
        depth = _depth(line)
        entry = line.lstrip("│├└─ ")
        entry = re.sub(r"  +.*", "", entry)
        names = re.findall(r"(\w+Error)\b(?: \((\w+)\))?", entry)
        del above[depth:]
        base = next((each for each in reversed(above) if each.endswith("Error")), "Exception")
        for name, builtin in names:
            drawn[name] = [base, *([builtin] if builtin else [])]
        above.append(names[0][0] if names else entry)
    assert drawn == {
        error.__name__: [base.__name__ for base in error.__bases__] for error in ERRORS
    }


def test_an_exception_is_defined_elsewhere_only_for_use_in_its_own_module() -> None:
    """A public exception class lies in errors.py."""
    public = []
    builtins = {"Exception", "BaseException"}
    known = {error.__name__ for error in ERRORS}
    for path in ROOT.rglob("*.py"):
        place = path.relative_to(ROOT)
        if place.parts[0] in ("tests", "errors.py", "build") or place.parts[0].startswith("."):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
                continue
            bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
            if any(base in builtins | known or base.endswith("Error") for base in bases):
                public.append(f"{place}: {node.name}")
    assert not public


def test_the_module_of_errors_imports_no_part_of_holdfast() -> None:
    """Every module may import errors.py without a circle."""
    tree = ast.parse((ROOT / "errors.py").read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    assert not found


def test_a_faults_sentence_has_what_was_found_expected_and_to_do_in_that_order() -> None:
    """Parts that are empty leave no trace; the place and the line stand before the sentence."""
    fault = Fault("fps", "found 0", "more than 0", "use 30")
    assert fault.message == "found 0; expected more than 0; use 30"
    assert str(fault.within("$.robots[0]")) == f"$.robots[0].fps: {fault.message}"
    assert str(Fault("$", "no such file", remedy="write one", line=3)) == (
        "line 3: $: no such file; write one"
    )


def test_the_examples_in_the_module_of_errors_hold() -> None:
    """Their output is as shown."""
    done = doctest.testmod(errors)
    assert done.attempted >= 2
    assert done.failed == 0
