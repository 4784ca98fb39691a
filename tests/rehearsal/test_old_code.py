"""The previous release's tests on the migrated branch."""

from __future__ import annotations

import os
import re
import shlex
import sys
import textwrap
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.branches.worlds import SQLITE

from flask_branches import InvalidValue
from flask_branches.branch import in_short
from flask_branches.rehearsal import old_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rehearsal.histories import History

    from flask_branches import Branch

    Write = Callable[[str], str]

_MINUTE = timedelta(minutes=1)

_RELEASE = {
    "shop.py": """
        import os

        from flask import Flask
        from flask_migrate import Migrate
        from flask_sqlalchemy import SQLAlchemy
        from sqlalchemy.orm import Mapped, mapped_column

        from flask_branches import Branches

        db, migrate, branches = SQLAlchemy(), Migrate(), Branches()


        class Note(db.Model):
            id: Mapped[int] = mapped_column(primary_key=True)
            text: Mapped[str]


        def create_app(url=None):
            app = Flask("shop", instance_path=os.getcwd())
            app.config["SQLALCHEMY_DATABASE_URI"] = url or os.environ["DATABASE_URL"]
            for extension in (db, branches):
                extension.init_app(app)
            migrate.init_app(app, db)
            return app
    """,
    "conftest.py": """
        import pytest
        from shop import create_app

        @pytest.fixture(scope="session")
        def app(branch):
            return create_app(branch.url)
    """,
    "test_shop.py": """
        import pytest
        from shop import Note, db

        @pytest.mark.parametrize("time", ["first", "second"])
        def test_rolled_back(app, time):
            assert [note.text for note in db.session.query(Note).order_by(Note.id)] == ["first", "second"]
            db.session.add(Note(text="third"))
            db.session.commit()

        @pytest.mark.branches(isolation="none")
        def test_what_stays(app):
            assert db.session.query(Note).count() == 2

        @pytest.mark.branches(isolation="branch")
        def test_on_a_branch_of_its_own(app, own_branch):
            db.session.add(Note(text="third"))
            db.session.commit()
            assert db.session.query(Note).count() == 3
    """,
    "pytest.ini": """
        [pytest]
        branches_app = shop:create_app
        filterwarnings = error
    """,
    "migrations/env.py": "raise AssertionError('it is not migrated')",
}
"""A checkout whose tests use the plugin, and whose migrations end before those that are pending."""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a program, and give the command that runs it."""

    def write(code: str) -> str:
        path = tmp_path / "old tests.py"
        path.write_text(code)
        return shlex.join([sys.executable, str(path)])

    return write


@pytest.fixture
def branch(history: History) -> Branch:
    """A branch whose URL has a password, which SQLite and a server that trusts everybody do not look at."""
    return history.world.branches.create("migrated")


def test_they_are_led_to_the_branch(write: Write, branch: Branch) -> None:
    """By both variables; the plugin is told to leave its schema as it is."""
    command = write(
        "import os\n"
        "print(os.environ['DATABASE_URL'] == os.environ['BRANCHES_URL'], os.environ['BRANCHES_MIGRATE'])\n"
        f"print({branch.name!r} in os.environ['DATABASE_URL'])\n"
    )

    tests = old_code.run(command, branch, _MINUTE)

    assert (tests.command, tests.status, tests.output) == (command, 0, "True never\nTrue\n")
    assert tests.took > 0


def test_what_they_say_is_shown_and_its_end_kept(
    write: Write, branch: Branch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of both outputs; their status is told as a shell does."""
    command = write(
        "import os, signal\nfor n in range(100): print('line', n, flush=True)\nos.kill(os.getpid(), signal.SIGTERM)"
    )

    tests = old_code.run(command, branch, _MINUTE)

    assert tests.status == 128 + 15
    assert tests.output.splitlines() == [f"line {number}" for number in range(60, 100)]
    assert capfd.readouterr().err.splitlines() == [f"line {number}" for number in range(100)]


def test_no_password_is_shown(write: Write, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither in what is kept nor in what is shown, of no URL."""
    from flask_branches.branch import Branch, now

    url = "postgresql+psycopg://me:hush-hush@localhost/x"
    branch = Branch(
        "x", "x", None, url, now(), None, "postgres", binds={"second": url.replace("hush-hush", "quiet%21")}
    )

    tests = old_code.run(write("import os; print(os.environ, 'redis://:geheim@h')"), branch, _MINUTE)

    for said in (tests.output, capfd.readouterr().err):
        assert "DATABASE_URL" in said
        assert "hush-hush" not in said
        assert "quiet" not in said
        assert "geheim" not in said


def test_what_does_not_end_is_ended(write: Write, branch: Branch, until: Callable[..., None]) -> None:
    """With what it has started; that is said."""
    command = write(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\nchild.wait()"
    )

    for seconds in (1, 4, 16, 64):  # a machine may be slow to begin
        tests = old_code.run(command, branch, timedelta(seconds=seconds))
        if len(tests.output.splitlines()) > 1:
            break

    pid, said = tests.output.splitlines()
    assert said == f"It had not ended after {in_short(timedelta(seconds=seconds))}, and was ended."
    assert tests.status == 128 + 9
    until(lambda: not _lives(int(pid)))


def _lives(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "The command of --old-tests is empty"),
        ("'", "cannot be read: No closing quotation"),
        ("no-such-program -q", "The program 'no-such-program' of --old-tests is not found"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused(history: History, command: str, said: str) -> None:
    """Before a branch is made."""
    with pytest.raises(InvalidValue, match=said):
        history.rehearse(old_tests=command)

    assert history.world.branches.list() == []


@pytest.mark.parametrize(("status", "verdict"), [(0, "safe"), (1, "unsafe")])
def test_old_tests_that_fail_are_not_safe(history: History, write: Write, status: int, verdict: str) -> None:
    """They run on what the migrations have made of the branch."""
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')")

    report = history.rehearse(old_tests=write(f"print('ran'); raise SystemExit({status})"))

    assert report.old_tests is not None
    assert (report.verdict, report.old_tests.status, report.old_tests.output) == (verdict, status, "ran\n")


def test_what_old_tests_leave_behind_is_told(history: History, write: Write) -> None:
    """Their data is not the migrations'."""
    connect = "sqlite3.connect(make_url(url).database)" if SQLITE else "psycopg.connect(url)"
    command = write(
        "import os, sqlite3, psycopg\n"
        "from sqlalchemy import make_url\n"
        "url = os.environ['DATABASE_URL']\n"
        f"with {connect} as connection: connection.execute('DROP TABLE note')\n"
    )

    report = history.rehearse(old_tests=command)

    assert report.verdict == "safe"
    assert any("left other rows" in each for each in report.warnings)


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The previous release, checked out; gives the command that runs its tests."""
    for name in list(os.environ):
        if name.startswith(("BRANCHES_", "DATABASE_URL", "PYTEST_", "QUESTIONS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    folder = tmp_path / "previous release"
    for name, text in _RELEASE.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    plugins = ["-p", "branches", "-p", "xdist", "-p", "no:cacheprovider"]
    return shlex.join([sys.executable, "-m", "pytest", *plugins, "--rootdir", str(folder), str(folder)])


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_tests_that_use_the_plugin_work_on_the_branch(history: History, release: str, workers: str) -> None:
    """Their release knows nothing of the revision that it is at, and leaves it as it is."""
    before = history.dump()
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')")

    report = history.rehearse(old_tests=f"{release} {workers}")

    assert report.old_tests is not None
    assert "4 passed" in report.old_tests.output, report.old_tests.output
    assert (report.verdict, report.old_tests.status, report.reasons) == ("safe", 0, ())
    assert not any("left other rows" in each for each in report.warnings)
    assert (history.dump(), history.world.branches.list()) == (before, [])


def test_tests_that_use_the_plugin_miss_what_was_dropped(history: History, release: str) -> None:
    """That its code needs it, they tell as they do anywhere."""
    history.add("op.execute('ALTER TABLE note DROP COLUMN text')")

    report = history.rehearse(old_tests=f"{release} -n0")

    assert report.old_tests is not None
    assert (report.verdict, report.old_tests.status) == ("unsafe", 1)
    assert "4 failed" in report.old_tests.output
    assert re.search('column (named )?"?text', report.old_tests.output)
