"""Neon's own command line through everything that one does with branches, the data looked at after each step."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.emulator.neonctl.command import Refused
from tests.emulator.neonctl.shop import open_shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.emulator.neonctl.command import Neonctl
    from tests.emulator.neonctl.shop import Shop

pytestmark = pytest.mark.neonctl


@pytest.fixture
def shop(neonctl: Neonctl) -> Iterator[Shop]:
    """A project with a few rows in it."""
    made = open_shop(neonctl, "a shop")
    yield made
    neonctl("projects", "delete", made.id)


def test_a_whole_story(neonctl: Neonctl) -> None:
    """A project's life, from its creation to its end, by the commands that Neon's users type."""
    shop = open_shop(neonctl, "the story")
    _is_listed(shop)
    _branch_and_write(shop)
    before, lsn = shop.moment("main")
    shop.add("main", "oil")
    _branch_at(shop, "at-time", before)
    _branch_at(shop, "at-lsn", lsn)
    _change_the_schema(shop)
    _reset_to_parent(shop)
    _restore(shop, before)
    _rename_and_set_default(shop)
    _expire(shop)
    _protect(shop)
    _add_compute(shop)
    _databases_and_roles(shop)
    _operations(shop)
    _delete(shop)
    neonctl("projects", "delete", shop.id)
    assert shop.id not in neonctl("projects", "list")


def _is_listed(shop: Shop) -> None:
    assert re.search(rf"{shop.id}\s+the story\s+aws-us-east-2", shop.neonctl("projects", "list"))
    assert shop.neonctl.json("projects", "get", shop.id)["name"] == "the story"
    assert "[default] main" in shop("branches", "list")
    [main] = shop.json("branches", "list")
    assert (main["current_state"], main["default"], main["protected"]) == ("ready", True, False)
    assert shop.names("main") == ["tea", "salt"]


def _branch_and_write(shop: Shop) -> None:
    made = shop.json("branches", "create", "--name", "dev")
    [connection] = made["connection_uris"]
    with psycopg.connect(connection["connection_uri"], autocommit=True) as owner:
        owner.execute("INSERT INTO goods VALUES (3, 'soap')")
    assert made["branch"]["name"] == "dev"
    assert len(made["endpoints"]) == 1
    assert re.search(r"\bdev\s+br-", shop("branches", "list"))
    assert (shop.names("dev"), shop.names("main")) == (["tea", "salt", "soap"], ["tea", "salt"])


def _branch_at(shop: Shop, name: str, point: str) -> None:
    printed = shop("branches", "create", "--name", name, "--parent", point)
    assert name in printed
    assert "postgresql://neondb_owner:" in printed
    assert (shop.names(name), shop.names("main")) == (["tea", "salt"], ["tea", "salt", "oil"])


def _change_the_schema(shop: Shop) -> None:
    assert "+" not in shop("branches", "schema-diff", "main", "dev").replace("+++", "")
    shop.query("dev", "ALTER TABLE goods ADD COLUMN price numeric(8, 2)")
    diff = shop("branches", "schema-diff", "main", "dev", "--database", "neondb")
    assert "+    price numeric(8,2)" in diff
    assert "-    name text NOT NULL\n+    name text NOT NULL,\n" in diff
    assert "-    price numeric(8,2)" in shop("branches", "schema-diff", "dev", "main")


def _reset_to_parent(shop: Shop) -> None:
    url = shop.url("dev")
    printed = shop("branches", "reset", "dev", "--parent", "--preserve-under-name", "dev-old")
    assert "dev" in printed
    assert shop.url("dev") == url
    assert shop.names("dev") == ["tea", "salt", "oil"]
    assert shop.query("dev", "SELECT 1 FROM information_schema.columns WHERE column_name = 'price'") == []
    assert shop.json("branches", "get", "dev")["last_reset_at"]


def _restore(shop: Shop, before: str) -> None:
    url = shop.url("main")
    printed = shop("branches", "restore", "main", f"^self@{before}", "--preserve-under-name", "main-old")
    assert "Restored branch" in printed
    assert shop.url("main") == url
    assert shop.names("main") == ["tea", "salt"]
    shop("branches", "add-compute", "main-old", "--type", "read_write")
    assert shop.names("main-old") == ["tea", "salt", "oil"]


def _rename_and_set_default(shop: Shop) -> None:
    assert "at-noon" in shop("branches", "rename", "at-time", "at-noon")
    assert "at-time" not in shop("branches", "list")
    shop("branches", "set-default", "at-noon")
    assert "[default] at-noon" in shop("branches", "list")
    assert shop("connection-string", "--ssl", "omit").strip() in shop.url("at-noon")
    shop("branches", "set-default", "main")


def _expire(shop: Shop) -> None:
    soon = (datetime.now(UTC) + timedelta(days=2)).isoformat(timespec="seconds").replace("+00:00", "Z")
    assert soon in shop("branches", "set-expiration", "at-lsn", "--expires-at", soon)
    assert re.search(r"main\s+br-\S+\s+ready\s+never", shop("branches", "list"))
    shop("branches", "set-expiration", "at-lsn")
    assert "expires_at" not in shop.json("branches", "get", "at-lsn")


def _protect(shop: Shop) -> None:
    found = shop.json("branches", "get", "at-noon")
    path = f"/projects/{shop.id}/branches/{found['id']}"
    shop.neonctl("api", path, "-X", "PATCH", "-F", "branch.protected=true")
    assert "[protected] at-noon" in shop("branches", "list")
    with pytest.raises(Refused, match="cannot delete protected branch"):
        shop("branches", "delete", "at-noon")
    shop.neonctl("api", path, "-X", "PATCH", "-F", "branch.protected=false")


def _add_compute(shop: Shop) -> None:
    shop("branches", "create", "--name", "bare", "--no-compute")
    with pytest.raises(Refused, match="No  endpoint found for the branch"):
        shop.url("bare")
    made = shop.json("branches", "add-compute", "bare", "--type", "read_write", "--cu", "0.25-1", "--name", "first")
    assert (made["type"], made["autoscaling_limit_max_cu"]) == ("read_write", 1)
    assert shop.names("bare") == shop.names("main")
    shop("branches", "add-compute", "bare")
    with psycopg.connect(shop.url("bare", "--endpoint-type", "read_only"), autocommit=True) as reader:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            reader.execute("INSERT INTO goods VALUES (9, 'ink')")
        assert reader.execute("SELECT count(*) FROM goods").fetchone() == (2,)


def _databases_and_roles(shop: Shop) -> None:
    role = shop.json("roles", "create", "--name", "clerk", "--branch", "dev")
    shop("databases", "create", "--name", "ledger", "--owner-name", "clerk", "--branch", "dev")
    assert "clerk" in shop("roles", "list", "--branch", "dev")
    assert re.search(r"ledger\s+clerk", shop("databases", "list", "--branch", "dev"))
    url = shop.url("dev", "--role-name", "clerk", "--database-name", "ledger")
    with psycopg.connect(url, autocommit=True) as clerk:
        clerk.execute("CREATE TABLE entries (id int)")
        assert clerk.execute("SELECT current_user, current_database()").fetchone() == ("clerk", "ledger")
    assert role["password"] in url
    with pytest.raises(Refused, match="Multiple roles found for the branch"):
        shop.url("dev")
    shop("databases", "delete", "ledger", "--branch", "dev")
    shop("roles", "delete", "clerk", "--branch", "dev")
    assert shop.names("dev") == ["tea", "salt", "oil"]


def _operations(shop: Shop) -> None:
    found = shop.json("operations", "list")
    assert {"create_timeline", "create_branch", "start_compute"} <= {one["action"] for one in found}
    assert {one["status"] for one in found} == {"finished"}
    assert re.search(r"create_branch\s+finished", shop("operations", "list"))


def _delete(shop: Shop) -> None:
    found = shop.json("branches", "get", "bare")
    assert "bare" in shop("branches", "delete", "bare")
    assert shop("branches", "delete", found["id"]) == ""
    assert "bare" not in shop("branches", "list")


def test_the_embedded_psql(shop: Shop) -> None:
    """The client of Postgres's protocol that the command line brings along connects, with TLS and channel binding."""
    printed = shop("psql", "main", "--fallback", "--", "-A", "-t", "-c", "SELECT name FROM goods ORDER BY id")
    assert printed.split() == ["tea", "salt"]


def test_a_table_and_yaml(shop: Shop) -> None:
    """Every format of its output is filled from the API's answers."""
    assert re.search(r"^Name\s+Id\s+Current State\s+Created At", shop("branches", "list"), re.MULTILINE)
    assert "current_state: ready" in shop("branches", "list", "--output", "yaml")


def test_the_only_project(neonctl: Neonctl, shop: Shop) -> None:
    """Who I am, and the organisation that the one project is found by, are what the command line expects."""
    assert re.search(r"Login\s*:?\s+\S+|\S+@\S+", neonctl("me"))
    [organisation] = neonctl.json("orgs", "list")
    listed = neonctl.json("projects", "list", "--org-id", organisation["id"])
    assert shop.id in {project["id"] for project in listed}


def test_a_schema_only_branch(shop: Shop) -> None:
    """A branch without the data has the schema, is a root, and takes options of its compute."""
    made = shop.json(
        "branches", "create", "--name", "empty", "--schema-only", "--cu", "0.25-2", "--suspend-timeout", "300"
    )
    assert "parent_id" not in made["branch"]
    assert (shop.names("empty"), shop.names("main")) == ([], ["tea", "salt"])


def test_a_pooled_connection(shop: Shop) -> None:
    """The pooled string is the same address, and connects."""
    url = shop.url("main", "--pooled")
    assert url == shop.url("main")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM goods").fetchone() == (2,)


def test_a_time_in_a_connection_string(shop: Shop) -> None:
    """A string for a past time, whose host would have to tell the branch, is refused in words when it is used."""
    before, lsn = shop.moment("main")
    for point in (before, lsn):
        with pytest.raises(psycopg.OperationalError, match="create a branch at that point"):
            psycopg.connect(shop.url(f"main@{point}"))


def test_a_pinned_branch(shop: Shop) -> None:
    """A folder that is pinned to a branch has the commands work on that: its string, its differences, its health."""
    shop("branches", "create", "--name", "dev")
    shop("checkout", "dev")
    assert shop.neonctl("connection-string").strip() == shop.url("dev") != shop.url("main")
    assert "[current] dev" in shop.neonctl("branches", "list")
    shop.query("dev", "CREATE TABLE bills (id int)")
    assert "+CREATE TABLE public.bills" in shop.neonctl("diff", "main")
    assert "No long-running queries" in shop.neonctl("inspect", "db", "long-running-queries")


def test_history_of_a_schema(shop: Shop) -> None:
    """The schema of a branch is compared with its own at an earlier time."""
    before, _ = shop.moment("main")
    shop.query("main", "CREATE TABLE bills (id int)")
    assert "-CREATE TABLE public.bills" in shop("branches", "schema-diff", "main", f"^self@{before}")


def test_a_parent_that_is_ahead(shop: Shop) -> None:
    """A child is compared with its parent by that word, and restored to its head by it."""
    shop("branches", "create", "--name", "child")
    shop.query("main", "CREATE TABLE bills (id int)")
    assert "-CREATE TABLE public.bills" in shop("branches", "schema-diff", "child", "^parent")
    shop("branches", "restore", "child", "^parent")
    assert shop.query("child", "SELECT count(*) FROM bills") == [(0,)]
