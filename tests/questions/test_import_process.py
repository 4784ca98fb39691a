"""`flask questions import` as a process: on a terminal, and interrupted."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.branches(isolation="branch")

ROW = json.dumps({"title": "Why?", "description": "Because."}).encode() + b"\n"


@pytest.fixture
def command(process_settings: None) -> list[str]:
    """`flask questions import`, for a process of its own on the test's database."""
    return [sys.executable, "-m", "flask", "--app", "questions", "questions", "import"]


def test_on_a_terminal_the_progress_is_shown(working_directory: Path, command: list[str], stored: Any) -> None:
    """A count and a bar while rows are read, gone when the last one is in; refused rows stay."""
    (working_directory / "q.jsonl").write_bytes(ROW * 1_000 + b"?\n")
    before = len(stored())
    ours, theirs = pty.openpty()
    with subprocess.Popen([*command, "q.jsonl", "--skip-invalid"], stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = b"".join(iter(partial(_read_terminal, ours), b"")).decode()
        assert process.stdout
        assert process.stdout.read() == b"1000 questions imported. 1 refused.\n"
    os.close(ours)

    assert "1,000 rows" in shown
    assert "line 1001: Not JSON: Expecting value." in shown
    assert shown.endswith("\x1b[2K")
    (refused,) = (line for line in re.split(r"\r\n|\r|\x1b\[2K", shown) if "line 1001" in line)
    assert refused == "line 1001: Not JSON: Expecting value."
    assert len(stored()) == before + 1_000


def _read_terminal(terminal: int) -> bytes:
    """What the other side writes; nothing when it is gone, which Linux tells by an error."""
    try:
        return os.read(terminal, 65_536)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""


@pytest.mark.usefixtures("interruptible")
def test_interrupting_an_import_leaves_the_database_as_it_was(
    working_directory: Path, command: list[str], stored: Any
) -> None:
    """Ctrl-C in the middle of a file that never ends: what was sent is taken back, and no traceback is shown."""
    before = stored()
    with subprocess.Popen(
        [*command, "-", "--format", "jsonl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        # More than every buffer on the way holds: once it is written, rows have reached the database.
        for _ in range(20):
            process.stdin.write(ROW * 500)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)

    assert process.returncode == 1
    assert b"Aborted!" in error
    assert b"Traceback" not in error
    assert stored() == before
