"""`neon-emulator serve` and `neon-emulator exec -- COMMAND`."""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from neon_emulator.signals import Ending, hand_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neon_emulator.server import Server

_PLANS = ("free", "launch", "scale")
_HISTORY_MIB = 1024
_SIGNALLED = 128
_EXTRA = "cryptography"  # the supervisor alone imports it, too late for one line of error

_plan = click.option(
    "--plan", type=click.Choice(_PLANS), default="scale", show_default=True, help="Whose limits count."
)
_delay = click.option(
    "--branch-delay",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="S",
    help="Seconds that a new branch takes to be ready.",
)
_history = click.option(
    "--history-size",
    type=click.IntRange(min=64),
    default=_HISTORY_MIB,
    show_default=True,
    metavar="MIB",
    help="How much of a root branch's past is kept, at most.",
)
_port = click.option(
    "--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="The API's port; by default a free one."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="questions", prog_name="neon-emulator")
def main() -> None:
    """Neon's management API on this machine: each branch is a real Postgres.

    Listens on the loopback interface alone, and needs neither an account nor a network.
    """


@main.command()
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".neon-emulator"),
    show_default=True,
    metavar="DIR",
    help="The folder of all data; a second start finds everything again.",
)
@_port
@_plan
@_delay
@_history
def serve(*, data: Path, port: int, plan: str, branch_delay: float, history_size: int) -> None:
    """Run the emulator until it is interrupted, and print the lines to export."""
    ending = Ending()
    with _running(data, port=port, plan=plan, branch_delay=branch_delay, history_size=history_size) as server:
        for name, value in server.environment().items():
            click.echo(f"export {name}={shlex.quote(value)}")
        click.echo("# The emulator is ready; Ctrl-C stops it.")
        ending.wait()


@main.command(name="exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--load",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.sql",
    help="SQL for the default branch, run by psql before the command; what pg_dump writes will do.",
)
@_port
@_plan
@_delay
@_history
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(
    *, command: tuple[str, ...], load: Path | None, port: int, plan: str, branch_delay: float, history_size: int
) -> None:
    """Run a command on an emulator of its own, with a project in it, and delete all in the end.

    The command finds NEON_API_HOST, NEON_API_KEY, NEON_PROJECT_ID and DATABASE_URL, that of the default branch, in its
    environment. The exit status is the command's.
    """
    ending = Ending()
    with _running(None, port=port, plan=plan, branch_delay=branch_delay, history_size=history_size) as server:
        environment = server.environment() | server.create_project()
        if load is not None:
            server.load(load, environment["DATABASE_URL"], ending)
        status = _run(command, os.environ | environment, ending)
    raise SystemExit(status)


@contextmanager
def _running(data: Path | None, *, port: int, plan: str, branch_delay: float, history_size: int) -> Iterator[Server]:
    if importlib.util.find_spec(_EXTRA) is None:
        raise click.ClickException(f"The emulator needs {_EXTRA}: install it with pip install 'questions[emulator]'.")
    from neon_emulator.home import Home
    from neon_emulator.server import SERVER_ERRORS, Server

    try:
        with _told():
            home = Home.make_throwaway() if data is None else Home.take(data)
        with home:
            with _told():
                server = Server(home, port=port, plan=plan, branch_delay=branch_delay, history_bytes=history_size << 20)
            server.start()
            try:
                yield server
            finally:
                server.close()
    except SERVER_ERRORS as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def _told() -> Iterator[None]:
    """Tell in one line what keeps the emulator from its folder, such as a full disk."""
    try:
        yield
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise click.ClickException(f"The emulator cannot start, {error.strerror}{where}.") from error


def _run(command: tuple[str, ...], environment: dict[str, str], ending: Ending) -> int:
    """Run a command to its end, and hand on to it what this process was asked to end by."""
    if (number := ending.first()) is not None:  # it came while the emulator was starting: the command never runs
        return _SIGNALLED + number
    try:
        process = subprocess.Popen(command, env=environment)
    except OSError as error:
        raise click.ClickException(f"{command[0]} cannot be run: {error.strerror}.") from error
    # What came before may have come before the command did, and whether the terminal told it is not known.
    with ending.answered(lambda number: hand_on(number, process), missed=process.terminate):
        status = ending.meanwhile(process.wait)
    return status if status >= 0 else _SIGNALLED - status
