"""The service on a branch of Neon, looked up by the words of Neon's own command line, under gunicorn."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from tests.questions.serving import gunicorn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from tests.emulator.running import Emulator, Project
    from tests.questions.serving import Service

    Until = Callable[[Callable[[], Any]], Any]

CLIENTS = 3
AFTER = 30


@dataclass
class Load:
    """Clients that ask one request after the other."""

    service: Service
    stop: threading.Event = field(default_factory=threading.Event)
    answers: list[tuple[float, int]] = field(default_factory=list)
    """When each was asked, and the status."""

    def ask(self) -> None:
        """Ask until it is enough."""
        while not self.stop.is_set():
            asked = time.monotonic()
            self.answers.append((asked, self.service.get("/questions")[0]))

    def good_since(self, moment: float) -> int:
        """How many were asked after a moment, and answered with 200."""
        return sum(asked > moment and status == 200 for asked, status in list(self.answers))


@pytest.fixture
def variables(emulator: Emulator, project: Project) -> dict[str, str]:
    """What leads the service to the project's default branch."""
    exported = emulator.exported
    return {
        "NEON_API_HOST": exported["NEON_API_HOST"],
        "NEON_API_KEY": exported["NEON_API_KEY"],
        "NEON_PROJECT_ID": project.id,
        "QUESTIONS_CONFIG": "neon",
    }


def test_a_suspended_compute_costs_what_is_in_flight_alone(
    project: Project, variables: dict[str, str], working_directory: Path, until: Until
) -> None:
    """The next request wakes it and waits; nobody has to do anything."""
    upgrade = [sys.executable, "-m", "flask", "--app", "questions", "db", "upgrade"]
    subprocess.run(upgrade, check=True, env={**os.environ, **variables}, cwd=working_directory, capture_output=True)
    (endpoint,) = project.client.get(f"{project.path}/branches/{project.main}/endpoints")["endpoints"]
    with gunicorn(working_directory, "questions:create_app()", **variables) as service:
        until(lambda: service.get("/readyz")[0] == 200)
        load = Load(service)
        clients = [threading.Thread(target=load.ask) for _ in range(CLIENTS)]
        for each in clients:
            each.start()
        until(lambda: load.good_since(0) > AFTER)

        project.client.post(f"{project.path}/endpoints/{endpoint['id']}/suspend", status=200)
        project.settle()
        suspended = time.monotonic()

        until(lambda: load.good_since(suspended) > AFTER)
        load.stop.set()
        for each in clients:
            each.join()

    lost = [(asked, status) for asked, status in load.answers if status != 200]
    assert len(lost) <= CLIENTS
    assert {status for _, status in lost} <= {503}
    assert all(asked < suspended for asked, _ in lost)
