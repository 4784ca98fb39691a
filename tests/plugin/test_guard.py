"""What must never be tested on, and what may: an existing branch."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from tests.plugin.production import ROWS, fill
from tests.plugin.projects import POSTGRES, on_a_server

from flask_branches import configured, record, urls

if TYPE_CHECKING:
    from tests.plugin.production import Databases, Production
    from tests.plugin.projects import Project

    from flask_branches import Branch

TESTS = """
    import pytest
    from notes import Note, db
    import sqlalchemy as sa

    ROWS = 1000

    @pytest.mark.branches(isolation="none")
    def test_it_has_its_rows_and_what_is_missing(app, branch, database_url):
        assert db.session.scalar(sa.text("SELECT count(*) FROM product")) == ROWS
        assert db.session.query(Note).count() == 0
        print("on:", branch.name)

    @pytest.mark.branches(isolation="branch")
    def test_a_copy_of_it(app, own_branch):
        assert db.session.scalar(sa.text("SELECT count(*) FROM product")) == ROWS
        db.session.add(Note(text="of the copy"))
        db.session.commit()

    def test_rolled_back(app):
        db.session.execute(sa.text("DELETE FROM product"))
        db.session.add(Note(text="rolled back"))
        db.session.commit()

    @pytest.mark.branches(isolation="branch")
    def test_another_copy_of_it(app, own_branch):
        assert db.session.scalar(sa.text("SELECT count(*) FROM product")) == ROWS
"""


class Existing:
    """A database that is not the application's own, with rows, and without one of its tables."""

    def __init__(self, url: str) -> None:
        self.url = url

    def content(self) -> list[tuple[str, int]]:
        """Its tables and how many rows they have."""
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            tables = sorted(sa.inspect(connection).get_table_names())
            return [(name, connection.scalar(sa.text(f"SELECT count(*) FROM {name}"))) for name in tables]  # noqa: S608


@pytest.fixture
def existing(notes: Project, request: pytest.FixtureRequest) -> Existing:
    """A database beside the application's own."""
    if POSTGRES:
        databases: Databases = request.getfixturevalue("databases")
        notes.variable("DATABASE_URL", databases.make("notes"))
        made = Existing(databases.make("copy"))
    else:
        made = Existing(f"sqlite:///{notes.folder / 'copy.sqlite'}")
    fill(made.url, "product", "name")
    notes.files(test_notes=TESTS)
    return made


def test_one_without_a_record_is_refused(notes: Project, existing: Existing) -> None:
    """In one line, before anything is written."""
    before = existing.content()
    result = notes.run(f"--branches-url={existing.url}", "-n0")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = (line for line in result.errlines if line)
    assert line.startswith("ERROR: --branches-url leads to ")
    assert "has no record that says it may be tested on. Make a branch with: flask branches create; or mark" in line
    assert existing.content() == before


@pytest.mark.parametrize("place", ["option", "environment", ".env.test"])
def test_the_application_s_own_database_is_refused(shop: Project, production: Production, place: str) -> None:
    """Wherever it is named."""
    named = {"option": "--branches-url", "environment": "BRANCHES_URL", ".env.test": "DATABASE_URL in .env.test"}
    if place == "environment":
        shop.variable("BRANCHES_URL", production.url)
    elif place == ".env.test":
        (shop.folder / ".env.test").write_text(f"DATABASE_URL={production.url}\n")
    before = production.content()
    shop.files(test_shop="def test_a(app): pass")
    arguments = [f"--branches-url={production.url}"] if place == "option" else []

    line = shop.refused(*arguments)
    assert line.startswith(f"{named[place]} leads to ")
    assert "the application's own database, which tests never write to. Make a branch with: flask" in line
    assert production.content() == before


def test_an_adopted_one_is_used_as_it_is(notes: Project, existing: Existing) -> None:
    """Its rows are kept, the missing table is made, and a test that asks gets a copy; all but that stays in it."""
    _adopt(existing)
    result = notes.run(f"--branches-url={existing.url}", "-n0", "-s")

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["branches: * itself, because --branches-url names it", "*on: copy*"])
    assert dict(existing.content()) == {"alembic_version": 1, "note": 0, "product": ROWS}
    assert notes.left() == []


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_one_may_be_left_unmigrated(notes: Project, existing: Existing, workers: str) -> None:
    """The code of an earlier release does not know the revision that it is at; here the missing table stays missing."""
    _adopt(existing)
    notes.files(test_notes="def test_a(database_url): pass")

    result = notes.run(f"--branches-url={existing.url}", "--branches-migrate=never", workers)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines("branches: * itself, not migrated, because --branches-url names it")
    assert dict(existing.content()) == {"alembic_version": 1, "product": ROWS}


def test_workers_get_copies_of_it(notes: Project, existing: Existing) -> None:
    """No two of them write to one database; named by .env.test, as a file that a build writes."""
    _adopt(existing)
    (notes.folder / ".env.test").write_text(f"DATABASE_URL={existing.url}\n")
    result = notes.run("-n2")

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines("branches: * itself, because DATABASE_URL in .env.test names it")
    assert dict(existing.content()) == {"alembic_version": 1, "note": 0, "product": ROWS}
    assert notes.left() == []


def _adopt(existing: Existing) -> None:
    url = sa.make_url(existing.url)
    made = record.made("copy", parent=None, main=None, expires_at=None)
    configured.backend_for(url).adopt(url, made)


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


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
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
        _adopt(main)
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
    _adopt(main)
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


@on_a_server
def test_an_application_on_files_on_a_server_s_branch(notes: Project, existing: Existing, databases: Databases) -> None:
    """The backend that a variable names as well is the URL's, and need not be the application's."""
    _adopt(existing)
    notes.variable("DATABASE_URL", None)
    notes.variable("BRANCHES_BACKEND", "postgres")
    notes.run(f"--branches-url={existing.url}", "-n0").assert_outcomes(passed=4)

    assert [name for name in databases.names() if "test-" in name] == []


ITS_OWN_WAY = """
    import pytest
    import sqlalchemy as sa
    from shop import Product, create_app, db

    @pytest.fixture
    def app():
        app = create_app()
        with app.app_context():
            db.create_all()
        yield app
        with app.app_context():
            db.drop_all()
"""
ALONE = """
    import pytest
    from flask_branches import Refused
    from shop import Product, create_app, db

    def test_by_an_application_of_its_own():
        app = create_app()
        with app.app_context():
            db.session.add(Product(name="pen"))
            with pytest.raises(Refused, match="the application's own database, which nothing connects to while"):
                db.session.commit()

    def test_by_a_connection_that_knows_no_engine():
        app = create_app()
        with app.app_context(), pytest.raises(Refused, match="own database"):
            db.engine.raw_connection()

    def test_by_a_fixture_that_takes_no_branch(request):
        with pytest.raises(Refused, match="take the fixture branch and use its URL"):
            request.getfixturevalue("app")
"""
LATE = """
    from shop import Product, create_app, db
    import pytest

    @pytest.fixture
    def app(branch):
        app = create_app()
        yield app
        with app.app_context(), pytest.raises(Exception, match="the application's own"):
            db.drop_all()

    @pytest.mark.parametrize("time", ["first", "second"])
    def test_an_application_that_was_not_told(app, time):
        db.session.add(Product(name="pen"))
        db.session.commit()
        assert db.session.query(Product).filter_by(name="pen").count() == 1
        assert "test-" in db.engine.url.database
"""


def test_nothing_in_a_run_reaches_it(shop: Project, production: Production) -> None:
    """Neither a fixture that makes and drops tables on it, nor a test with an application of its own."""
    shop.files(conftest=ITS_OWN_WAY, test_alone=ALONE, test_late=LATE)
    before = production.content()
    shop.run().assert_outcomes(passed=5)

    assert production.content() == before
    assert shop.left() == []


def test_no_migration_reaches_it(shop: Project, production: Production) -> None:
    """Also where an env.py looks for its database by itself, and where migrations are pending."""
    before = production.content()
    versions = shop.folder / "migrations" / "versions"
    (versions / "0002_second.py").write_text(SECOND)
    shop.files(test_shop=PENDING)
    shop.run("-n0").assert_outcomes(passed=1)
    assert production.content() == before

    env = shop.folder / "migrations" / "env.py"
    env.write_text(env.read_text().replace("def get_engine(bind_key=None):", ENV))
    line = _complaint(shop.run("-n0"))
    assert "own database, which nothing connects to while tests run" in line
    assert production.content() == before


SECOND = """
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade(engine_name):
    if engine_name != "audit":
        op.add_column("product", sa.Column("price", sa.Integer))
"""
PENDING = """
    import sqlalchemy as sa
    from shop import db

    def test_a(app):
        assert db.session.scalar(sa.text("SELECT count(price) FROM product")) == 0
"""
ENV = """
def get_engine(bind_key=None):
    import os

    from sqlalchemy import create_engine

    return create_engine(os.environ["AUDIT_URL" if bind_key else "DATABASE_URL"])


def not_used(bind_key=None):
"""


def _complaint(result: pytest.RunResult) -> str:
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = (line for line in result.errlines if line.startswith("ERROR"))
    return line
