"""`actorctl keys`: tokens are made, listed and withdrawn; mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from holdfast.tools.cli.key_commands import app
from holdfast.transport.enrolment_tokens import load_token


def keys(directory: Path, *words: str) -> tuple[int, str]:
    """Exit status, and what was printed."""
    done = CliRunner().invoke(app, [*words, "--directory", str(directory)])
    return done.exit_code, done.output


def test_a_token_is_made_listed_and_withdrawn(tmp_path: Path) -> None:
    """Its secret is in its file, and not in what is printed."""
    keys(tmp_path, "new", "broker")
    code, said = keys(tmp_path, "token", "pick/*", "--uses", "3", "--lifetime", "7d")
    assert code == 0 and "replica:pick/* 3 times at broker until" in said
    token = load_token(tmp_path / "pick@any.token")
    _, listed = keys(tmp_path, "list")
    assert f"token {token.id}" in listed and "0 of 3 uses" in listed
    assert token.key.secret.decode() not in said + listed
    assert keys(tmp_path, "revoke", token.id) == (0, f"revoked: the token {token.id}\n")
    assert token.id not in keys(tmp_path, "list")[1]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["token", "r1", "--lifetime", "1y"], "--lifetime '1y', expected 90s, 30m, 1h or 7d"),
        (["token", "r1", "--uses", "2"], "2 uses, expected 1"),
        (["token", "r1", "--broker", "spare"], "secret keys of these brokers: none"),
        (["token", "operator"], "operator:operator does not enrol"),
        (["revoke", "r9"], "no key of 'r9', and no such token"),
        (["new", "t", "--role", "token"], "a token is made by"),
    ],
)
def test_a_mistake_is_named(words: list[str], found: str, tmp_path: Path) -> None:
    """Exit status other than 0, with what was found and what is right."""
    keys(tmp_path, "new", "broker")
    code, said = keys(tmp_path, *words)
    assert code != 0 and found in " ".join(said.split())
