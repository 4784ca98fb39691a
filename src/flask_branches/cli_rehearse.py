"""``flask branches rehearse``."""

from __future__ import annotations

import math
import re
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import click
from flask.cli import with_appcontext

from flask_branches import signals
from flask_branches.errors import BranchesError

if TYPE_CHECKING:
    from flask_branches.rehearsal.report import Report

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) *(bytes|[kMGT]?B?)", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "bytes": 1, "kb": 2**10, "k": 2**10, "mb": 2**20, "m": 2**20}
_UNITS |= {"gb": 2**30, "g": 2**30, "tb": 2**40, "t": 2**40}


class _NotRehearsed(click.ClickException):
    """To a pipeline, 1 means that the migrations are not safe."""

    exit_code = 2


class _Interrupted(click.ClickException):
    """As a shell has it for a program that was ended by Ctrl-C."""

    exit_code = 130


def _size(text: str) -> int:
    """A number of bytes, as Postgres' settings have it: ``100MB``."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is not a size: write for example 100MB or 2GB.")
    number = float(match[1]) * _UNITS[match[2].lower()]
    if math.isinf(number):
        raise click.BadParameter(f"{text!r} is larger than any table: write for example 100MB or 2GB.")
    return int(number)


@click.command()
@click.option("--parent", metavar="NAME", help="What the branch is made of: main (the default), or a branch.")
@click.option("--at", metavar="TIME|LSN", help="A past moment with a zone, or a log position; only Neon has those.")
@click.option("--to", metavar="REVISION", default="head", show_default=True, help="The revision to go to.")
@click.option(
    "--report",
    "reports",
    metavar="FILE",
    multiple=True,
    help="Write it to a file too: .html, .md or .json; repeatable.",
)
@click.option(
    "--max-lock",
    metavar="MS",
    type=click.FloatRange(min=0),
    default=1000,
    show_default=True,
    help="For how many milliseconds readers or writers of a table may wait.",
)
@click.option(
    "--max-rewrite",
    metavar="SIZE",
    type=_size,
    default="100MB",
    show_default=True,
    help="How large a table may be that is rewritten.",
)
@click.option(
    "--timeout", metavar="DURATION", default="30m", show_default=True, help="How long all may take: 90s, 30m."
)
@click.option("--old-tests", metavar="COMMAND", help="Run the previous release's tests on the migrated branch.")
@click.option("--counts/--no-counts", default=True, help="Count the rows of each table.")
@click.option("--drift/--no-drift", default=True, help="Compare the models with the migrated schema.")
@click.option("--undo/--no-undo", default=True, help="Undo each revision, and do it again.")
@click.option("--keep", is_flag=True, help="Keep the branch until it expires.")
@click.option("--force", is_flag=True, help="End idle sessions that are in the way; never those of main.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
@with_appcontext
def rehearse(
    ctx: click.Context, /, *, reports: tuple[str, ...], max_lock: float, max_rewrite: int, as_json: bool, **options: Any
) -> None:
    """Run the pending migrations on a branch of the real data, and tell what they would do to production.

    What they lock, and for how long; what they rewrite, build and read; which rows are lost; whether they can be
    undone; whether the models agree; whether the previous release still works. Nothing is done to the parent.

    The status is 0 where that is safe; 1 where a limit is passed, rows are lost, models and schema drift apart, or the
    old tests fail; 2 where it could not be rehearsed, or a report not be written; 130 where it was interrupted,
    143 or 129 where that was by SIGTERM or SIGHUP.
    """
    from flask_branches.rehearsal import shown  # which brings Alembic

    try:
        for path in reports:
            shown.require_format(path)
        found = _rehearsed(max_lock, max_rewrite, options)
    except BranchesError as error:
        raise _NotRehearsed(str(error)) from None
    _show(found, as_json=as_json)
    _write(found, reports)
    ctx.exit(found.status)


def _rehearsed(max_lock: float, max_rewrite: int, options: dict[str, Any]) -> Report:
    """Rehearse, with an end of ours for whatever env.py, models and migrations may come to: they are others' code."""
    from flask_branches import rehearsal
    from flask_branches.rehearsal.hiding import reason

    limits = rehearsal.Limits(max_lock, max_rewrite)
    try:
        with redirect_stdout(sys.stderr):  # a migration may print, and what is said here may be JSON
            return rehearsal.rehearse(limits=limits, **options)
    except BranchesError:
        raise
    except (KeyboardInterrupt, click.Abort):
        raise _Interrupted("Interrupted: the migrations were not rehearsed to their end.") from None
    except SystemExit as error:
        if signals.is_exit(error):
            raise
        said = reason(error)
    except BaseException as error:  # noqa: BLE001  others' code may raise anything, and an asynchronous env.py's cancellation is no Exception
        said = reason(error)
    raise _NotRehearsed(f"The migrations could not be rehearsed: {said}.")


def _write(found: Report, reports: tuple[str, ...]) -> None:
    """Write it, once it was shown: a file that cannot be written takes nothing away, of the others neither."""
    from flask_branches.rehearsal import shown

    failed = []
    for path in reports:
        try:
            shown.write(found, path)
        except BranchesError as error:
            failed.append(str(error))
    if failed:
        raise _NotRehearsed("\n".join(failed))


def _show(found: Report, *, as_json: bool) -> None:
    if as_json:
        from flask_branches.rehearsal.shown.json import json

        click.echo(json(found))
        return
    from rich.console import Console

    from flask_branches.rehearsal.shown import show

    show(found, Console(markup=False, emoji=False, highlight=False))
