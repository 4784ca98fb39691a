"""A command run on a branch: its input, its output, its signals and its status are the caller's."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from flask_branches import signals, urls
from flask_branches.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import FrameType

    from flask_branches.branch import Branch

_VARIABLE = "DATABASE_URL"
_PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT")
_FROM_TERMINAL = ("SIGINT", "SIGQUIT", "SIGWINCH")


class _NotFound(click.ClickException):
    exit_code = 127


class _NotExecutable(click.ClickException):
    exit_code = 126


def variables(branch: Branch) -> dict[str, str]:
    """What leads a command to a branch: ``DATABASE_URL``, and ``DATABASE_URL_<BIND>`` for each bind."""
    binds = {_name(key): plain_url(url) for key, url in branch.binds.items()}
    return {_VARIABLE: plain_url(branch.url), **binds}


def require_names(keys: Iterable[str]) -> None:
    """Refuse two bind keys that one variable would stand for, before anything is made.

    Raises:
        ConfigurationError: with both.
    """
    names: dict[str, str] = {}
    for key in keys:
        other = names.setdefault(_name(key), key)
        if other != key:
            raise ConfigurationError(
                f"The binds {other!r} and {key!r} would both be {_name(key)} for a command: rename one of them."
            )


def _name(key: str) -> str:
    """The variable of a bind, with what a shell can read in it."""
    return f"{_VARIABLE}_{re.sub('[^A-Z0-9]', '_', key.upper())}"


def plain_url(url: str) -> str:
    """A branch's URL as other programs read it: without a driver, unless the environment's own has one."""
    made = urls.parsed(url)
    with_driver = "+" in os.environ.get(_VARIABLE, "").partition(":")[0]
    return urls.plain(made if with_driver else made.set(drivername=made.get_backend_name()))


def run(command: list[str], extra: Mapping[str, str]) -> int:
    """Run a command to its end, and give its status; 128 and the signal where one ended it, as a shell has it.

    Raises:
        click.ClickException: where it cannot be started, with the status that a shell gives.
    """
    try:
        # From before there is a process to pass them on to, and a handler, not SIG_IGN: that would be inherited.
        with signals.held(_PASSED_ON) as arrived:
            process = subprocess.Popen(command, env={**os.environ, **extra})
            _pass_on(process, arrived)
            status = process.wait()
    except OSError as error:
        kind = _NotFound if isinstance(error, FileNotFoundError) else _NotExecutable
        raise kind(f"{command[0]!r} cannot be run: {error.strerror}. Correct the command after --.") from None
    return status if status >= 0 else 128 - status


def _pass_on(process: subprocess.Popen[bytes], arrived: list[int]) -> None:
    def pass_on(number: int, _frame: FrameType | None) -> None:
        if signal.Signals(number).name in _FROM_TERMINAL and _in_foreground():
            return  # the terminal has sent it to the command too
        with suppress(ProcessLookupError):
            process.send_signal(number)

    for name in _PASSED_ON:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, pass_on)
    while arrived:
        pass_on(arrived.pop(), None)


def _in_foreground() -> bool:
    """Whether a terminal sends its signals to this process, and so to the command as well."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    finally:
        os.close(terminal)
