"""Branches that expire; the clock is moved, nobody waits."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.emulator.api.support import message, running
from tests.emulator.running import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.emulator.running import Client, Project

_DAY = 86_400


@pytest.fixture(scope="module")
def movable() -> Iterator[Client]:
    """An emulator whose clock is moved."""
    yield from running()


@pytest.fixture
def moved(movable: Client) -> Iterator[Project]:
    """A project in an emulator whose clock is moved."""
    project = movable.project()
    yield project
    project.settle()  # what expires by itself may be just about to be deleted
    movable.delete(project.path)


def _now(client: Client) -> datetime:
    return datetime.fromisoformat(client.control("GET", "clock")["now"])


def _later(client: Client, **delta: float) -> str:
    return (_now(client) + timedelta(**delta)).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def _start(said: str) -> datetime:
    found = re.search(r"from (\S+) \(LSN", said)
    assert found
    return datetime.fromisoformat(found[1])


def _time(client: Client, project: Project, branch: str) -> dict[str, Any]:
    found = client.get(f"{project.path}/branches/{branch}")["branch"]
    return {key: found.get(key) for key in ("expires_at", "ttl_interval_seconds")}


def test_expires(movable: Client, moved: Project) -> None:
    """A branch is deleted when its time has come, and not before."""
    expires_at = _later(movable, hours=1)
    made = moved.branch(expires_at=expires_at)
    branch = made["branch"]
    assert branch["expires_at"] == expires_at
    assert 3590 <= branch["ttl_interval_seconds"] <= 3600
    movable.advance(3500)
    moved.client.get(f"{moved.path}/branches/{branch['id']}")
    movable.advance(101)
    message(movable, "GET", f"{moved.path}/branches/{branch['id']}", 404)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(made["connection_uris"][0]["connection_uri"])
    listed = movable.get(f"{moved.path}/branches", params={"include_deleted": "true"})["branches"]
    (gone,) = [one for one in listed if one["id"] == branch["id"]]
    assert gone["recovery"]["deletion_method"] == "ttl"


def test_record_goes(movable: Client, moved: Project) -> None:
    """What is told about a deleted branch is forgotten after a week."""
    branch = moved.branch(compute=False)["branch"]["id"]
    movable.delete(f"{moved.path}/branches/{branch}")
    movable.advance(7 * _DAY + 60)
    listed = movable.get(f"{moved.path}/branches", params={"include_deleted": "true"})["branches"]
    assert [one["id"] for one in listed] == [moved.main]


def test_by_itself(movable: Client, moved: Project) -> None:
    """A branch expires without anybody's asking."""
    branch = moved.branch(compute=False, expires_at=_later(movable, hours=1))["branch"]["id"]
    movable.advance(3597)  # what is left passes by itself, and only after the branch was made in time
    until(lambda: branch not in {one["id"] for one in moved.branches()})


def test_cleared_at_the_last_moment(movable: Client, moved: Project) -> None:
    """A branch whose expiry was taken away stays, also where others that expire with it are being deleted by then."""
    expires_at = _later(movable, hours=1)
    ids = [moved.branch(expires_at=expires_at)["branch"]["id"] for _ in range(4)]
    first, last = f"{moved.path}/branches/{ids[0]}", f"{moved.path}/branches/{ids[-1]}"
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(movable.advance, 3600)
        until(lambda: movable.http.get(first.lstrip("/")).status_code == 404)
        cleared = movable.http.patch(last.lstrip("/"), json={"branch": {"expires_at": None}}).status_code
        moving.result()
    assert cleared in {200, 404, 423}
    assert (movable.http.get(last.lstrip("/")).status_code == 200) == (cleared == 200)


def test_changed_and_cleared(movable: Client, moved: Project) -> None:
    """An expiry can be set, moved and, by null, taken away."""
    branch = moved.branch(compute=False)["branch"]["id"]
    path = f"{moved.path}/branches/{branch}"
    later = _later(movable, days=2)
    movable.patch(path, {"branch": {"expires_at": later}})
    assert _time(movable, moved, branch)["expires_at"] == later
    movable.patch(path, {"branch": {"name": "renamed"}})
    assert _time(movable, moved, branch)["expires_at"] == later
    movable.patch(path, {"branch": {"expires_at": None}})
    assert _time(movable, moved, branch) == {"expires_at": None, "ttl_interval_seconds": None}
    movable.advance(3 * _DAY)
    movable.get(path)


def test_null_at_creation(movable: Client, moved: Project) -> None:
    """Null at the creation means no expiry."""
    assert "expires_at" not in moved.branch(compute=False, expires_at=None)["branch"]


def test_second_precision(movable: Client, moved: Project) -> None:
    """An expiry is kept to the second, and told in UTC, in whatever zone it was named."""
    time = (_now(movable) + timedelta(days=1)).replace(microsecond=999_000).astimezone()
    named = time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    branch = moved.branch(compute=False, expires_at=named)["branch"]
    assert branch["expires_at"] == named.replace(".999000", "")
    zoned = time.astimezone(UTC).replace(tzinfo=None).isoformat() + "-02:00"
    branch = moved.branch(compute=False, expires_at=zoned)["branch"]
    assert datetime.fromisoformat(branch["expires_at"]) - time == timedelta(hours=2, microseconds=-999_000)


def test_reset_restarts(movable: Client, moved: Project) -> None:
    """A reset gives a branch its whole time again."""
    branch = moved.branch(expires_at=_later(movable, hours=10))["branch"]
    movable.advance(9 * 3600)
    body = {"source_branch_id": moved.main}
    reset = movable.post(f"{moved.path}/branches/{branch['id']}/restore", body, 200)["branch"]
    gained = datetime.fromisoformat(reset["expires_at"]) - datetime.fromisoformat(branch["expires_at"])
    assert timedelta(hours=8, minutes=59) < gained < timedelta(hours=9, minutes=5)
    movable.advance(9 * 3600)
    movable.get(f"{moved.path}/branches/{branch['id']}")


@pytest.mark.parametrize("delta", [{"seconds": -1}, {"days": 30, "minutes": 1}, {"days": 20_000}])
def test_out_of_range(movable: Client, moved: Project, delta: dict[str, float]) -> None:
    """An expiry in the past, or more than thirty days ahead, is refused, and the limit told."""
    body = {"branch": {"expires_at": _later(movable, **delta)}}
    branch = moved.branch(compute=False)["branch"]["id"]
    for method, path in (("POST", "/branches"), ("PATCH", f"/branches/{branch}")):
        assert "at most 30 days ahead" in message(movable, method, moved.path + path, 422, body)


def test_who_cannot_expire(movable: Client, moved: Project) -> None:
    """The default branch, a protected one, and one with children cannot expire."""
    body = {"branch": {"expires_at": _later(movable, days=1)}}
    path = f"{moved.path}/branches"
    parent = moved.branch(compute=False)["branch"]["id"]
    child = moved.branch(compute=False, parent_id=parent)["branch"]["id"]
    movable.patch(f"{path}/{child}", {"branch": {"protected": True}})
    for branch, said in ((moved.main, "default branch"), (child, "protected branch"), (parent, child)):
        assert said in message(movable, "PATCH", f"{path}/{branch}", 422, body)
    both = {"branch": {**body["branch"], "protected": True}}
    assert "cannot expire" in message(movable, "POST", path, 422, both)


def test_what_an_expiring_branch_cannot_be(movable: Client, moved: Project) -> None:
    """A branch that expires cannot have children, be the default or be protected; a schema-only root is no child."""
    path = f"{moved.path}/branches"
    branch = moved.branch(compute=False, expires_at=_later(movable, days=1))["branch"]["id"]
    said = message(movable, "POST", path, 422, {"branch": {"parent_id": branch}})
    assert "cannot have children" in said
    assert "default" in message(movable, "POST", f"{path}/{branch}/set_as_default", 422)
    assert "protected" in message(movable, "PATCH", f"{path}/{branch}", 422, {"branch": {"protected": True}})
    moved.branch(compute=False, parent_id=branch, init_source="schema-only")


def test_size(movable: Client, moved: Project) -> None:
    """A branch that is in use tells how much it holds by now, and keeps telling it when it sleeps; it is no change."""
    path = f"{moved.path}/branches/{moved.main}"
    before = movable.get(path)["branch"]
    moved.query("CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
    movable.advance(0)
    awake = movable.get(path)["branch"]
    assert awake["logical_size"] > before["logical_size"] + 2_000_000
    moved.query("DROP TABLE t")
    movable.advance(400)
    (endpoint,) = movable.get(f"{path}/endpoints")["endpoints"]
    asleep = movable.get(path)["branch"]
    assert endpoint["current_state"] == "idle"
    assert asleep["logical_size"] < awake["logical_size"] - 2_000_000
    assert asleep["updated_at"] == before["updated_at"]


def test_past_is_pruned(movable: Client, moved: Project) -> None:
    """What is older than the project keeps it cannot be had any more, from the moment on at which it is too old."""
    movable.patch(moved.path, {"project": {"history_retention_seconds": 3600}})
    point = _now(movable).isoformat()
    movable.advance(1800)
    moved.branch(compute=False, parent_timestamp=point)
    movable.advance(1801)
    said = message(movable, "POST", f"{moved.path}/branches", 422, {"branch": {"parent_timestamp": point}})
    assert "outside of the history" in said
    said = message(movable, "POST", f"{moved.path}/branches", 422, {"branch": {"parent_lsn": "0/100"}})
    assert _start(said) > datetime.fromisoformat(point)
    moved.branch(compute=False, parent_timestamp=(_now(movable) - timedelta(seconds=3000)).isoformat())


def test_past_is_shortened(movable: Client, moved: Project) -> None:
    """A project that keeps less from now on has at once lost what is older, and says so."""
    point = _now(movable)
    movable.advance(1000)
    movable.patch(moved.path, {"project": {"history_retention_seconds": 100}})
    body = {"branch": {"parent_timestamp": point.isoformat()}}
    said = message(movable, "POST", f"{moved.path}/branches", 422, body)
    assert _start(said) > point + timedelta(seconds=899)


def test_point_across_a_jump(movable: Client, moved: Project) -> None:
    """A time before the clock was moved still means what it meant; one inside of the jump means the moment of it."""
    moved.query("CREATE TABLE t AS SELECT 1 AS n")
    before = _now(movable)
    movable.advance(1000)
    moved.query("INSERT INTO t VALUES (2)")
    for time in (before, before + timedelta(seconds=500)):
        branch = moved.branch(parent_timestamp=time.isoformat())["branch"]["id"]
        assert moved.query("SELECT n FROM t", branch) == [(1,)]
    branch = moved.branch(parent_timestamp=_now(movable).isoformat())["branch"]["id"]
    assert len(moved.query("SELECT n FROM t", branch)) == 2
