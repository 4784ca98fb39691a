"""The previous release's tests, run on the migrated branch: in a rolling deployment its code works on that schema."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from flask_branches import execution, urls
from flask_branches.branch import in_short
from flask_branches.errors import InvalidValue
from flask_branches.redaction import Redaction
from flask_branches.rehearsal import passwords
from flask_branches.rehearsal.report import OldTests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from flask_branches.branch import Branch

_LINES = 40
"""How many of the last lines are kept."""


def require(command: str) -> list[str]:
    """The words of a command, found out before any work is done for it.

    Raises:
        InvalidValue: for what a shell could not read either, and for a program that there is none of.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InvalidValue(f"The command {command!r} of --old-tests cannot be read: {error}.") from None
    if not words:
        raise InvalidValue("The command of --old-tests is empty: name the one that runs the previous release's tests.")
    if shutil.which(words[0]) is None:
        raise InvalidValue(f"The program {words[0]!r} of --old-tests is not found: install it, or write its path.")
    return words


def run(command: str, branch: Branch, timeout: timedelta) -> OldTests:
    """Run a command with ``DATABASE_URL`` and ``BRANCHES_URL`` leading to a branch that it does not migrate.

    What it says is shown as it comes, without passwords.

    Args:
        command: as a shell has it; no shell reads it.
        branch: whose schema its code is to work on.
        timeout: how long it may take.
    """
    hidden = Redaction(urls.parsed(each) for each in (branch.url, *branch.binds.values()))
    last: deque[str] = deque(maxlen=_LINES)
    began = time.perf_counter()
    process = subprocess.Popen(
        require(command),
        env={**os.environ, **_variables(branch)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,  # what it has started ends with it
    )
    with _ended_after(process, timeout) as ended:
        for line in process.stdout or ():
            last.append(passwords.in_urls(hidden.text(line)))
            click.echo(last[-1], nl=False, err=True)
        status = process.wait()
    if ended.is_set():
        last.append(f"It had not ended after {in_short(timeout)}, and was ended.\n")
    took = (time.perf_counter() - began) * 1_000
    return OldTests(command, status if status >= 0 else 128 - status, took, "".join(last))


def _variables(branch: Branch) -> dict[str, str]:
    found = execution.variables(branch)
    return {**found, "BRANCHES_URL": found["DATABASE_URL"], "BRANCHES_MIGRATE": "never"}


@contextmanager
def _ended_after(process: subprocess.Popen[str], timeout: timedelta) -> Iterator[threading.Event]:
    """End a process, and what it has started, when its time is up, and where the block is left before it has ended."""
    overdue = threading.Event()

    def end() -> None:
        overdue.set()
        _kill(process)

    timer = threading.Timer(timeout.total_seconds(), end)
    timer.start()
    try:
        yield overdue
    finally:
        timer.cancel()
        if process.poll() is None:
            _kill(process)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
