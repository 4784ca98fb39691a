"""``flask branches rehearse``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click
from flask.cli import with_appcontext

from flask_branches.errors import BranchesError

if TYPE_CHECKING:
    from flask_branches.rehearsal.report import Report

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) *(bytes|[kMGT]?B?)", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "bytes": 1, "kb": 2**10, "k": 2**10, "mb": 2**20, "m": 2**20}
_UNITS |= {"gb": 2**30, "g": 2**30, "tb": 2**40, "t": 2**40}


class _NotRehearsed(click.ClickException):
    """To a pipeline, 1 means that the migrations are not safe."""

    exit_code = 2


def _size(text: str) -> int:
    """A number of bytes, as Postgres' settings have it: ``100MB``."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is not a size: write for example 100MB or 2GB.")
    return int(float(match[1]) * _UNITS[match[2].lower()])


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
    old tests fail; 2 where it could not be rehearsed.
    """
    from flask_branches import rehearsal  # which brings Alembic
    from flask_branches.rehearsal import shown

    try:
        for path in reports:
            shown.require_format(path)
        found = rehearsal.rehearse(limits=rehearsal.Limits(max_lock, max_rewrite), **options)
        for path in reports:
            shown.write(found, path)
    except BranchesError as error:
        raise _NotRehearsed(str(error)) from None
    _show(found, as_json=as_json)
    ctx.exit(found.status)


def _show(found: Report, *, as_json: bool) -> None:
    if as_json:
        from flask_branches.rehearsal.shown.json import json

        click.echo(json(found))
        return
    from rich.console import Console

    from flask_branches.rehearsal.shown import show

    show(found, Console(markup=False, emoji=False, highlight=False))
