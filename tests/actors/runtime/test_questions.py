"""Questions about a user's code that does not end, or ends the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.actors.runtime import questions

ASK = """
import sys
from holdfast.actors.driver import resolve
from holdfast.actors.runtime import questions
def respond(question):
    resolve.create(question.decode(), {}, sys.argv[1])
    return b"an answer"
questions.answer(respond, import_s=1.5, answer_s=2.0)
"""


def answered(folder: Path, driver: str) -> subprocess.CompletedProcess[str]:
    """What a process that is asked about `driver` says, with little patience."""
    return subprocess.run(
        [sys.executable, "-P", "-c", ASK, str(folder)],
        check=False,
        input=driver,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("code", "driver", "said"),
    [
        (
            "import time\ntime.sleep(99)",
            "slow:Arm",
            "importing slow ({}:2 in <module>) did not end",
        ),
        (
            "import time\nclass Arm:\n  def __init__(self):\n    time.sleep(99)",
            "slow:Arm",
            "({}:4 in __init__) did not end within 2 s",
        ),
    ],
)
def test_code_that_does_not_end_is_named_with_its_file_and_line(
    tmp_path: Path, code: str, driver: str, said: str
) -> None:
    """The process ends by itself, and its last line says what it waited for."""
    (tmp_path / "slow.py").write_text(code)
    done = answered(tmp_path, driver)
    assert done.stdout == ""
    assert said.format(tmp_path / "slow.py") in done.stderr.splitlines()[-1]


def test_what_a_process_waited_for_is_the_answer_of_the_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter is not said to have failed."""
    (tmp_path / "late.py").write_text(
        "import time\nfrom holdfast.actors.runtime import questions\n"
        "questions.answer(lambda _: time.sleep(99), import_s=0.5, answer_s=0.6)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said, why = questions.ask("late", b"", None)
    assert said == b""
    assert why == f"importing late ({tmp_path}/late.py:3 in <lambda>) did not end within 0.5 s"
