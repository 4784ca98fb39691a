"""An application's schema brought into a branch: by Flask-Migrate as it comes, or from the models."""

from __future__ import annotations

import importlib
import logging
import sys
from typing import TYPE_CHECKING, Any

import flask_migrate
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from tests.branches.worlds import POSTGRES

from flask_branches import Branch, MigrationFailed, migrating
from flask_branches.migrating import fingerprint, migrate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.branches.worlds import Client, World

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Flask-Migrate's env.py

_NEXT = '''"""Stars."""

import sqlalchemy as sa
from alembic import op

revision = "next"
down_revision = {head!r}


def upgrade(engine_name=None):
    if engine_name in (None, ""):
        {what}


def downgrade(engine_name=None):
    pass
'''


@pytest.fixture
def migrated(make_world: MakeWorld, tmp_path: Path) -> Callable[..., World]:
    """Make an application with stock migrations, made by Flask-Migrate itself from its models."""

    def make(kind: str, *, binds: bool = False) -> World:
        world = make_world(kind, binds=binds, fill=False)
        flask_migrate.Migrate(world.app, world.db, directory=str(tmp_path / "migrations"))
        with migrating._loggers_kept():
            flask_migrate.init(multidb=binds)
            flask_migrate.migrate(message="first", rev_id="first")
        world.let_go()
        return world

    return make


def _add(world: World, what: str) -> None:
    folder = migrating.folder(world.app)
    assert folder is not None
    (folder / "versions" / "next_.py").write_text(_NEXT.format(head="first", what=what))


def _tables(url: str | sa.URL) -> list[str]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return sorted(sa.inspect(connection).get_table_names())


@pytest.mark.parametrize("binds", [False, True])
def test_stock_migrations_are_run_on_the_branch(
    migrated: Callable[..., World], kind: str, at: At, *, binds: bool
) -> None:
    """On every one of its databases, and on none of the application's own."""
    world = migrated(kind, binds=binds)
    branch = world.branches.create(parent="empty")

    migrate(world.app, branch)

    assert _tables(branch.url) == ["alembic_version", "note"]
    assert at(branch).run("SELECT version_num FROM alembic_version") == [("first",)]
    if binds:
        assert _tables(branch.binds["second"]) == ["alembic_version", "tag"]
    for engine in world.db.engines.values():
        assert "note" not in sa.inspect(engine).get_table_names()
        assert "tag" not in sa.inspect(engine).get_table_names()
    world.let_go()


def test_pending_migrations_are_run_on_rows(migrated: Callable[..., World], kind: str, at: At) -> None:
    """A branch of main begins where main is; main stays there."""
    world = migrated(kind)
    with migrating._loggers_kept():
        flask_migrate.upgrade()
    world.add("first")
    _add(world, "op.add_column('note', sa.Column('stars', sa.Integer, server_default='5'))")
    branch = world.branches.create()

    migrate(world.app, branch)

    assert at(branch).run("SELECT text, stars FROM note") == [("first", 5)]
    assert at(branch).run("SELECT version_num FROM alembic_version") == [("next",)]
    assert world.db.session.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == "first"
    world.let_go()
    migrate(world.app, branch)
    assert "stars" in world.branches.diff(branch.name)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (
            "op.execute('SELECT * FROM nowhere')",
            r"^The schema could not be brought into the branch 'mine': \w+Error: .*nowhere",
        ),
        ("raise KeyError('odd')", r"^The schema could not be brought into the branch 'mine': KeyError: 'odd'$"),
        ("raise RuntimeError('odd')", r"^Alembic refuses the migrations in .*migrations: odd\. Correct them\.$"),
    ],
)
def test_a_migration_that_fails_is_named(migrated: Callable[..., World], kind: str, what: str, said: str) -> None:
    """In one line; the application is on its own database again."""
    world = migrated(kind)
    _add(world, what)
    branch = world.branches.create("mine", parent="empty")
    before = world.db.engine.url

    with pytest.raises(MigrationFailed, match=said) as raised:
        migrate(world.app, branch)

    assert "\n" not in str(raised.value)
    assert world.db.engine.url == before


def test_a_branch_that_is_ahead_is_named(migrated: Callable[..., World], kind: str) -> None:
    """Its revision is in no file: production is newer than the checkout."""
    world = migrated(kind)
    with migrating._loggers_kept():
        flask_migrate.upgrade()
    with world.db.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'newer'")
    branch = world.branches.create("mine")

    with pytest.raises(
        MigrationFailed, match=r"^Alembic refuses .*: Can't locate revision identified by 'newer'\. Correct"
    ):
        migrate(world.app, branch)


def test_loggers_are_as_they_were(migrated: Callable[..., World], kind: str, tmp_path: Path) -> None:
    """Those that there were go on, with their levels and handlers; those that are new keep nothing."""
    world = migrated(kind)
    for name in ("alembic", "alembic.runtime.migration", "sqlalchemy.engine", "flask_migrate"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    mine = logging.getLogger("tests.branches.mine")
    handler = logging.FileHandler(tmp_path / "log")
    mine.addHandler(handler)
    mine.setLevel(logging.DEBUG)
    mine.propagate = False
    before = _loggers()

    migrate(world.app, world.branches.create(parent="empty"))

    after = _loggers()
    assert {name: after[name] for name in before} == before
    assert {after[name] for name in after.keys() - before.keys()} <= {(False, logging.NOTSET, True, ())}
    mine.debug("still here")
    handler.close()
    mine.removeHandler(handler)
    assert (tmp_path / "log").read_text() == "still here\n"


def _loggers() -> dict[str, Any]:
    found = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]
    return {
        each.name: (each.disabled, each.level, each.propagate, tuple(each.handlers))
        for each in found
        if isinstance(each, logging.Logger)
    }


def test_without_migrations_the_models_tables_are_made(make_world: MakeWorld, kind: str, at: At) -> None:
    """In the binds too; those that are there keep what they hold, and main is left alone."""
    world = make_world(kind, binds=True)
    with world.db.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE other (id INTEGER)")
    full, empty = world.branches.create(), world.branches.create(parent="empty")
    at(full.binds["second"]).run("DROP TABLE tag")

    for branch in (full, empty):
        migrate(world.app, branch)

    assert at(full).texts() == ["first", "second"]
    assert at(full.binds["second"]).texts("tag") == at(empty).texts() == at(empty.binds["second"]).texts("tag") == []
    assert world.texts() == ["first", "second"]
    assert world.texts(world.Tag) == ["red", "green"]


def test_a_fingerprint_changes_with_the_migrations(migrated: Callable[..., World], kind: str) -> None:
    """With any of their files, and with nothing else."""
    world = migrated(kind)
    folder = migrating.folder(world.app)
    assert folder is not None
    before = fingerprint(world.app)

    (folder / "versions" / "__pycache__").mkdir(exist_ok=True)
    (folder / "versions" / "__pycache__" / "x.pyc").write_bytes(b"compiled")
    assert fingerprint(world.app) == before
    _add(world, "pass")
    after = fingerprint(world.app)
    assert after != before
    _add(world, "print()")
    assert fingerprint(world.app) not in {before, after}


def test_a_fingerprint_changes_with_the_models(make_world: MakeWorld) -> None:
    """Where there are no migrations: with a column or an index, in a bind too."""
    world = make_world(binds=True)
    before = fingerprint(world.app)
    assert fingerprint(world.app) == before

    world.Tag.__table__.append_column(sa.Column("stars", sa.Integer))
    after = fingerprint(world.app)
    sa.Index("tag_text", world.Tag.text)
    assert len({before, after, fingerprint(world.app)}) == 3


@pytest.mark.parametrize("event", ["before_create", "after_create"])
@pytest.mark.parametrize("of", ["table", "metadata"])
def test_a_fingerprint_changes_with_what_an_event_makes(
    make_world: MakeWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str, event: str
) -> None:
    """With a statement's text, and with the module of a function, which is not called: it might write anywhere."""
    world = make_world()
    target = world.Note.__table__ if of == "table" else world.db.metadata
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "maker_of_views.py"
    source.write_text("def make(*_, **__):\n    raise AssertionError\n")
    monkeypatch.delitem(sys.modules, source.stem, raising=False)
    make = importlib.import_module(source.stem).make

    found = [fingerprint(world.app)]
    statement: Any = sa.DDL
    for listener in (make, statement("CREATE VIEW one AS SELECT 1"), statement("CREATE VIEW two AS SELECT 2")):
        sa.event.listen(target, event, listener)
        found.append(fingerprint(world.app))
    source.write_text(f"# another\n{source.read_text()}")
    found.append(fingerprint(world.app))

    assert len(set(found)) == 5
    assert fingerprint(world.app) == found[-1]


@pytest.mark.skipif(not POSTGRES, reason="SQLite has no types of its own")
@pytest.mark.parametrize("of", ["table", "metadata"])
def test_a_fingerprint_changes_with_the_values_of_a_type(make_world: MakeWorld, of: str) -> None:
    """They stand in no table's statement."""
    found = set()
    for number, values in enumerate([("low", "high"), ("low", "high", "none"), ("low", "high", "none")]):
        world = make_world("server", name=f"app{number}", fill=False)
        kept_in = world.db.metadata if of == "metadata" else None
        world.Note.__table__.append_column(sa.Column("level", sa.Enum(*values, name="level", metadata=kept_in)))
        found.add(fingerprint(world.app))

    assert len(found) == 2


def test_what_no_database_of_that_kind_has_is_said_when_it_is_made(light: World) -> None:
    """Not as soon as it is looked whether a template is there."""
    before = fingerprint(light.app)
    light.Note.__table__.append_column(sa.Column("odd", postgresql.TSVECTOR))

    assert fingerprint(light.app) != before
    with pytest.raises(MigrationFailed, match="TSVECTOR"):
        migrate(light.app, light.branches.create(parent="empty"))


def test_an_application_may_have_no_folder_yet(make_world: MakeWorld, tmp_path: Path) -> None:
    """Flask-Migrate is there, and `flask db init` has not been called: the models count."""
    world = make_world()
    without = fingerprint(world.app)
    flask_migrate.Migrate(world.app, world.db, directory=str(tmp_path / "migrations"))

    assert migrating.folder(world.app) is None
    assert fingerprint(world.app) == without
