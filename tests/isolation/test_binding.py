"""An application that already runs works on a branch for a while, and then as before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_branches import Branches, ConfigurationError
from flask_branches.binding import bound, is_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.isolation.conftest import World

    from flask_branches import Branch


POSTGRES = os.environ.get("QUESTIONS_CONFIG") == "postgres"


@pytest.fixture(scope="session")
def extension(built: World) -> Branches:
    """The application's branches."""
    return Branches(built.app)


@pytest.fixture
def branch(untouched: World, extension: Branches) -> Iterator[Branch]:
    """A branch of both of its databases."""
    with untouched.app.app_context(), extension.temporary() as made:
        yield made


def test_an_application_works_on_its_branch_and_goes_back(untouched: World, branch: Branch) -> None:
    """Every bind, by the session and by an engine that was taken before; nothing of it is in the application's own."""
    engine = untouched.engine()
    with bound(untouched.app, branch):
        assert is_on(untouched.app, branch)
        with untouched.app.app_context():
            untouched.db.session.add_all([untouched.Note(text="a"), untouched.Entry(text="a")])
            untouched.db.session.commit()
            assert (untouched.count(), untouched.count(untouched.Entry)) == (2, 2)
        with engine.connect() as connection:
            assert connection.scalar(sa.select(sa.func.count(untouched.Note.id))) == 2
        assert engine.url.database != untouched.app.config["SQLALCHEMY_DATABASE_URI"].database

    assert not is_on(untouched.app, branch)
    with untouched.app.app_context():
        assert (untouched.count(), untouched.count(untouched.Entry)) == (1, 1)


def test_what_an_error_interrupts_goes_back_too(untouched: World, branch: Branch) -> None:
    """The application's own database is its own again, whatever happened."""
    with pytest.raises(ZeroDivisionError), bound(untouched.app, branch):
        raise ZeroDivisionError
    assert not is_on(untouched.app, branch)


def test_listeners_hear_of_the_branch_too(untouched: World, branch: Branch) -> None:
    """Those of new connections, such as one that sets PRAGMAs, and those of statements."""
    engine, heard = untouched.engine(), []
    listeners = {
        "connect": lambda *_: heard.append("connect"),
        "before_cursor_execute": lambda *_: heard.append("execute"),
    }
    for name, listener in listeners.items():
        sa.event.listen(engine, name, listener)
    with bound(untouched.app, branch), engine.connect() as connection:
        connection.execute(sa.select(untouched.Note.id))
    for name, listener in listeners.items():
        sa.event.remove(engine, name, listener)
    assert heard[0] == "connect"
    assert heard[-1] == "execute"


@pytest.mark.skipif(not POSTGRES, reason="what a driver is passed beside the URL is Postgres' in this test")
def test_what_the_application_passes_beside_its_url_goes_to_the_branch(built: World, extension: Branches) -> None:
    """A password, certificates or a timeout among `connect_args` count there too."""
    app = Flask("beside")
    app.config["SQLALCHEMY_DATABASE_URI"] = built.engine().url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"connect_args": {"application_name": "from beside"}}
    db = SQLAlchemy(app)
    branches = Branches(app)
    built.engine().dispose()
    with app.app_context(), branches.temporary() as made, bound(app, made):
        name = db.session.scalar(sa.text("SELECT current_setting('application_name') || current_database()"))
        db.session.remove()
    with app.app_context():
        db.engine.dispose()
    assert name == f"from beside{made.id}"


def test_a_block_inside_a_block_counts(untouched: World, branch: Branch, extension: Branches) -> None:
    """A session has a branch, and one of its tests has another; afterwards the session's is back."""
    with untouched.app.app_context(), extension.temporary() as inner, bound(untouched.app, branch):
        for text, where in (("outer", branch), ("inner", inner), ("outer again", branch)):
            with bound(untouched.app, where):
                untouched.db.session.add(untouched.Note(text=text))
                untouched.db.session.commit()
                assert is_on(untouched.app, where)
            untouched.db.session.remove()
        assert untouched.count() == 3
        untouched.db.session.remove()
        with bound(untouched.app, inner):
            assert untouched.count() == 2
            untouched.db.session.remove()


def test_a_database_of_another_kind_takes_the_engine_s_place(tmp_path: Path) -> None:
    """An application of one kind can be tried on the other; its engine comes back."""
    app = Flask("other")
    app.config["SQLALCHEMY_DATABASE_URI"] = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
    db = SQLAlchemy(app)
    elsewhere = Flask("elsewhere")
    elsewhere.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'other.sqlite'}"
    SQLAlchemy(elsewhere)
    branches = Branches(elsewhere)
    with elsewhere.app_context(), branches.temporary(parent="empty") as made, app.app_context():
        before = db.engine
        with bound(app, made):
            assert db.engine.dialect.name == "sqlite"
            assert db.session.scalar(sa.text("SELECT 1")) == 1
            db.session.remove()
            with (
                elsewhere.app_context(),
                branches.temporary(parent="empty") as inner,
                app.app_context(),
                bound(app, inner),
            ):
                assert db.engine.url.database == inner.id
        assert db.engine is before


def test_a_bind_that_the_branch_does_not_have_is_named(untouched: World, branch: Branch) -> None:
    """No bind is left on the application's own database."""
    from dataclasses import replace

    with (
        pytest.raises(ConfigurationError, match="has the bind 'second'"),
        bound(untouched.app, replace(branch, binds={})),
    ):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
def test_a_forked_process_leaves_its_parent_s_connection_alone(untouched: World, branch: Branch) -> None:
    """What it has inherited is not its own: it connects anew, and its end ends nothing."""
    import warnings

    with bound(untouched.app, branch), untouched.app.app_context():
        assert untouched.count() == 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on, where there are threads
            child = os.fork()
        if child == 0:
            _count_and_leave(untouched)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert untouched.count() == 1
        untouched.db.session.remove()


def _count_and_leave(world: World) -> Any:
    """Never back into pytest."""
    status = 1
    try:
        with world.engine().connect() as connection:
            status = 0 if connection.scalar(sa.select(sa.func.count(world.Note.id))) == 1 else 2
    finally:
        os._exit(status)
