"""What is in the way of a run is one line, and the run ends there."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import TYPE_CHECKING

import pytest
from tests.plugin.projects import on_a_server, on_files

if TYPE_CHECKING:
    from tests.plugin.projects import Project

TESTS = """
    import pytest

    @pytest.mark.parametrize("number", range(3))
    def test_a(app, number):
        pass
"""
NO_BRANCHES = "from flask import Flask\napp = Flask('bare')"
NO_SQLALCHEMY = "from flask import Flask\nfrom flask_branches import Branches\napp = Flask('bare')\nBranches(app)"
NO_URL = """
from flask import Flask
from flask_branches import Branches
from flask_sqlalchemy import SQLAlchemy

app = Flask("bare")
app.config["SQLALCHEMY_BINDS"] = {"other": "sqlite://"}
SQLAlchemy(app)
Branches(app)
"""
WRONG = [
    (
        "nowhere:create_app",
        "",
        "branches_app is 'nowhere:create_app', from which no application can be had: ModuleNotFoundError: No module *",
    ),
    ("bare:create", NO_BRANCHES, "*no application can be had: NoAppException: Failed to find attribute 'create' in *"),
    ("bare", "x = 1", "*no application can be had: NoAppException: Failed to find Flask application or factory *"),
    ("bare", "raise KeyError('SHOP_KEY')", "*no application can be had: KeyError: 'SHOP_KEY'."),
    ("bare", "import sys\nsys.exit('no settings')", "*no application can be had: SystemExit: no settings."),
    ("bare", "def create_app() return", "*no application can be had: SyntaxError: *"),
    ("bare", "def create_app(x): pass", "*no application can be had: NoAppException: Detected factory 'create_app' *"),
    ("bare", NO_BRANCHES, "branches_app is 'bare', whose application has no branches: call Branches(app) there."),
    ("bare:app", NO_SQLALCHEMY, "The application 'bare' has no Flask-SQLAlchemy: call db.init_app(app) before *"),
    ("bare:app", NO_URL, "SQLALCHEMY_DATABASE_URI of 'bare' is not set: name the database to branch."),
]


@on_files
@pytest.mark.parametrize(("spec", "module", "message"), WRONG, ids=[message[-40:] for *_, message in WRONG])
def test_an_application_that_cannot_be_had(project: Project, spec: str, module: str, message: str) -> None:
    """It is named as the ini file has it, with what is missing."""
    project.ini(f"branches_app = {spec}")
    (project.folder / "bare.py").write_text(module)
    project.files(test_a=TESTS)

    assert fnmatch(project.refused(), message)


@on_files
def test_a_database_of_another_kind(project: Project) -> None:
    """The kinds that there are backends for are named."""
    module = NO_URL.replace('["SQLALCHEMY_BINDS"] = {"other": "sqlite://"}', '["SQLALCHEMY_DATABASE_URI"] = URL')
    project.files(bare=f"import sqlalchemy as sa\nURL = 'mysql+fake://me@host/db'\n{FAKE}{module}")
    project.ini("branches_app = bare:app")

    assert project.refused() == "A mysql database cannot be branched: there are backends for SQLite and Postgres."


FAKE = """
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.mysql.base import MySQLDialect


class Fake(MySQLDialect):
    driver = "fake"
    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls):
        import sqlite3

        return sqlite3


import sys
sys.modules["fake"] = type("fake", (), {"Fake": Fake})
registry.register("mysql.fake", "fake", "Fake")
"""


@on_files
def test_a_project_can_still_be_listed(project: Project) -> None:
    """An editor that collects tests needs no application."""
    project.ini("branches_app = nowhere:create_app")
    project.files(test_a=TESTS)
    result = project.run("--collect-only")

    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["branches: branches_app is 'nowhere:create_app', from which *", "*= 3 tests collected *"]
    )


@on_files
def test_a_disk_that_cannot_be_written_to(shop: Project) -> None:
    """SQLite's branches lie beside the database: what is in their way is named."""
    (shop.folder / "instance").mkdir()
    (shop.folder / "instance" / "shop.sqlite.branches").write_text("in the way")
    shop.files(test_a=TESTS)

    line = shop.refused()
    assert "shop.sqlite.branches could not be used: " in line


LAZY = """
    import pytest

    @pytest.mark.parametrize("number", range(3))
    def test_a(request, number):
        request.getfixturevalue("branch")
"""


@on_a_server
@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_server_that_is_down(shop: Project, workers: str) -> None:
    """Where it was looked for is said, and its password is not."""
    _down(shop)
    shop.files(test_a=TESTS)
    result = shop.run(workers)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = (line for line in result.errlines if line)
    assert line.startswith("ERROR: The server at 127.0.0.1:1 cannot be reached (")
    assert "hush" not in line
    assert "Traceback" not in result.stdout.str()


@on_a_server
def test_a_run_does_not_repeat_it(shop: Project) -> None:
    """Where only a test's body asks for a branch, the first one fails, and the run stops."""
    _down(shop)
    shop.files(test_a=LAZY)
    result = shop.run()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["The server at 127.0.0.1:1 cannot be reached *", "*! there is no branch to test on !*"]
    )
    assert "Traceback" not in result.stdout.str()


def _down(shop: Project) -> None:
    shop.variable("DATABASE_URL", "postgresql+psycopg://me:hush-7@127.0.0.1:1/shop")
    shop.variable("AUDIT_URL", "postgresql+psycopg://me:hush-7@127.0.0.1:1/audit")


@on_a_server
def test_no_postgres_to_start(shop: Project) -> None:
    """The remedy is a package, or a folder of binaries."""
    shop.variable("POSTGRES_BIN", str(shop.folder))
    shop.files(test_a=TESTS)

    assert "POSTGRES_BIN is " in shop.refused("--branches-backend=postgres")


@on_a_server
def test_a_server_that_goes_away_during_the_run(shop: Project) -> None:
    """The tests say so, each for itself; what could not be deleted is one line at the end, and the status is theirs."""
    shop.files(test_a=GOING)
    result = shop.run("--branches-backend=postgres", "-n0")

    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "INTERNALERROR" not in result.stdout.str()
    (line,) = (line for line in result.errlines if line.startswith("branches: "))
    assert line.startswith("branches: what is left of the run could not be deleted: The server at ")


GOING = """
    import os
    import signal
    import time
    from pathlib import Path

    from shop import Product, db
    import sqlalchemy as sa

    def test_a(app):
        folder = db.session.scalar(sa.text("SHOW data_directory"))
        db.session.rollback()
        os.kill(int(Path(folder, "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
        while Path(folder, "postmaster.pid").exists():
            time.sleep(0.01)

    def test_b(app):
        db.session.query(Product).count()
"""
