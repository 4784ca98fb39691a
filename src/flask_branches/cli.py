"""``flask branches``: its words are those of ``neonctl branches``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from flask import current_app
from flask.cli import AppGroup

from flask_branches import execution, guard, urls
from flask_branches.backends import tree
from flask_branches.branch import MAIN, in_short, written
from flask_branches.cli_rehearse import rehearse
from flask_branches.errors import BranchesError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from flask_branches.branch import Branch
    from flask_branches.extension import Branches


class _Group(AppGroup):
    """Shows this package's errors as messages."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except BranchesError as error:
            raise click.ClickException(str(error)) from None


branches = _Group("branches", help="Branches of the application's database: copies that can be written to.")

branches.add_command(rehearse)

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_parent = click.option(
    "--parent", metavar="NAME", help="What it is copied from: a branch, main (the default), or empty."
)
_at = click.option(
    "--at", metavar="TIME|LSN", help="A past moment with a zone, or a log position; only Neon has those."
)
_expires_in = click.option("--expires-in", metavar="DURATION", help="When it is to go: 90s, 30m, 12h, 7d, or never.")
_expires_at = click.option("--expires-at", metavar="TIME", help="The same as a moment: 2026-12-01T09:00:00Z.")
_data = click.option(
    "--data", type=click.Choice(["copy", "empty"]), default="copy", show_default=True, help="Its rows, or none of them."
)
_force = click.option("--force", is_flag=True, help="End idle sessions that are in the way; never those of main.")


@branches.command()
@click.argument("name", required=False)
@_parent
@_at
@_expires_in
@_expires_at
@_data
@_force
@_as_json
def create(name: str | None, expires_in: str | None, expires_at: str | None, *, as_json: bool, **options: Any) -> None:
    """Make a branch; without NAME, one is made up."""
    made = _extension().create(name, **options, **_lifetime(expires_in, expires_at))
    _show(made.as_dict(), f"{made.name}  {made.safe_url}  {_until(made)}", as_json=as_json)


@branches.command("list")
@_as_json
def list_(*, as_json: bool) -> None:
    """Show the branches as a tree."""
    found = list(_extension().list())
    if as_json:
        click.echo(json.dumps([each.as_dict() for each in found], indent=2))
        return
    main = urls.shown(_extension().databases.default.main)
    rows: list[tuple[str, ...]] = [(MAIN, "", "", main)]
    rows += [
        ("  " * depth + each.name, in_short(each.age), _until(each), each.safe_url) for depth, each in tree(found, MAIN)
    ]
    _table(("branch", "age", "expires", "url"), rows)


@branches.command()
@click.argument("name")
@click.option("--pooled", is_flag=True, help="Through the connection pooler, which only Neon has.")
@_as_json
def url(name: str, *, pooled: bool, as_json: bool) -> None:
    """Print where NAME is, with the password."""
    text = execution.plain_url(_extension().pooled_url(name) if pooled else _extension().get(name).url)
    _show({"url": text}, text, as_json=as_json)


@branches.command()
@click.argument("name")
@_force
@_as_json
def reset(name: str, *, force: bool, as_json: bool) -> None:
    """Give NAME its parent's present data; the URL stays the same."""
    done = _extension().reset(name, force=force)
    _show(done.as_dict(), f"{done.name} has the data of {done.parent or 'an empty database'}.", as_json=as_json)


@branches.command("set-expiration")
@click.argument("name")
@_expires_in
@_expires_at
@_as_json
def set_expiration(name: str, expires_in: str | None, expires_at: str | None, *, as_json: bool) -> None:
    """Let NAME go at another time than it was made for, or never."""
    if expires_in is None and expires_at is None:
        raise click.UsageError("Say --expires-in or --expires-at; --expires-in never takes the end away.")
    done = _extension().set_expiration(name, **_lifetime(expires_in, expires_at))
    _show(done.as_dict(), f"{done.name} {_until(done)}.", as_json=as_json)


@branches.command()
@click.argument("name")
@_as_json
def delete(name: str, *, as_json: bool) -> None:
    """Delete NAME, and end the sessions that it has."""
    _extension().delete(name)
    _show({"deleted": name}, f"{name} is deleted.", as_json=as_json)


@branches.command()
@click.argument("name")
@click.argument("other", required=False)
@_as_json
def diff(name: str, other: str | None, *, as_json: bool) -> None:
    """Compare the schema of NAME with that of OTHER, by default its parent; nothing is printed where they agree."""
    text = _extension().diff(name, other)
    _show({"diff": text}, text.rstrip("\n"), as_json=as_json)


@branches.command()
@click.option("--yes", is_flag=True, help="Delete them; without it, they are only named.")
@_as_json
def prune(*, yes: bool, as_json: bool) -> None:
    """Name, and with --yes delete, the branches whose time is over or whose test run has died."""
    left = _extension().databases.sweep(dry_run=True)
    over = _extension().prune(dry_run=not yes)
    if as_json:
        found = {"deleted": yes, "branches": [each.as_dict() for each in over], "half_built": left}
        click.echo(json.dumps(found, indent=2))
        return
    for each in over:
        click.echo(f"{each.name}  {each.safe_url}  {_until(each)}")
    for name in left:
        click.echo(f"{name}  half built by a process that died")
    number = len(over) + len(left)
    done = "deleted" if yes else "to delete; say --yes to do so"
    click.echo(f"{number} {'branch' if number == 1 else 'branches'} {done}." if number else "Nothing to prune.")


@branches.command()
@click.argument("database_url", metavar="URL")
@click.option("--yes", "typed", metavar="NAME", help="The database's name, where nobody is there to type it.")
@_as_json
def adopt(database_url: str, typed: str | None, *, as_json: bool) -> None:
    """Mark the existing database at URL as one that may be tested on, after showing what is in it."""
    target = _like_main(urls.parsed(database_url, "The URL"))
    name = guard.name_of(target)
    found = guard.contents(_extension().databases, target)
    click.echo(f"{urls.shown(target)} has:", err=True)
    for table, rows in found:
        click.echo(f"  {table}: {rows:,} {'row' if rows == 1 else 'rows'}", err=True)
    click.echo("Tests may change and delete all of it.", err=True)
    if typed is None:
        typed = click.prompt("Type the name of the database to go on", err=True)
    if typed != name:
        raise click.ClickException(f"{typed!r} is not the database's name, which is {name!r}. Nothing was marked.")
    guard.adopt(_extension().databases, target)
    _show({"adopted": name}, f"{name} may be tested on.", as_json=as_json)


@branches.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("name")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@_parent
@_at
@_expires_in
@_data
@_force
@_as_json
@click.pass_context
def exec_(
    ctx: click.Context,
    /,
    name: str,
    command: tuple[str, ...],
    expires_in: str | None,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Make the branch NAME, run COMMAND with DATABASE_URL leading to it, delete the branch.

    The command has this one's input, output and signals, and its status becomes this one's. Write -- before it. A bind
    is in DATABASE_URL_<BIND>. Options stand before NAME.
    """
    command = command[1:] if command[0] == "--" else command
    if not command:
        raise click.UsageError("Name a COMMAND after --.")
    execution.require_names(_extension().databases.bind_keys)
    with _extension().temporary(name, **options, **_lifetime(expires_in)) as made:
        if as_json:
            click.echo(json.dumps(made.as_dict()), err=True)
        status = execution.run(list(command), execution.variables(made))
    ctx.exit(status)


def _extension() -> Branches:
    found: Branches = current_app.extensions["branches"]
    return found


def _like_main(target: sa.URL) -> sa.URL:
    main = _extension().databases.default.main
    same = main.get_backend_name() == target.get_backend_name()
    return target.set(drivername=main.drivername) if same else target


def _lifetime(expires_in: str | None, expires_at: str | None = None) -> dict[str, Any]:
    if expires_in is None:
        return {"expires_at": expires_at}
    if expires_at is not None:
        raise click.UsageError("Say --expires-in or --expires-at, not both.")
    return {"expires_in": None if expires_in == "never" else expires_in}


def _until(branch: Branch) -> str:
    if branch.expires_at is None:
        return "never expires"
    return f"{'expired' if branch.has_expired else 'expires'} {written(branch.expires_at)}"


def _show(values: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(values, indent=2))
    elif text:
        click.echo(text)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        for row in rows:
            click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    table = Table(*head, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console.print(table)
