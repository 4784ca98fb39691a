"""Commands run as the server's account without blocking the loop, and files that belong to that account."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import secrets
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_postgres import locks
from local_postgres.account import clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local_postgres import Account

_SET_PDEATHSIG = 1
_TAIL_LINES = 20
_VERIFIER = re.compile(r"SCRAM-SHA-256\$[^'\"\s]*")


@dataclass(frozen=True)
class Finished:
    """What a command left: its status (negative: the signal that ended it), and what it wrote."""

    status: int
    output: str
    complaints: str


async def run(account: Account, *command: str | Path, text: str | None = None) -> Finished:
    """Run a command as an account and wait for its end; it does not outlive this process, nor the caller's task.

    Args:
        account: who runs it.
        command: a program and its arguments.
        text: what it reads from its standard input.
    """
    process = await spawn(account, *command, stdin=DEVNULL if text is None else PIPE, stdout=PIPE, stderr=PIPE)
    try:
        output, complaints = await process.communicate(None if text is None else text.encode())
    finally:
        await end(process)
    return Finished(process.returncode or 0, output.decode(errors="replace"), complaints.decode(errors="replace"))


async def spawn(
    account: Account,
    *command: str | Path,
    stdin: int = DEVNULL,
    stdout: int,
    stderr: int,
    ends_by: signal.Signals = signal.SIGKILL,
    pass_fds: tuple[int, ...] = (),
) -> Process:
    """Start a command as an account, out of reach of the caller's terminal, locale and `PG…` variables.

    Args:
        account: who runs it.
        command: a program and its arguments.
        stdin: its standard input; with `stdout` and `stderr` a descriptor, or a word of `subprocess`.
        stdout: its standard output.
        stderr: its standard error.
        ends_by: the signal that it gets when this process ends, however it ends; on Linux alone.
        pass_fds: the file descriptors that it inherits.
    """
    switch: dict[str, Any] = {} if account.is_own else {"user": account.uid, "group": account.gid, "extra_groups": []}
    return await asyncio.create_subprocess_exec(
        *(os.fspath(word) for word in command),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd="/",
        env=clean_environment(),
        start_new_session=True,
        umask=0o077,
        pass_fds=pass_fds,
        preexec_fn=_die_with(os.getpid(), ends_by),
        **switch,
    )


async def end(process: Process) -> None:
    """Kill a process that has not ended yet, and wait for its end."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def write_file(path: Path, content: str | bytes, account: Account) -> None:
    """Write an account's file in one go: a reader, and whoever comes after a crash, finds the old one or the new."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(locks.create_file(new, account.uid, account.gid), "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
    new.rename(path)


def tail(text: str) -> str:
    """The last lines of what a command said, on lines of their own, without passwords' verifiers."""
    return "".join(f"\n{line}" for line in _VERIFIER.sub("…", text).strip().splitlines()[-_TAIL_LINES:])


def _die_with(parent: int, ends_by: signal.Signals) -> Callable[[], None] | None:
    """What the child does before it becomes the command, as its new account: a change of account forgets the wish."""
    if sys.platform != "linux":
        return None
    libc = ctypes.PyDLL(None)

    def ask() -> None:
        libc.prctl(_SET_PDEATHSIG, int(ends_by))
        if os.getppid() != parent:
            os._exit(1)

    return ask
