"""The service as it is deployed: real workers, a database that goes away and comes back, an end that loses nothing."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest
from flask_migrate import upgrade
from tests.questions.serving import DEADLINE, gunicorn

from questions import PostgresConfig, create_app
from questions.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local_postgres import Cluster

    Until = Callable[[Callable[[], Any]], Any]


def test_it_serves_from_its_workers_and_ends_when_asked(
    sqlite_only: None, working_directory: Path, until: Until
) -> None:
    """Workers start, make one database between them, log as the application does, and end with status 0 on SIGTERM."""
    with gunicorn(
        working_directory, "questions:create_app()", WEB_CONCURRENCY="2", QUESTIONS_LOG_FORMAT="json"
    ) as service:
        assert until(lambda: service.get("/questions")[0]) == 200
        assert service.get("/readyz") == (200, "application/json", {"status": "ok"})
        until(lambda: service.log.count("Booting worker") == 2)
        service.process.terminate()
        assert service.process.wait(DEADLINE) == 0
        log = service.log

    entries = [json.loads(line) for line in log.splitlines()]
    assert sum(entry["message"].startswith("Booting worker") for entry in entries) == 2
    assert any(entry.get("path") == "/readyz" and entry["status"] == 200 and entry["request_id"] for entry in entries)


CHUNKED = (
    b"POST /questions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_a_body_in_chunks_is_held_to_the_same_rules(sqlite_only: None, working_directory: Path, until: Until) -> None:
    """Taken up to the limit, 413 beyond it even where what comes first is valid, 400 where the chunks are malformed."""
    question = b'{"title": "Why?", "description": "Because."}'
    to_the_limit = question + b" " * (262_144 - len(question))
    with gunicorn(working_directory, "questions:create_app()", WEB_CONCURRENCY="1") as service:
        assert until(lambda: service.get("/questions")[0]) == 200

        taken = service.send(CHUNKED + chunk(to_the_limit) + chunk(b""))
        too_large = service.send(CHUNKED + chunk(to_the_limit) + chunk(b"}}}") + chunk(b""))
        malformed = service.send(CHUNKED + b"zz\r\n" + question)

        assert taken.startswith(b"HTTP/1.1 201 ")
        assert too_large.startswith(b"HTTP/1.1 413 ")
        assert malformed.startswith(b"HTTP/1.1 400 ")
        for answer in (too_large, malformed):
            assert b"\r\nContent-Type: application/problem+json\r\n" in answer
        assert len(service.get("/questions")[2]) == 1
        assert "Traceback" not in service.log


def test_its_log_has_the_form_that_the_environment_names(
    sqlite_only: None, working_directory: Path, until: Until
) -> None:
    """Its own events and the requests alike; PORT may be empty, and a probe is one line."""
    variables = {"QUESTIONS_LOG_FORMAT": "text", "PORT": "", "WEB_CONCURRENCY": "1"}
    with gunicorn(working_directory, "questions:create_app()", **variables) as service:
        assert until(lambda: service.get("/healthz")[0]) == 200
        assert service.get("/readyz")[0] == 200
        service.process.terminate()
        assert service.process.wait(DEADLINE) == 0

    assert re.search(r"^\S+ INFO +Booting worker with pid: \d+$", service.log, re.MULTILINE)
    assert re.search(
        r"^\S+ INFO +request request_id=\S+ method=GET path=/readyz status=200 ", service.log, re.MULTILINE
    )
    assert "alembic" not in service.log


@pytest.mark.parametrize(
    ("factory", "variables", "message"),
    [
        (
            "questions:create_app('neon')",
            {},
            "Error: DATABASE_URL is not set, and the neon environment has no database",
        ),
        (
            "questions:create_app()",
            {"QUESTIONS_API_TOKN": "x"},
            "Error: QUESTIONS_API_TOKN in the environment is not a",
        ),
        (
            "questions:create_app()",
            {"WEB_THREADS": "many"},
            "Error: WEB_THREADS must be a whole number from 1 to",
        ),
        ("questions:create_app()", {"PORT": "65536"}, "Error: PORT must be a whole number from 1 to 65535."),
        ("questions:create_app()", {"WEB_CONCURRENCY": "0"}, "Error: WEB_CONCURRENCY must be a whole number from 1 to"),
    ],
)
def test_wrong_settings_end_it_with_a_message(
    sqlite_only: None, working_directory: Path, factory: str, variables: dict[str, str], message: str
) -> None:
    """No traceback, and a status that says so."""
    with gunicorn(working_directory, factory, **variables) as service:
        assert service.process.wait(DEADLINE) != 0
        assert message in service.log
        assert "Traceback" not in service.log


def test_it_recovers_when_its_database_comes_back(postgres_only: None, working_directory: Path, until: Until) -> None:
    """503 and unready while Postgres is stopped, alive all the time, right again without a restart when it is back."""
    import local_postgres

    with local_postgres.lease(local_postgres.throwaway_folder(), throwaway=True) as lease:
        address = lease.cluster.address
        url = f"postgresql://{address.user}@/postgres?host={address.host}&port={address.port}"
        app = create_app(PostgresConfig(database_url=url))
        with app.app_context():
            upgrade()
            db.engine.dispose()
        variables = {"DATABASE_URL": url, "WEB_CONCURRENCY": "1"}
        with gunicorn(working_directory, "questions:create_app('postgres')", **variables) as service:
            assert until(lambda: service.get("/questions")[0]) == 200

            lease.cluster.stop()
            status, content_type, problem = service.get("/questions")
            assert (status, content_type) == (503, "application/problem+json")
            assert problem["title"] == "Service Unavailable"
            assert service.get("/readyz")[0] == 503
            assert service.get("/readyz")[2]["detail"].startswith("The database cannot be reached")
            assert service.get("/healthz")[0] == 200

            lease.cluster.start()
            assert service.get("/questions") == (200, "application/json", [])
            assert service.get("/readyz")[0] == 200
            assert service.log.count("Booting worker") == 1
            assert "Traceback" not in service.log


def test_its_own_postgres_ends_with_its_last_worker(
    postgres_only: None, working_directory: Path, own_cluster: Cluster, until: Until
) -> None:
    """Two workers share the embedded server; it outlives either, and is stopped when gunicorn ends, even by SIGKILL."""
    with gunicorn(working_directory, "questions:create_app('postgres')", WEB_CONCURRENCY="2") as service:
        assert until(lambda: service.get("/questions")[0]) == 200
        assert own_cluster.is_running()
        workers = [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", service.log)]

        os.kill(workers[0], signal.SIGKILL)
        until(lambda: service.log.count("Booting worker") == 3)
        assert until(lambda: service.get("/questions")[0]) == 200
        assert own_cluster.is_running()

    until(lambda: not own_cluster.is_running())
