"""How an application and its extension find each other, and what is said where they cannot."""

from __future__ import annotations

import gc
import weakref
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.cli import NoAppException
from flask_sqlalchemy import SQLAlchemy

from flask_branches import Branches, BranchNotFound, ConfigurationError, DatabaseFailed, InvalidValue, urls
from flask_branches.config import read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.branches.worlds import World

    MakeWorld = Callable[..., World]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"BRANCHES_BACKEND": "oracle"},
            r"^BRANCHES_BACKEND names the backend 'oracle': there are neon, postgres, sqlite\.$",
        ),
        (
            {"BRANCHES_EXPIRE": "soon"},
            r"^BRANCHES_EXPIRE 'soon' is not a duration: write for example 30m, 12h or 7d\.$",
        ),
        ({"BRANCHES_EXPIRE": 3600}, r"^BRANCHES_EXPIRE 3600 is not a duration"),
        ({"BRANCHES_EXPIRE": 0}, r"^BRANCHES_EXPIRE 0 is not a duration"),
        ({"BRANCHES_EXPIRE": False}, r"^BRANCHES_EXPIRE False is not a duration"),
        ({"BRANCHES_EXPIRE": timedelta(0)}, r"^BRANCHES_EXPIRE '0:00:00' is over before it begins"),
        ({"BRANCHES_EXPIRE": ["1h"]}, r"^BRANCHES_EXPIRE \['1h'\] is not a duration"),
        ({"BRANCHES_BACKEND": ["sqlite"]}, r"^BRANCHES_BACKEND names the backend \['sqlite'\]: there are"),
        (
            {"BRANCHES_EXPIRES": "1h"},
            r"^BRANCHES_EXPIRES in the application's configuration is not a setting\. Did you",
        ),
        (
            {"BRANCHES_X": "1h"},
            r"^BRANCHES_X in .* is not a setting\. There are: BRANCHES_API_PATIENCE, BRANCHES_API_TIMEOUT, ",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_at_the_start(settings: dict[str, Any], said: str) -> None:
    """With its name, its value and the remedy; as Flask's own error, so that no command shows a traceback."""
    app = Flask("app")
    app.config.update(settings)

    with pytest.raises(ConfigurationError, match=said) as raised:
        Branches(app)
    assert isinstance(raised.value, NoAppException)


def test_the_environment_is_read_where_the_application_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty value counts as none; a misspelt variable is refused."""
    monkeypatch.setenv("BRANCHES_EXPIRE", "2h")
    monkeypatch.setenv("BRANCHES_BACKEND", "")
    assert (read({}).expires_in.total_seconds(), read({}).backend) == (7200, None)
    assert read({"BRANCHES_EXPIRE": "3h"}).expires_in.total_seconds() == 10800
    assert read({"BRANCHES_EXPIRE": ""}).expires_in.total_seconds() == 7200

    monkeypatch.setenv("BRANCHES_EXPIER", "2h")
    with pytest.raises(
        ConfigurationError, match=r"^BRANCHES_EXPIER in the environment .* Did you mean BRANCHES_EXPIRE\?"
    ):
        read({})


def test_the_backend_must_be_the_database_s(one: World) -> None:
    """What is named goes before, and then has to be true."""
    own = one.backend.name
    other = "postgres" if own == "sqlite" else "sqlite"
    app = Flask("other")
    app.config |= {"SQLALCHEMY_DATABASE_URI": one.db.engine.url, "BRANCHES_BACKEND": other, **one.variables}
    SQLAlchemy(app)
    branches = Branches(app)

    with (
        app.app_context(),
        pytest.raises(ConfigurationError, match=rf"^BRANCHES_BACKEND is '{other}', and .* is {own}: leave"),
    ):
        branches.list()


def test_an_application_is_joined_once() -> None:
    """A second time is a mistake that is named; so is none at all."""
    app = Flask("app")
    branches = Branches(app)
    with pytest.raises(
        ConfigurationError, match=r"^The application 'app' has its branches already: call init_app once"
    ):
        branches.init_app(app)

    with Flask("other").app_context():
        for use in (branches.create, branches.list, branches.prune):
            with pytest.raises(
                ConfigurationError, match=r"^The application 'other' has no branches: call branches\.init"
            ):
                use()


def test_an_application_needs_flask_sqlalchemy_and_a_default_database() -> None:
    """The message names what is to be called, or set."""
    app = Flask("app")
    branches = Branches(app)
    with (
        app.app_context(),
        pytest.raises(ConfigurationError, match=r"^The application 'app' has no Flask-SQLAlchemy: call"),
    ):
        branches.list()

    app = Flask("binds")
    app.config["SQLALCHEMY_BINDS"] = {"second": "sqlite://"}
    SQLAlchemy(app)
    branches.init_app(app)
    with app.app_context(), pytest.raises(ConfigurationError, match=r"^SQLALCHEMY_DATABASE_URI of 'binds' is not set"):
        branches.list()


def test_flask_sqlalchemy_may_come_later(tmp_path: Path) -> None:
    """An application is looked into when its branches are first used."""
    app = Flask("app", instance_path=str(tmp_path))
    branches, db = Branches(app), SQLAlchemy()
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///app.sqlite"
    db.init_app(app)

    with app.app_context():
        assert branches.list() == []


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "oracle://h/d"])
def test_another_kind_of_database_is_refused(url: str) -> None:
    """And the two that can be branched are named."""
    with pytest.raises(
        ConfigurationError, match=r"^A (mysql|oracle) database cannot be branched: there are backends for"
    ):
        urls.backend_of(sa.make_url(url))


@pytest.mark.parametrize("text", ["", "nothing", "postgresql://u:secret@h:port/d"])
def test_what_is_no_url_is_refused_without_being_repeated(text: str) -> None:
    """It may hold a password."""
    with pytest.raises(
        ConfigurationError, match=r"^BRANCHES_URL cannot be read: write sqlite:///file or postgresql://u"
    ) as r:
        urls.parsed(text, "BRANCHES_URL")
    assert "secret" not in str(r.value)


def test_an_installed_driver_is_taken_where_a_url_names_none() -> None:
    """Whatever this SQLAlchemy means by it; a driver that is named stays."""
    for text in ("postgres://h/d", "postgresql://h/d"):
        url = urls.parsed(text)
        assert url.get_backend_name() == "postgresql"
        url.get_dialect().import_dbapi()
    assert urls.parsed("postgresql+psycopg2://h/d").drivername == "postgresql+psycopg2"


def test_what_no_url_can_say_is_refused() -> None:
    """Better than a URL that leads elsewhere; which names are meant depends on SQLAlchemy's version."""
    for name in ("plain", '100% "odd"; drop', "a?b", "it's #1"):
        url = sa.URL.create("postgresql", host="h", database=name)
        if sa.make_url(urls.plain(url)).database == name:
            urls.require_written(url)
        else:
            with pytest.raises(
                InvalidValue, match=r"^'a\?b' cannot be written in a URL, SQLAlchemy 2\.0.* reads 'a': choose"
            ):
                urls.require_written(url)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("sqlite:////a/b.sqlite", "sqlite+pysqlite:////a/../a/b.sqlite?timeout=3", True),
        ("sqlite:////a/b.sqlite", "sqlite:////a/c.sqlite", False),
        ("sqlite://", "sqlite:///:memory:", True),
        ("postgresql://a@h/d", "postgresql+psycopg://b:secret@h:5432/d", True),
        ("postgresql://a@h/d", "postgresql://a@h:5433/d", False),
        ("postgresql://a@h/d", "postgresql://a@/d?host=h&port=5432", True),
        ("postgresql://d@h", "postgresql://a@h/d", True),
        ("postgresql://h/d", "sqlite:////h/d", False),
    ],
)
def test_urls_are_compared_by_where_they_lead(one: str, other: str, *, same: bool) -> None:
    """Not by how they are written."""
    assert (urls.key(sa.make_url(one)) == urls.key(sa.make_url(other))) is same


def test_a_database_that_is_missing_cannot_be_a_parent(make_world: MakeWorld, kind: str, tmp_path: Path) -> None:
    """The message names it; nothing is made, but a branch that begins empty can be."""
    if kind == "memory":
        pytest.skip("an in-memory database is never missing")
    world = make_world(kind)
    missing = str(tmp_path / "missing.sqlite") if kind == "file" else "missing"
    app = Flask("missing")
    app.config["SQLALCHEMY_DATABASE_URI"] = world.main.set(database=missing)
    SQLAlchemy(app)
    branches = Branches(app)

    with app.app_context():
        with pytest.raises(BranchNotFound, match=r"'main'.*missing.*: make it.*, or branch from '?empty"):
            branches.create("mine")
        branches.create("mine", parent="empty")
        with pytest.raises((BranchNotFound, DatabaseFailed), match=r"missing"):
            branches.diff("mine", "main")
        branches.delete("mine")
        branches.databases.close()
    assert not (tmp_path / "missing.sqlite").exists()


def test_no_application_is_kept() -> None:
    """What nobody else holds is gone, its branches' settings too."""
    branches = Branches()
    app = Flask("app")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    SQLAlchemy(app)
    branches.init_app(app)
    with app.app_context():
        assert branches.list() == []
    seen = weakref.ref(app)

    del app
    gc.collect()

    assert seen() is None
