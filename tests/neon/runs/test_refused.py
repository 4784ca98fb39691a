"""What a run on Neon cannot be made of: one clear line each, and nothing is made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from tests.neon.runs.guests import Production, crowded, lead

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.running import Emulator
    from tests.neon.client.stubs import Stub
    from tests.plugin.projects import Project

NOBODY = "http://127.0.0.1:9/api/v2"


@pytest.fixture
def impatient(guests: Project) -> Project:
    """A project that does not wait long."""
    guests.variable("BRANCHES_API_TIMEOUT", "2s")
    guests.variable("BRANCHES_API_PATIENCE", "4s")
    return guests


@pytest.mark.parametrize(
    ("variables", "arguments", "words"),
    [
        ({"NEON_API_KEY": None}, ["--branches-backend=neon"], ["--branches-backend is neon.", "set NEON_API_KEY"]),
        ({"NEON_API_KEY": "wrong"}, [], ["NEON_API_KEY", "401"]),
        ({"NEON_PROJECT_ID": "no-such-project"}, [], ["NEON_PROJECT_ID", "404"]),
        ({"NEON_PROJECT_ID": "No Such"}, [], ["NEON_PROJECT_ID is 'No Such'"]),
        ({"NEON_API_HOST": NOBODY}, [], ["127.0.0.1:9", "NEON_API_HOST"]),
        ({"NEON_API_HOST": "http://neon.example/api/v2"}, [], ["NEON_API_HOST", "in the clear"]),
        ({}, ["--branches-parent=nobody"], ["There is no branch 'nobody'; there are: 'main'."]),
        ({}, ["--branches-at=2020-01-01T00:00:00Z"], ["the point is outside of the history"]),
        ({}, ["--branches-expire=31d"], ["within 30 days"]),
        ({"DATABASE_URL": "postgresql://u:p@127.0.0.1:9/neondb"}, [], ["is on no branch of the Neon project"]),
        ({"BRANCHES_API_PATIENCE": "soon"}, [], ["BRANCHES_API_PATIENCE 'soon' is not a duration"]),
    ],
)
def test_it_is_said_in_one_line(
    impatient: Project,
    production: Production,
    variables: dict[str, str | None],
    arguments: list[str],
    words: list[str],
) -> None:
    """It names the key to correct, or what there is; with workers it is no more than that."""
    for name, value in variables.items():
        impatient.variable(name, value)

    said = impatient.refused(*arguments)

    assert all(word in said for word in words), said
    assert production.emulator.exported["NEON_API_KEY"] not in said
    assert production.branches() == []


@pytest.mark.parametrize("trouble", ["in the survey", "while branches are made"])
def test_with_workers_it_is_no_more_than_that(impatient: Project, production: Production, trouble: str) -> None:
    """Neither a traceback nor a second line, and not by a worker."""
    if trouble == "in the survey":
        impatient.variable("NEON_API_KEY", "wrong")
    else:
        fault = {"method": "POST", "path": "/projects/*/branches", "status": 403, "times": 9}
        production.neon.client.control("POST", "faults", fault, status=201)

    result = impatient.run("-n2")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert [line[:7] for line in result.errlines if line] == ["ERROR: "]
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_a_neon_host_without_a_key_is_never_taken_for_a_server(guests: Project) -> None:
    """A database would be made on production."""
    guests.variable("DATABASE_URL", "postgresql://u:p@ep-cool-sea-123456.eu-central-1.aws.neon.tech/neondb")
    guests.variable("NEON_API_KEY", None)

    assert "set NEON_API_KEY" in guests.refused()


def test_a_proxy_that_answers_html(impatient: Project, stub: Callable[..., Stub]) -> None:
    """It is asked whether the host is right."""
    server = stub(*[(200, b"<html><body>Please log in</body></html>", {"Content-Type": "text/html"})] * 20)
    impatient.variable("NEON_API_HOST", server.host)

    said = impatient.refused()
    assert "HTML" in said
    assert "NEON_API_HOST" in said


def test_a_key_without_the_right(impatient: Project, production: Production) -> None:
    """It may look, and not make."""
    fault = {"method": "POST", "path": "/projects/*/branches", "status": 403, "times": 9}
    production.neon.client.control("POST", "faults", fault, status=201)

    said = impatient.refused()
    assert "403" in said
    assert "NEON_API_KEY" in said
    production.neon.client.control("DELETE", "faults", status=204)
    assert production.branches() == []


def test_a_parent_that_expires(guests: Project, production: Production) -> None:
    """Neon makes no branch of it; the other way is named."""
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
    production.neon.branch(name="staging", expires_at=soon)

    said = guests.refused("--branches-parent=staging")
    assert said.startswith("The parent 'staging' expires (")
    assert "BRANCHES_URL" in said


@pytest.mark.parametrize(
    "kind", ["default", "protected", "gone", "another project's", "no endpoint", "written in .env"]
)
def test_what_may_not_be_tested_on(guests: Project, production: Production, emulator: Emulator, kind: str) -> None:
    """Before the first statement: its compute sleeps on."""
    made = production.neon.branch(name="other")
    url = made["connection_uris"][0]["connection_uri"]
    path = f"{production.neon.path}/branches/{made['branch']['id']}"
    others = None
    if kind == "default":
        guests.variable("DATABASE_URL", url)  # so that production is nobody's own
        url = production.url
    elif kind == "protected":
        production.neon.client.patch(path, {"branch": {"protected": True}})
    elif kind == "gone":
        production.neon.client.delete(path)
    elif kind == "another project's":
        others = emulator.client().project()
        url = others.uri()
    elif kind == "no endpoint":
        url = "postgresql://u:hush-hush@10.1.2.3/neondb"
    else:
        (guests.folder / ".env").write_text(f"DATABASE_URL={url}\n")
    guests.variable("BRANCHES_URL", url)
    production.suspend()

    said = guests.refused()

    assert said.startswith("BRANCHES_URL")
    assert not production.is_awake()
    assert str(sa.make_url(url).password) not in said
    if others is not None:
        emulator.client().http.delete(f"projects/{others.id}")


def test_a_plan_that_is_full(guests: Project, own_emulator: Callable[..., Emulator]) -> None:
    """How many there are, how many may be, and what to do."""
    lead(guests, crowded(own_emulator("--plan", "free"), others=9))

    said = guests.refused()

    assert "10 branches" in said
    assert "(10)" in said
    assert "delete some" in said
