"""Three pending migrations of the questions application, rehearsed by its command on the emulator's production."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from tests.branches.worlds import NEON
from tests.neon.untouched import dump
from tests.rehearsal.story import play

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.emulator.running import Emulator, Project

pytestmark = pytest.mark.skipif(not NEON, reason="a story of Neon")

_ROWS = 2_000
_TABLE = "public.questions"


@pytest.fixture
def project(emulator: Emulator) -> Iterator[Project]:
    """A project whose default branch is production."""
    client = emulator.client()
    made = client.project()
    yield made
    client.http.delete(f"projects/{made.id}")


@pytest.fixture
def variables(emulator: Emulator, project: Project) -> dict[str, str]:
    """What leads the application there."""
    exported = emulator.exported
    return {
        **os.environ,
        "DATABASE_URL": project.uri(),
        "NEON_API_HOST": exported["NEON_API_HOST"],
        "NEON_API_KEY": exported["NEON_API_KEY"],
        "NEON_PROJECT_ID": project.id,
        "QUESTIONS_CONFIG": "neon",
    }


@pytest.fixture
def told(project: Project, variables: dict[str, str], tmp_path: Path) -> dict[str, Any]:
    """What the command reports where nobody may wait at all; production is what it was, and no branch is left."""
    play.fill(_ROWS, variables)
    before = dump(project.uri())
    report, page = tmp_path / "report.json", tmp_path / "report.html"
    status = play.rehearse(variables, "--max-lock", "0", "--report", str(report), "--report", str(page))
    assert status == 1
    assert dump(project.uri()) == before
    assert [each["id"] for each in project.branches()] == [project.main]
    assert all(revision in page.read_text() for revision in ("0003", "0004", "0005"))
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def test_the_dangerous_one_is_told_from_the_others(told: dict[str, Any]) -> None:
    """One of three keeps everybody out while it writes, reads and indexes all rows; who reads the report sees which."""
    added, slug, newest = told["revisions"]
    assert told["verdict"] == "unsafe"
    assert any(_TABLE in reason for reason in told["reasons"])
    assert [each["id"] for each in told["revisions"]] == ["0003", "0004", "0005"]

    assert [lock["mode"] for lock in added["locks"]] == ["ACCESS EXCLUSIVE"]
    assert added["validations"] == added["indexes"] == added["rewrites"] == []

    assert {each["table"] for each in slug["blocking"]} == {_TABLE}
    assert [each["rows"] for each in slug["validations"]] == [_ROWS]
    assert [(each["name"], each["concurrently"]) for each in slug["indexes"]] == [("public.ix_questions_slug", False)]
    assert [each["rows"] for each in slug["statements"] if each["text"].startswith("UPDATE questions")] == [_ROWS]
    assert any(each["revision"] == "0004" and each["severity"] == "danger" for each in told["advice"])

    assert newest["blocking"] == []
    assert [(each["name"], each["concurrently"]) for each in newest["indexes"]] == [
        ("public.ix_questions_asked_at", True)
    ]

    assert [each["undo"]["state"] for each in told["revisions"]] == ["same"] * 3
    assert told["differences"] == []
