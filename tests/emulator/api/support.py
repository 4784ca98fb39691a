"""What the tests of the API's rules share."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.emulator.running import Client, Emulator

import local_postgres
from neon_emulator.state.models import Project

if TYPE_CHECKING:
    from collections.abc import Iterator


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def project_row() -> Project:
    """A project `p`, for a state without an emulator around it."""
    return Project(
        id="p",
        name="p",
        region_id="r",
        provisioner="x",
        pg_version=18,
        store_passwords=True,
        history_retention_seconds=0,
        settings={},
        default_endpoint_settings={},
        created_at=NOW,
        updated_at=NOW,
    )


def running(*options: str) -> Iterator[Client]:
    """An emulator with options, for a fixture: its client, until the fixture ends."""
    folder = local_postgres.throwaway_folder()
    emulator = Emulator(folder / "data", options).start()
    client = emulator.client()
    yield client
    client.http.close()
    assert emulator.stop() == 0
    shutil.rmtree(folder)


def refused(client: Client, method: str, path: str, status: int, json: Any = None, **options: Any) -> dict[str, str]:
    """Ask for what is refused, check the error's shape, and return it."""
    body: dict[str, str] = client.ask(method, path, status, json, **options)
    assert set(body) == {"request_id", "code", "message"}
    assert body["request_id"]
    return body


def message(client: Client, method: str, path: str, status: int, json: Any = None, **options: Any) -> str:
    """Ask for what is refused, and return what is said."""
    return refused(client, method, path, status, json, **options)["message"]
