"""`flask branches rehearse`: what a pipeline asks, and what it is told."""

from __future__ import annotations

import json
import signal
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any

import pytest
from tests.branches.worlds import SQLITE
from tests.rehearsal.histories import USUAL, History

from flask_branches import rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result
    from tests.branches.worlds import Places, World

    Run = Callable[..., Result]


@pytest.fixture
def rehearse(history: History) -> Run:
    """Run the command without what comes after the migrations, and look at its status."""

    def run(*arguments: str, status: int = 0) -> Result:
        command = ["branches", "rehearse", "--no-drift", "--no-undo", *arguments]
        result = history.world.app.test_cli_runner().invoke(args=command)
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        return result

    return run


def test_what_is_safe_is_zero(history: History, rehearse: Run) -> None:
    """And the parent is as it was."""
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')")
    before = history.dump()

    result = rehearse()

    assert result.output.startswith("Safe to deploy")
    assert "r1" in result.output
    assert history.dump() == before
    assert history.world.branches.list() == []


def test_lost_rows_are_one(history: History, rehearse: Run) -> None:
    """With the table and the number."""
    history.add("op.execute('DELETE FROM note WHERE id = 1')")

    output = rehearse(status=1).output

    assert output.startswith("Not safe to deploy")
    assert "r1 loses 1 row of" in output


@pytest.mark.skipif(SQLITE, reason="SQLite tells nothing of its locks")
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--max-lock", "100"), "readers and writers of public.note wait up to"),
        (("--max-rewrite", "1kB"), "r1 rewrites public.note"),
    ],
)
def test_a_limit_that_is_passed_is_one(history: History, rehearse: Run, options: tuple[str, ...], reason: str) -> None:
    """The default limits are wide enough for what is small."""
    history.add("op.execute('ALTER TABLE note ALTER COLUMN id TYPE bigint'); op.execute('SELECT pg_sleep(0.2)')")

    rehearse()
    assert reason in rehearse(*options, status=1).output


def test_what_fails_is_two(history: History, rehearse: Run) -> None:
    """A pipeline can tell it from what is not safe."""
    history.add("op.execute('SELECT * FROM nowhere')")

    output = rehearse(status=2).output

    assert "SELECT * FROM nowhere" in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "nothing"], "Can't locate revision identified by 'nothing'"),
        (["--parent", "nobody"], "There is no branch 'nobody'"),
        (["--timeout", "soon"], "timeout 'soon' is not a duration: write for example 30m, 12h or 7d."),
        (["--max-rewrite", "much"], "'much' is not a size: write for example 100MB or 2GB."),
        (["--report", "report.txt"], "'report.txt' names no form of report"),
        (["--max-lock", "-1"], "-1.0 is not in the range"),
        (["--max-lock", "inf"], "max_lock inf is no limit: give a number of milliseconds, 0 or more."),
        (["--max-lock", "nan"], "max_lock nan is no limit: give a number of milliseconds, 0 or more."),
        (["--max-rewrite", "9" * 400], "is larger than any table: write for example 100MB or 2GB."),
    ],
)
def test_what_cannot_be_rehearsed_is_two(history: History, rehearse: Run, arguments: list[str], said: str) -> None:
    """In one line that names the value and the remedy; no branch is left."""
    history.add("pass")

    assert said in rehearse(*arguments, status=2).output
    assert history.world.branches.list() == []


@pytest.mark.parametrize("size", ["1048576", "1024kB", "1MB", "1 mb", "0.001GB"])
def test_sizes_are_written_as_postgres_has_them(history: History, rehearse: Run, size: str) -> None:
    """A kB has 1,024 bytes."""
    limit = json.loads(rehearse("--max-rewrite", size, "--json").output)["limits"]["max_rewrite"]

    assert limit in {2**20, int(0.001 * 2**30)}


def test_a_report_is_written_in_each_form(history: History, rehearse: Run, tmp_path: Path) -> None:
    """By the file's ending; what is not safe, and what failed, too."""
    history.add("op.execute('DELETE FROM note WHERE id = 1')")
    files = [tmp_path / f"report.{ending}" for ending in ("html", "md", "json")]

    rehearse(*(word for file in files for word in ("--report", str(file))), status=1)

    page, comment, data = (file.read_text() for file in files)
    assert page.lower().startswith("<!doctype html>")
    assert "r1" in comment
    assert json.loads(data)["verdict"] == "unsafe"


def test_json_is_all_that_is_printed(history: History, rehearse: Run) -> None:
    """The same as in the file, but for what is measured anew."""
    history.add("pass")

    found: dict[str, Any] = json.loads(rehearse("--json").output)

    assert (found["verdict"], found["status"], [each["id"] for each in found["revisions"]]) == ("safe", 0, ["r1"])


def test_what_a_migration_prints_is_no_json(history: History, rehearse: Run) -> None:
    """It is said beside it, as what env.py prints is."""
    history.add("print('filling the stars')")
    env = history.folder / "env.py"
    env.write_text(f"print('hello from env')\n{env.read_text()}")

    result = rehearse("--json")

    assert json.loads(result.stdout)["verdict"] == "safe"
    assert "filling the stars" in result.stderr
    assert "hello from env" in result.stderr


def test_a_report_that_cannot_be_written_takes_nothing_away(history: History, rehearse: Run, tmp_path: Path) -> None:
    """What was found is shown, the other files are written, and the status says that one is missing."""
    history.add("op.execute('DELETE FROM note WHERE id = 1')")
    lost, written = tmp_path / "lost.json", tmp_path / "report.md"
    lost.symlink_to(tmp_path / "none" / "lost.json")

    result = rehearse("--report", str(lost), "--report", str(written), status=2)

    assert result.stdout.startswith("Not safe to deploy")
    assert "cannot be written: No such file or directory. Name another file." in result.stderr
    assert "r1" in written.read_text()


@pytest.mark.parametrize("where", ["env.py", "versions/r1.py"])
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("raise RuntimeError('odd\\nand more')", "RuntimeError: odd"),
    ],
)
def test_code_that_cannot_be_loaded_is_two(history: History, rehearse: Run, where: str, code: str, said: str) -> None:
    """In one line, whatever it raises: 1 would say that the migrations are not safe, and 0 that they are."""
    history.add("pass")
    (history.folder / where).write_text(code)

    output = rehearse(status=2).output

    assert said in output
    assert "and more" not in output
    assert history.world.branches.list() == []


def test_code_that_is_none_is_two(history: History, rehearse: Run) -> None:
    """A revision's file that Python cannot read."""
    history.add("pass")
    (history.folder / "versions" / "r1.py").write_text("def upgrade(:")

    assert "SyntaxError: " in rehearse(status=2).output


@pytest.mark.parametrize("where", ["env.py", "versions/r1.py", "in the migration"])
@pytest.mark.parametrize("left", [0, 143, 255])
def test_a_migration_that_leaves_is_two(history: History, rehearse: Run, where: str, left: int) -> None:
    """Whatever status it has in mind, 0 and that of a signal too."""
    code = f"raise SystemExit({left})"
    history.add(code)
    if where != "in the migration":
        (history.folder / where).write_text(code)

    assert f"SystemExit: {left}" in rehearse(status=2).output
    assert history.world.branches.list() == []


@pytest.mark.parametrize(
    ("error", "said"), [(RuntimeError("odd\nand more"), "odd"), (SystemExit(1), "1"), (CancelledError("odd"), "odd")]
)
def test_what_nobody_has_foreseen_is_two(
    rehearse: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, said: str
) -> None:
    """An application's own code, such as a listener of its engines, may raise anything anywhere."""

    def fail(**_options: Any) -> None:
        raise error

    monkeypatch.setattr(rehearsal, "rehearse", fail)

    named = f"{type(error).__name__}: {said}"
    assert rehearse(status=2).output == f"Error: The migrations could not be rehearsed: {named}.\n"


@pytest.mark.parametrize("where", ["env.py", "versions/r1.py"])
def test_an_interruption_is_what_a_shell_says_of_it(history: History, rehearse: Run, where: str) -> None:
    """Neither safe nor unsafe; no branch is left."""
    history.add("raise KeyboardInterrupt")
    if where == "env.py":
        (history.folder / where).write_text("raise KeyboardInterrupt")

    assert "Interrupted: " in rehearse(status=130).output
    assert history.world.branches.list() == []


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_keeps_its_status(history: History, rehearse: Run, name: str, status: int) -> None:
    """As branches that last for a block make it of one that nobody else has a use for."""
    number = getattr(signal, name)
    history.add(f"import signal; signal.raise_signal(signal.{name})")

    before = signal.signal(number, signal.SIG_DFL)
    try:
        rehearse(status=status)
    finally:
        signal.signal(number, before)

    assert history.world.branches.list() == []


@pytest.mark.skipif(SQLITE, reason="SQLite has no roles, and takes any value for a number")
def test_what_is_secret_is_in_no_report(make_world: Callable[..., World], places: Places, tmp_path: Path) -> None:
    """Neither a password in a statement, nor the database URL's, nor the rows that a statement could not use."""
    world = make_world(USUAL, url=places.url(USUAL, "app_first").set(password="open-sesame"))
    history = History(world, tmp_path / "migrations")
    history.add(
        """
        op.execute("SELECT 'ALTER ROLE nobody PASSWORD ''geheim'' ', 'the password is open-sesame'")
        op.execute("DO $$ BEGIN IF false THEN CREATE ROLE nobody LOGIN PASSWORD 'geheim'; END IF; END $$")
        op.execute("SELECT CAST(title AS int) FROM (VALUES ('private words')) AS told (title)")
        """
    )
    files = [tmp_path / f"report.{ending}" for ending in ("html", "md", "json")]
    options = [word for file in files for word in ("--report", str(file))]

    result = world.app.test_cli_runner().invoke(args=["branches", "rehearse", *options])

    assert result.exit_code == 2
    for text in (result.output, *(file.read_text() for file in files)):
        assert "(SQLSTATE 22P02), whose text may hold data: run the statement by hand to see it" in text
        assert "geheim" not in text
        assert "open-sesame" not in text
        assert 'integer: "private' not in text


def test_a_branch_is_kept_for_whoever_wants_to_see_it(history: History, rehearse: Run) -> None:
    """It expires."""
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')")

    output = rehearse("--keep").output

    (branch,) = history.world.branches.list()
    assert branch.name in output
    assert branch.expires_at is not None
    assert "stars" in history.world.branches.diff(branch.name)


def test_a_branch_can_be_the_parent(history: History, rehearse: Run) -> None:
    """What it has is what is rehearsed on."""
    history.add("op.execute('DELETE FROM note')")
    history.world.branches.create("less")
    less = history.world.branches.get("less")
    with history.at(less.url) as connection:
        connection.exec_driver_sql("DELETE FROM note WHERE id = 1")
        connection.commit()

    assert "loses 1 row" in rehearse("--parent", "less", status=1).output
