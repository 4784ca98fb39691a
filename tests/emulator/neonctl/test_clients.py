"""Public clients of Neon's API, unchanged, against the emulator."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.emulator.running import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.neonctl.command import Node
    from tests.emulator.running import Client

pytestmark = pytest.mark.neonctl

HERE = Path(__file__).parent


@pytest.fixture
def run(node: Node, surroundings: dict[str, str]) -> Callable[[str], Any]:
    """Run a program of this folder where the clients are installed, and return what it printed."""

    def run(name: str) -> Any:
        shutil.copy(HERE / name, node.folder)
        result = node.run(name, env=surroundings)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


def _one(url: str, statement: str = "SELECT current_user || '@' || current_database()") -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def test_api_client(run: Callable[[str], Any], api: Client) -> None:
    """`@neondatabase/api-client` makes, finds, compares and resets branches, and what it is told connects."""
    got = run("api_client.mjs")
    assert (got["listed"], got["annotation"], got["count"]) == (["dev"], {"github-commit-ref": "main"}, 2)
    assert (_one(got["main"]), _one(got["dev"])) == ("neondb_owner@neondb", "neondb_owner@neondb")
    assert got["password"] in got["ledger"]
    assert (got["taken"]["status"], got["taken"]["code"]) == (409, "BRANCH_ALREADY_EXISTS")
    assert "PostgreSQL database dump" in got["sql"]
    assert (got["diff"], bool(got["reset"])) == ("", True)
    api.delete(f"/projects/{got['project']}")


def test_sdk(run: Callable[[str], Any], api: Client) -> None:
    """`@neon/sdk` waits for what it makes, finds its way to a database, and knows a refusal by its kind."""
    got = run("sdk.mjs")
    assert (got["listed"], got["default"], got["diff"]) == (["dev", "main"], True, "")
    assert (_one(got["main"]), _one(got["dev"])) == ("neondb_owner@neondb", "neondb_owner@neondb")
    assert (got["missing"]["kind"], got["missing"]["status"]) == ("not_found", 404)
    assert got["missing"]["request"]
    assert got["password"] in got["ledger"]
    assert got["suspended"]
    assert got["expires"]
    api.delete(f"/projects/{got['project']}")


def test_neon_api(surroundings: dict[str, str]) -> None:
    """`neon-api` of PyPI makes, renames and deletes branches, and reads what it is told into its own classes."""
    library: Any = importlib.import_module("neon_api")
    neon = library.NeonAPI(surroundings["NEON_API_KEY"], base_url=surroundings["NEON_API_HOST"] + "/")
    assert neon.me().email
    project = neon.project_create(project={"name": "by neon-api"}).project.id
    [main] = neon.branches(project).branches
    branch = neon.branch_create(project, branch={"name": "dev"}, endpoints=[{"type": "read_write"}]).branch
    until(lambda: all(one.status.value == "finished" for one in neon.operations(project).operations))
    assert branch.parent_id == main.id
    assert neon.branch_update(project, branch.id, branch={"name": "renamed"}).branch.name == "renamed"
    assert [one.name for one in neon.roles(project, branch.id).roles] == ["neondb_owner"]
    assert [one.name for one in neon.databases(project, branch.id).databases] == ["neondb"]
    uri = neon.connection_uri(project, database_name="neondb", role_name="neondb_owner").uri
    assert _one(uri) == "neondb_owner@neondb"
    endpoint = next(one for one in neon.endpoints(project).endpoints if one.branch_id == branch.id)
    assert neon.endpoint_suspend(project, endpoint.id).endpoint.id == endpoint.id
    with pytest.raises(library.NeonAPIError, match="branch already exists"):
        neon.branch_create(project, branch={"name": "renamed"})
    assert neon.project_delete(project).project.id == project
