"""What is written in the package's modules, read as syntax trees."""

from __future__ import annotations

import ast
import importlib
import itertools
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from holdfast.tests.peers.environments import ROOT

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Source:
    """One module of the package; `path` is absolute."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree = ast.parse(path.read_text())

    def calls(self, *names: str) -> Iterator[ast.Call]:
        """Those of functions, methods and classes with these names, whatever stands before it."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and _last(node.func) in names:
                yield node

    def texts(self) -> Iterator[str]:
        """Every literal text, docstrings included."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value

    def words(self, value: ast.expr) -> Iterator[str]:
        """The texts that `value` may be. A name stands for what is assigned to it, in its function
        or in the module that it is imported from; a parameter for what each call in this module
        gives, a call of a function of this module for what that returns, and an attribute
        `reason` for none: it was a word elsewhere. A text may be formatted of such words and have
        `replace` called. AssertionError for any other expression, which would be missed."""
        match value:
            case ast.Constant(value=str(word)):
                yield word
            case ast.IfExp():
                yield from self.words(value.body)
                yield from self.words(value.orelse)
            case ast.Attribute(attr="reason"):
                pass
            case ast.Name():
                yield from self._named(value)
            case ast.Call(func=ast.Name(id=name)) if name in self._functions:
                yield from self._returned(self._functions[name])
            case ast.FormattedValue():
                yield from self.words(value.value)
            case ast.JoinedStr():
                each = [list(self.words(part)) for part in value.values]
                yield from map("".join, itertools.product(*each))
            case ast.Call(
                func=ast.Attribute(value=inner, attr="replace"),
                args=[ast.Constant(value=str(old)), ast.Constant(value=str(new))],
            ):
                yield from (word.replace(old, new) for word in self.words(inner))
            case _:
                raise AssertionError(
                    f"{self.path}:{value.lineno}: which words `{ast.unparse(value)}` may be is "
                    "unknown: write a literal, or teach tests/source.py this expression"
                )

    def _named(self, name: ast.Name) -> Iterator[str]:
        inside = self._around.get(name)
        if inside is not None and name.id in _parameters(inside):
            yield from self._given(inside, name.id)
        elif inside is not None and (assigned := list(_assigned(inside, name.id))):
            for value in assigned:
                yield from self.words(value)
        else:
            dotted = ".".join(("holdfast", *self.path.relative_to(ROOT).with_suffix("").parts))
            yield str(getattr(importlib.import_module(dotted), name.id))

    def _given(self, function: Function, parameter: str) -> Iterator[str]:
        """What the calls of `function` in this module give for `parameter`."""
        names = [each for each in _parameters(function) if each not in ("self", "cls")]
        calls = list(self.calls(function.name))
        assert calls, f"{self.path}: {function.name} is not called in its module"
        for call in calls:
            by_name = [each.value for each in call.keywords if each.arg == parameter]
            yield from self.words((by_name or call.args[names.index(parameter) :])[0])

    def _returned(self, function: Function) -> Iterator[str]:
        for node in ast.walk(function):
            if isinstance(node, ast.Return) and node.value is not None:
                yield from self.words(node.value)

    @cached_property
    def _functions(self) -> dict[str, Function]:
        return {node.name: node for node in ast.walk(self.tree) if isinstance(node, Function)}

    @cached_property
    def _around(self) -> dict[ast.AST, Function]:
        """By node the innermost function around it."""
        found: dict[ast.AST, Function] = {}
        for function in ast.walk(self.tree):  # outer ones come first
            if isinstance(function, Function):
                found |= dict.fromkeys(ast.walk(function), function)
        return found


def _last(name: ast.expr) -> str:
    """The last part of a dotted name."""
    return getattr(name, "id", "") or getattr(name, "attr", "")


def _parameters(function: Function) -> list[str]:
    given = function.args
    return [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]


def _assigned(function: Function, name: str) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        targets: list[ast.expr] = []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        elif isinstance(node, ast.Assign):
            targets = node.targets
        if name in map(_last, targets) and (value := getattr(node, "value", None)) is not None:
            yield value
