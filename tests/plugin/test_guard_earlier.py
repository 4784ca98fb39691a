"""An earlier release's tests, configured with the very branch that they are to leave as it is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from tests.plugin.existing import Existing, adopt
from tests.plugin.projects import POSTGRES

from flask_branches import urls

if TYPE_CHECKING:
    from tests.plugin.production import Databases
    from tests.plugin.projects import Project

    from flask_branches import Branch

EARLIER = """
    import os

    import pytest
    import sqlalchemy as sa
    from flask_branches import Refused
    from notes import Note, app, db

    ON_ITSELF = "PYTEST_XDIST_WORKER" not in os.environ

    @pytest.mark.branches(isolation="branch")
    def test_a_copy_of_it(app, own_branch):
        assert db.session.scalar(sa.text("SELECT count(*) FROM product")) == 1000
        db.session.add(Note(text="of the copy"))
        db.session.commit()

    @pytest.mark.parametrize("time", ["first", "second"])
    def test_rolled_back(app, branch, time):
        assert (branch.name == "tried") == ON_ITSELF
        assert db.session.query(Note).count() == 0
        db.session.execute(sa.text("DELETE FROM product"))
        db.session.add(Note(text="rolled back"))
        db.session.commit()

    @pytest.mark.branches(isolation="branch")
    def test_another_copy_of_it(app, own_branch):
        assert db.session.query(Note).count() == 0

    @pytest.mark.branches(isolation="none")
    def test_it_has_all_rows(app, branch):
        assert db.session.scalar(sa.text("SELECT count(*) FROM product")) == 1000

    @pytest.mark.skipif(ON_ITSELF, reason="with workers")
    @pytest.mark.branches(isolation="none")
    def test_a_worker_has_its_copy_and_nothing_else(branch):
        engine = sa.create_engine(os.environ["BRANCHES_URL"], poolclass=sa.NullPool)
        with pytest.raises(Refused, match="own database, which nothing connects to"):
            engine.connect()
"""


@pytest.fixture
def main(notes: Project, existing: Existing) -> Existing:
    """The application's own database, with all its tables."""
    engine = sa.create_engine(existing.url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        number = "SERIAL" if POSTGRES else "INTEGER"
        connection.execute(sa.text(f"CREATE TABLE note (id {number} PRIMARY KEY, text VARCHAR(40))"))
    notes.variable("DATABASE_URL", existing.url)
    return existing


@pytest.fixture
def tried(notes: Project, main: Existing) -> Branch:
    """A branch of it, to which an earlier release is led by both variables, as a rehearsal does."""
    made = notes.flask("branches", "create", "tried", app="notes")
    assert made.returncode == 0, made.stderr
    (branch,) = notes.branches(main.url)
    _lead(notes, branch.url)
    return branch


def _lead(notes: Project, url: str, migrate: str = "never") -> None:
    for name, value in {"DATABASE_URL": url, "BRANCHES_URL": url, "BRANCHES_MIGRATE": migrate}.items():
        notes.variable(name, value)
    notes.files(test_notes="def test_a(app): pass")


_OWN = "BRANCHES_URL leads to * the application's own database, which tests never write to. Make a branch with: *"


@pytest.mark.parametrize("workers", ["-n0", pytest.param("-n2", marks=pytest.mark.slow)])
def test_an_earlier_release_may_be_configured_with_the_branch(
    notes: Project, main: Existing, tried: Branch, workers: str
) -> None:
    """It leaves its schema as it is, and works on it as on any: on itself, on copies for workers and for tests."""
    notes.files(test_notes=EARLIER)
    before, beside = [main.content(), Existing(tried.url).content()], _beside(notes, main)

    result = notes.run(workers)

    outcomes = {"-n0": {"passed": 5, "skipped": 1}, "-n2": {"passed": 6}}
    result.assert_outcomes(**outcomes[workers])
    result.stdout.fnmatch_lines("branches: * itself, not migrated, because BRANCHES_URL names it")
    assert [main.content(), Existing(tried.url).content()] == before
    assert _beside(notes, main) == beside


def _beside(notes: Project, main: Existing) -> list[str]:
    """Everything that was made of a database, and of what was made of it."""
    return [*notes.left(), *(each.name for each in notes.branches(main.url))]


@pytest.mark.parametrize("given", [[], ["--branches-migrate=always"]])
def test_nobody_else_may_be_configured_with_the_branch(notes: Project, tried: Branch, given: list[str]) -> None:
    """Who would migrate it may have named his own database twice; he is told before anything connects to it."""
    _lead(notes, tried.url, "")

    assert _is_refused(notes, tried, *given, at_once=True)


@pytest.mark.parametrize("migrate", ["never", "always"])
@pytest.mark.parametrize("state", ["without a record", "adopted"])
def test_its_own_database_is_none_that_was_made(notes: Project, main: Existing, state: str, migrate: str) -> None:
    """An adopted one may be the only one that there is."""
    if state == "adopted":
        adopt(main)
    _lead(notes, main.url, migrate)

    assert _is_refused(notes, main)


def test_a_branch_s_mark_that_was_copied_proves_nothing(
    notes: Project, tried: Branch, request: pytest.FixtureRequest
) -> None:
    """As a dump brings it along that production was restored from, or a file's copy."""
    if POSTGRES:
        databases: Databases = request.getfixturevalue("databases")
        restored = Existing(databases.make("restored"))
        _on_the_server(restored, f"COMMENT ON DATABASE restored IS '{_comment(tried)}'")
    else:
        restored = Existing(f"sqlite:///{notes.folder / 'restored.sqlite'}")
        for suffix in ("", ".branch"):
            shutil.copy(f"{_path(tried.url)}{suffix}", f"{_path(restored.url)}{suffix}")
    _lead(notes, restored.url)

    assert _is_refused(notes, restored)


def test_a_branch_in_its_main_s_place_is_none_any_more(notes: Project, main: Existing, tried: Branch) -> None:
    """Whoever has put it there, after an accident, has no other database now; its mark has gone along."""
    if POSTGRES:
        _on_the_server(main, "ALTER DATABASE copy RENAME TO broken")
        _on_the_server(main, f'ALTER DATABASE "{tried.id}" RENAME TO copy')
    else:
        for suffix in ("", ".branch"):
            Path(f"{_path(tried.url)}{suffix}").rename(f"{_path(main.url)}{suffix}")
    _lead(notes, main.url)

    assert _is_refused(notes, main)


def test_nothing_connects_to_it_before_it_is_asked_for_its_record(notes: Project, main: Existing) -> None:
    """Tests are imported before that."""
    _lead(notes, main.url)
    notes.files(test_notes="from notes import app, db\nwith app.app_context(): db.engine.connect().close()")
    before = main.content()

    result = notes.run("-n0")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("E * is the application's own database, which nothing connects to while tests run*")
    assert main.content() == before


def test_a_database_that_the_application_does_not_use_is_not_excused(
    notes: Project, main: Existing, tried: Branch
) -> None:
    """A file names it as the application's own, and the environment names another."""
    adopt(main)
    (notes.folder / ".env").write_text(f"DATABASE_URL={main.url}\n")
    _lead(notes, main.url)
    notes.variable("DATABASE_URL", tried.url)

    assert _is_refused(notes, main)


def test_nobody_else_may_by_another_name(notes: Project, tried: Branch) -> None:
    """Another name of the file, another way to write the host: where it leads is what counts."""
    _lead(notes, tried.url, "")
    url = sa.make_url(tried.url)
    if POSTGRES:
        host = Path(str(url.query["host"]))
        other = url.update_query_dict({"host": f"{host}/../{host.name}"})
    else:
        link = notes.folder / "link.sqlite"
        link.hardlink_to(_path(tried.url))
        other = url.set(database=str(link))
    notes.variable("DATABASE_URL", urls.plain(other))

    assert _is_refused(notes, tried)


def _is_refused(notes: Project, database: Existing | Branch, *arguments: str, at_once: bool = False) -> bool:
    before = Existing(database.url).content()
    result = notes.run("-n0", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(f"ERROR: {_OWN}")
    assert not at_once or "collected" not in result.stdout.str()
    return Existing(database.url).content() == before


def _path(url: str) -> Path:
    return urls.sqlite_file(sa.make_url(url))


def _on_the_server(database: Existing, statement: str) -> None:
    url = sa.make_url(database.url).set(database="postgres")
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def _comment(branch: Branch) -> str:
    engine = sa.create_engine(branch.url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        statement = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
        return str(connection.scalar(sa.text(statement)))
