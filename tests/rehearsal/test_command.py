"""`flask branches rehearse`: what a pipeline asks, and what it is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.branches.worlds import SQLITE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result
    from tests.rehearsal.histories import History

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
