"""`flask branches`: what each command prints, with --json and without, and the status that it ends with."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from tests.branches.worlds import not_on_neon

from flask_branches import Branch, urls
from flask_branches.branch import now, written
from flask_branches.record import RUN

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result
    from tests.branches.worlds import Client, World

    At = Callable[[str | Branch], Client]
    Call = Callable[..., Result]


def _error(result: Result) -> str:
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


def test_a_branch_is_made(one: World, call: Call) -> None:
    """Its name, its URL without a password, and when it goes; as JSON everything that may be shown."""
    result = call("create", "mine", "--expires-in", "2h")

    branch = one.branches.get("mine")
    assert result.stdout == f"mine  {branch.safe_url}  expires {written(branch.expires_at)}\n"
    made = json.loads(call("create", "--json", "--parent", "mine", "--expires-in", "never", "--data", "empty").stdout)
    assert made == one.branches.get(made["name"]).as_dict()
    assert (made["parent"], made["expires_at"]) == ("mine", None)
    at = str(written(now() + timedelta(days=29)))
    assert json.loads(call("create", "--json", "third", "--expires-at", str(at)).stdout)["expires_at"] == at
    assert call("create", "fourth", "--parent", "empty", "--force", "--expires-in", "never").stdout.endswith(
        "  never expires\n"
    )


def test_what_contradicts_itself_is_a_matter_of_usage(call: Call) -> None:
    """Status 2, as for a word that is unknown; 1 is for what the database says."""
    both = call("create", "--expires-in", "1h", "--expires-at", "2100-01-01T00:00:00Z", status=2)
    assert both.stderr.endswith("Error: Say --expires-in or --expires-at, not both.\n")
    both = call("set-expiration", "mine", "--expires-in", "1h", "--expires-at", "2100-01-01T00:00:00Z", status=2)
    assert both.stderr.endswith("Error: Say --expires-in or --expires-at, not both.\n")
    assert "--expires-in never takes the end away." in call("set-expiration", "mine", status=2).stderr
    for arguments in (["nothing"], ["create", "--data", "half"], ["create", "-x"], ["url"], ["exec", "mine"]):
        assert "Error: " in call(*arguments, status=2).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["create", "main"],
            "A branch cannot be called 'main', which is what a parent is called: choose another name.",
        ),
        (["create", "--", "-x"], "The branch's name '-x' begins with a dash,"),
        (["create", "x" * 300], "The branch's name 'xxx"),
        (["create", "taken"], "There is a branch 'taken' already: choose another name, or delete it."),
        (["create", "--parent", "nobody"], "There is no branch 'nobody'; there are: 'taken'."),
        (["create", "--expires-in", "soon"], "expires_in 'soon' is not a duration: write for example 30m, 12h or 7d."),
        (["create", "--expires-at", "2001-01-01T00:00:00Z"], "expires_at '2001-01-01T00:00:00Z' is in the past:"),
        pytest.param(
            ["create", "--at", "2001-01-01T00:00:00Z"],
            "no past to branch from: leave the point in time out, or use Neon.",
            marks=not_on_neon("there is a past"),
        ),
        (
            ["create", "--expires-at", "9999-12-31T23:59:59-14:00"],
            "expires_at '9999-12-31T23:59:59-14:00' is not a time",
        ),
        (["create", "--expires-at", "2999-12-31T23:59:59"], "expires_at '2999-12-31T23:59:59' has no time zone: write"),
        (
            ["create", "--at", "0001-01-01T00:00:00+14:00"],
            "The point in time '0001-01-01T00:00:00+14:00' is not a time",
        ),
        (["create", "--at", "yesterday"], "The point in time 'yesterday' is not a time"),
        (["url", "nobody"], "There is no branch 'nobody'; there are: 'taken'."),
        (["reset", "main"], "'main' is the application's own database and no branch, so it is never changed here"),
        (["delete", "main"], "'main' is the application's own database and no branch, so it is never changed here"),
        (
            ["set-expiration", "main", "--expires-in", "1d"],
            "'main' is the application's own database and no branch, so it is never changed here",
        ),
        (["set-expiration", "nobody", "--expires-in", "1d"], "There is no branch 'nobody'; there are: 'taken'."),
        (["set-expiration", "taken", "--expires-at", "2001-01-01T00:00:00Z"], "is in the past: name a moment to come."),
        (["diff", "taken", "nobody"], "There is no branch 'nobody'; there are: 'taken'."),
        (["exec", "taken", "--", "true"], "There is a branch 'taken' already"),
        (
            ["adopt", "nothing"],
            "The URL cannot be read: write sqlite:///file or postgresql://user:password@host/database.",
        ),
        (
            ["adopt", "postgresql+foo://h/d"],
            "The URL names the driver 'postgresql+foo', which is not installed: install it, or leave it out.",
        ),
        (
            ["adopt", "postgresql://u:one@two@h/d"],
            "The database URL has an @ in its password, which ends there: write it as %40.",
        ),
        (["adopt", "mysql://h/d"], "A mysql database cannot be branched: there are backends for SQLite and Postgres."),
    ],
)
def test_what_cannot_be_is_one_line_with_the_value_and_the_remedy(
    one: World, call: Call, arguments: list[str], said: str
) -> None:
    """On standard error, with status 1; nothing is made."""
    one.branches.create("taken")

    result = call(*arguments, status=1)

    assert said in _error(result)
    assert result.stdout == ""
    assert [each.name for each in one.branches.list()] == ["taken"]


def test_a_url_is_printed_for_other_programs(one: World, call: Call, at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its password and without a driver, unless the environment's own URL has one."""
    branch = one.branches.create("mine")
    plain = sa.make_url(branch.url).set(drivername=sa.make_url(branch.url).get_backend_name())

    assert call("url", "mine").stdout == f"{urls.plain(plain)}\n"
    assert json.loads(call("url", "mine", "--json").stdout) == {"url": urls.plain(plain)}
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://h/d")
    assert call("url", "mine").stdout == f"{branch.url}\n"


@not_on_neon("which has a pooler")
def test_only_neon_has_a_pooled_url(one: World, call: Call) -> None:
    """Elsewhere the message says so."""
    one.branches.create("mine")

    said = call("url", "mine", "--pooled", status=1).stderr
    assert said == "Error: The branch 'mine' has no connection pooler, only those of Neon have one.\n"


def test_a_branch_is_reset_compared_and_deleted(one: World, call: Call, at: At) -> None:
    """Each says what it has done; a comparison of what is the same says nothing."""
    branch = one.branches.create("mine")
    one.branches.create("bare", parent="empty")

    assert call("diff", "mine").output == ""
    assert json.loads(call("diff", "mine", "--json").stdout) == {"diff": ""}
    at(branch).run("ALTER TABLE note ADD COLUMN stars INTEGER")
    assert call("diff", "mine").stdout.startswith("--- main\n+++ mine\n")
    assert call("diff", "mine", "bare").stdout.startswith("--- bare\n+++ mine\n")
    assert "+" in json.loads(call("diff", "mine", "--json").stdout)["diff"]

    assert call("reset", "mine").stdout == "mine has the data of main.\n"
    if one.kind != "neon":
        assert call("reset", "bare").stdout == "bare has the data of an empty database.\n"
    assert json.loads(call("reset", "mine", "--json", "--force").stdout) == branch.as_dict()
    assert call("diff", "mine").output == ""

    assert call("delete", "mine").stdout == "mine is deleted.\n"
    assert json.loads(call("delete", "bare", "--json").stdout) == {"deleted": "bare"}
    assert one.branches.list() == []


def test_an_expiration_is_set(one: World, call: Call) -> None:
    """To a span from now, to a moment, or to never; what it is then is printed."""
    one.branches.create("mine", expires_in="1h")
    at = written(now() + timedelta(days=29))

    assert call("set-expiration", "mine", "--expires-at", str(at)).stdout == f"mine expires {at}.\n"
    assert call("set-expiration", "mine", "--expires-in", "never").stdout == "mine never expires.\n"
    made = json.loads(call("set-expiration", "mine", "--expires-in", "14d", "--json").stdout)
    assert made == one.branches.get("mine").as_dict()
    assert made["expires_at"] > written(now() + timedelta(days=13))


@not_on_neon("what has expired is gone")
def test_pruning_names_and_on_demand_deletes(one: World, call: Call) -> None:
    """Without --yes nothing is deleted; what is left of a dead run is named too."""
    assert call("prune").stdout == "Nothing to prune.\n"
    old, dead = one.branches.create("old", expires_in=None), one.branches.create("dead")
    one.branches.create("young")
    there = one.branches.databases
    old = there.update(old, now())
    dead = there.update(dead, dead.expires_at, {RUN: "x"})

    named = call("prune").stdout.splitlines()
    assert sorted(named[:2]) == [
        f"dead  {dead.safe_url}  expires {written(dead.expires_at)}",
        f"old  {old.safe_url}  expired {written(old.expires_at)}",
    ]
    assert named[2:] == ["2 branches to delete; say --yes to do so."]
    found = json.loads(call("prune", "--json").stdout)
    assert (found["deleted"], found["half_built"], len(found["branches"])) == (False, [], 2)
    assert len(one.branches.list()) == 3

    assert call("prune", "--yes").stdout.splitlines()[-1] == "2 branches deleted."
    assert [each.name for each in one.branches.list()] == ["young"]
    assert json.loads(call("prune", "--yes", "--json").stdout) == {"deleted": True, "branches": [], "half_built": []}


@not_on_neon("what is half built has a record")
def test_a_half_built_branch_is_pruned_too(one: World, call: Call) -> None:
    """It has no name but the one that it was built under."""
    if one.backend.name == "sqlite":
        from pathlib import Path

        left = Path(f"{one.main.database}.branches") / ".+new-0.sqlite"
        left.parent.mkdir()
        left.touch()
        name = left.name
    else:
        backend: Any = one.backend
        name = f"{backend._half_built}0"
        with backend._server.connected() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")

    assert call("prune").stdout == (
        f"{name}  half built by a process that died\n1 branch to delete; say --yes to do so.\n"
    )
    assert json.loads(call("prune", "--json").stdout)["half_built"] == [name]
    assert call("prune", "--yes").stdout.endswith("1 branch deleted.\n")
    assert call("prune").stdout == "Nothing to prune.\n"


def test_a_wrong_setting_is_no_traceback(one: World) -> None:
    """A factory that meets it ends every command with the message and status 2, --help included."""
    command = [sys.executable, "-m", "flask", "--app", "notes", "branches", "list"]
    environ = one.environ(BRANCHES_EXPIRE="soon")

    ended = subprocess.run(command, capture_output=True, text=True, env=environ, check=False, timeout=60)

    assert ended.returncode == 2
    assert "Error: BRANCHES_EXPIRE 'soon' is not a duration: write for example 30m, 12h or 7d." in ended.stderr
    assert "Traceback" not in ended.stderr


def test_every_command_has_its_help(call: Call) -> None:
    """One sentence at least, and --json wherever something is printed."""
    listed = call("--help").stdout
    for command in ("create", "list", "url", "reset", "set-expiration", "delete", "diff", "prune", "adopt", "exec"):
        assert f"\n  {command} " in listed
        assert "--json" in call(command, "--help").stdout
