"""What every test has, and no linter checks: a contract of one line."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parent


def test_a_test_states_its_contract_in_a_docstring_of_one_line() -> None:
    """No test function is without one, and none has a longer one."""
    wrong = []
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                contract = ast.get_docstring(node)
                if not contract or "\n" in contract:
                    wrong.append(f"{path.relative_to(TESTS)}:{node.lineno} {node.name}")
    assert wrong == []
