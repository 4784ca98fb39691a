"""What must never be tested on, and how an existing database is marked as one that may."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from tests.branches.worlds import not_on_neon

from flask_branches import Branch, DatabaseFailed, Refused, guard, record, urls
from flask_branches.backends.postgres import Postgres
from flask_branches.backends.sqlite import SQLite

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result
    from tests.branches.worlds import Client, Places, World

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]
    Adopt = Callable[..., Result]


@pytest.fixture
def require(one: World) -> Callable[[str | sa.URL], record.Record]:
    """Ask the guard whether a database may be tested on."""
    return lambda url: guard.require_branch(one.branches.databases, urls.parsed(url), "BRANCHES_URL")


@pytest.fixture
def other(one: World, places: Places, at: At) -> sa.URL:
    """A database that is nobody's branch and not the application's: with one table, which has one row."""
    url = places.url(one.kind, "other")
    at(urls.plain(url)).run("CREATE TABLE note (id INTEGER, text VARCHAR(100))")
    at(urls.plain(url)).add("precious")
    return url


def test_a_branch_may_be_tested_on(one: World, require: Callable[..., Any]) -> None:
    """Its record says which it is."""
    branch = one.branches.create("mine")

    found = require(branch.url)

    assert (found.name, found.parent) == ("mine", "main")


@pytest.mark.parametrize("leads_to", ["mine", "main", "nowhere"])
def test_nothing_is_left_open(
    one: World, require: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, leads_to: str
) -> None:
    """Whatever the answer is, who was asked for it is closed; the application's own goes on."""
    branch = one.branches.create("mine")
    url = {"mine": branch.url, "main": one.main, "nowhere": "postgresql://u:p@127.0.0.1:1/d"}[leads_to]
    closed = _closed(monkeypatch, SQLite, Postgres)

    with nullcontext() if leads_to == "mine" else pytest.raises((Refused, DatabaseFailed)):
        require(url)

    assert len(closed) == (0 if one.backend.name == "neon" else 1)
    assert one.backend not in closed
    assert [each.name for each in one.branches.list()] == ["mine"]


def _closed(monkeypatch: pytest.MonkeyPatch, *kinds: type[Any]) -> list[Any]:
    """The backends that are closed from now on."""
    closed: list[Any] = []
    for kind in kinds:

        def close(self: Any, before: Callable[[Any], None] = kind.close) -> None:
            closed.append(self)
            before(self)

        monkeypatch.setattr(kind, "close", close)
    return closed


def test_the_application_s_own_database_may_not(one: World, require: Callable[..., Any]) -> None:
    """The message says what was seen, where it came from, and how to make a branch."""
    with pytest.raises(Refused) as raised:
        require(one.main)

    assert str(raised.value) == (
        f"BRANCHES_URL leads to {urls.shown(one.main)}, the application's own database, which tests never write to. "
        "Make a branch with: flask branches create"
    )


@not_on_neon("no database is adopted")
def test_not_even_with_a_record(one: World, require: Callable[..., Any]) -> None:
    """Somebody may have forced one on it."""
    one.backend.adopt(one.main, record.made("main", parent=None, main=None, expires_at=None))
    assert one.backend.vouch(one.main) is not None

    with pytest.raises(Refused, match="the application's own database"):
        require(one.main)
    _unmark(one)


def _unmark(world: World) -> None:
    if world.backend.name == "sqlite":
        Path(f"{world.main.database}.branch").unlink()
    else:
        backend: Any = world.backend
        with backend._server.connected() as connection:
            connection.exec_driver_sql(f"COMMENT ON DATABASE {world.main.database} IS NULL")


@not_on_neon("no database is adopted")
def test_nor_by_another_name(one: World, require: Callable[..., Any], tmp_path: Path) -> None:
    """A link, another way to write the host: where it leads is what counts."""
    if one.backend.name == "sqlite":
        main = Path(str(one.main.database))
        symbolic, hard = tmp_path / "symbolic.sqlite", tmp_path / "hard.sqlite"
        symbolic.symlink_to(main)
        hard.hardlink_to(main)
        others = [f"sqlite:///{symbolic}", f"sqlite:///{hard}", f"sqlite:///{tmp_path}/../{tmp_path.name}/{main.name}"]
    else:
        host = f"{one.main.query['host']}/../{Path(str(one.main.query['host'])).name}"
        others = [urls.plain(one.main.update_query_dict({"host": host}))]
        assert urls.key(sa.make_url(others[0])) != urls.key(one.main)
    one.backend.adopt(one.main, record.made("main", parent=None, main=None, expires_at=None))

    for url in others:
        with pytest.raises(Refused, match="the application's own database"):
            require(url)
        with pytest.raises(
            Refused, match=r"the application's own database and cannot be adopted\. Make a branch with:"
        ):
            guard.adopt(one.branches.databases, urls.parsed(url))
    _unmark(one)


def test_nor_is_a_bind_s(make_world: MakeWorld) -> None:
    """Every database that the application is configured with is its own."""
    world = make_world(binds=True)
    there = world.branches.databases

    with pytest.raises(Refused, match="the application's own database"):
        guard.require_branch(there, there.all[1].backend.main, "BRANCHES_URL")


@not_on_neon("no database is adopted")
def test_a_database_without_a_record_may_not(require: Callable[..., Any], other: sa.URL, at: At) -> None:
    """The message names both ways out; nothing was written there."""
    with pytest.raises(Refused) as raised:
        require(other)

    assert str(raised.value) == (
        f"BRANCHES_URL leads to {urls.shown(other)}, which has no record that says it may be tested on. Make a branch "
        "with: flask branches create; or mark that database, once, with: flask branches adopt URL"
    )
    assert at(urls.plain(other)).texts() == ["precious"]
    assert not Path(f"{other.database}.branch").exists()


@pytest.mark.parametrize("url", ["sqlite:///nowhere.sqlite", "sqlite://", "sqlite:///:memory:"])
def test_what_is_no_file_may_not(require: Callable[..., Any], tmp_path: Path, url: str) -> None:
    """And none is made by looking."""
    with pytest.raises(DatabaseFailed, match=r"is no file: name one that exists\.$"):
        require(url)
    assert not list(tmp_path.glob("**/nowhere*"))


def test_a_password_is_never_shown(require: Callable[..., Any]) -> None:
    """Not by a server that is out of reach, nor where the URL has it in its query."""
    with pytest.raises((DatabaseFailed, Refused), match=r"cannot be reached|names no endpoint") as raised:
        require("postgresql://user:hunter2@127.0.0.1:1/db?password=hunter2")
    assert "hunter2" not in str(raised.value)


@pytest.fixture
def adopt(one: World) -> Adopt:
    """Run `flask branches adopt`."""
    runner = one.app.test_cli_runner()
    return lambda url, *arguments, **options: runner.invoke(
        args=["branches", "adopt", urls.plain(url), *arguments], **options
    )


@not_on_neon("no database is adopted")
def test_a_database_is_adopted_after_its_name_was_typed(
    adopt: Adopt, other: sa.URL, require: Callable[..., Any]
) -> None:
    """What is in it is shown before; afterwards it may be tested on, and a second time changes nothing."""
    name = guard.name_of(other)

    result = adopt(other, input=f"{name}\n")

    assert result.exit_code == 0
    assert result.stdout == f"{name} may be tested on.\n"
    assert result.stderr.startswith(
        f"{urls.shown(other)} has:\n  note: 1 row\nTests may change and delete all of it.\nType the name of the"
    )
    first = require(other)
    assert (first.name, first.parent, first.expires_at) == (name, None, None)
    assert adopt(other, "--yes", name).exit_code == 0
    assert require(other) == first


def test_another_name_adopts_nothing(adopt: Adopt, other: sa.URL, require: Callable[..., Any]) -> None:
    """Typed or given; nothing is asked again."""
    for result in (adopt(other, input="nonsense\n"), adopt(other, "--yes", "nonsense")):
        assert result.exit_code == 1
        name = guard.name_of(other)
        assert result.stderr.endswith(
            f"Error: 'nonsense' is not the database's name, which is '{name}'. Nothing was marked.\n"
        )
    with pytest.raises(Refused):
        require(other)


def test_nobody_there_to_type_adopts_nothing(adopt: Adopt, other: sa.URL, require: Callable[..., Any]) -> None:
    """At the end of its input the command gives up."""
    assert adopt(other, input="").exit_code == 1
    with pytest.raises(Refused):
        require(other)


@not_on_neon("no database is adopted")
def test_adopting_as_json(adopt: Adopt, other: sa.URL) -> None:
    """With the name given nothing is asked; what is in it is shown all the same, beside the JSON."""
    result = adopt(other, "--json", "--yes", guard.name_of(other))

    assert json.loads(result.stdout) == {"adopted": guard.name_of(other)}
    assert result.stderr.endswith("Tests may change and delete all of it.\n")


@not_on_neon("no database is adopted")
def test_a_branch_that_is_adopted_stays_what_it_is(one: World, adopt: Adopt) -> None:
    """It could be tested on before: its name, its parent and its expiry are kept."""
    branch = one.branches.create("mine", expires_in="2h")
    url = sa.make_url(branch.url)

    assert adopt(url, "--yes", guard.name_of(url)).exit_code == 0
    assert one.branches.list() == [branch]


@not_on_neon("no database is adopted")
def test_the_application_s_own_database_cannot_be_adopted(one: World, adopt: Adopt) -> None:
    """Whatever name is typed."""
    result = adopt(one.main, "--yes", guard.name_of(one.main))

    assert result.exit_code == 1
    assert result.stderr.endswith(
        "is the application's own database and cannot be adopted. Make a branch with: flask branches create\n"
    )
    assert one.backend.vouch(one.main) is None


def test_what_does_not_exist_cannot_be_adopted(one: World, adopt: Adopt, tmp_path: Path) -> None:
    """And is not made by looking into it; a server's refusal is one line."""
    missing = one.main.set(database=str(tmp_path / "missing") if one.backend.name == "sqlite" else "missing")

    result = adopt(missing, "--yes", "missing")

    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "missing" in line
    assert not (tmp_path / "missing").exists()


@not_on_neon("no database is adopted")
def test_a_comment_is_not_written_over(one: World, adopt: Adopt, other: sa.URL, at: At) -> None:
    """It is somebody's; the message says how to take it away."""
    if one.backend.name == "sqlite":
        pytest.skip("only Postgres keeps the record as a comment")
    at(urls.plain(other)).run(f"COMMENT ON DATABASE {other.database} IS 'precious'")

    result = adopt(other, "--yes", guard.name_of(other))

    assert result.exit_code == 1
    assert result.stderr.endswith(
        f"Error: The database '{other.database}' has a comment, which the record would replace: remove it with "
        "COMMENT ON DATABASE … IS NULL, or adopt another one.\n"
    )
    at(urls.plain(other)).run(f"COMMENT ON DATABASE {other.database} IS NULL")


def test_what_is_in_a_database_is_counted_in_every_schema(one: World, adopt: Adopt, other: sa.URL, at: At) -> None:
    """By names that people know, whatever characters they have."""
    there = at(urls.plain(other))
    there.run('CREATE TABLE "100% ""odd"": x" (n INTEGER)')
    expected = ['  100% "odd": x: 0 rows', "  note: 1 row"]
    if one.backend.name == "postgres":
        there.run("CREATE SCHEMA other")
        there.run("CREATE TABLE other.thing (n INTEGER)")
        there.run("INSERT INTO other.thing SELECT generate_series(1, 1234)")
        expected.append("  other.thing: 1,234 rows")

    shown = adopt(other, "--yes", "nonsense").stderr.splitlines()

    assert sorted(line for line in shown if line.startswith("  ")) == sorted(expected)
