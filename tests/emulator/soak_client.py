"""A client of an emulator that is being killed: it does one random thing after the other, and judges the answers."""

from __future__ import annotations

import random
import re
import time
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import httpx2
import psycopg
from tests.emulator.running import NEVER_TOLD
from tests.emulator.soak import Branch

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence

    from tests.emulator.running import Emulator
    from tests.emulator.soak import Model

WORKS = {"write": 8, "read": 4, "branch": 3, "past": 2, "delete": 3, "reset": 1, "suspend": 1, "list": 1}
"""What a client does, and how often in comparison."""

ANSWER_SECONDS = 180.0
"""More than the emulator itself waits for a supervisor."""

_STUCK_SECONDS = 60.0
_CONNECTING = 30
_MOST = 12
_POINT = "SELECT clock_timestamp(), pg_current_wal_lsn()::text"
_LOCKED, _GONE, _AGAINST_A_RULE, _UNAVAILABLE = 423, 404, 422, 503
_EXPECTED = ("branch not ready yet", "has children", "outside of the history that is kept")
_ID = re.compile(r"(?<=\b(?:br|ep)-)[a-z0-9-]+")


class Unanswered(Exception):
    """The emulator, or its supervisor, was not there: what was asked for was done, or not."""


class Refused(Exception):
    """Something was against it: it was not done."""


class _Idle(Exception):
    """There is nothing of this kind to do."""


class Soaking(Protocol):
    """What clients have in common."""

    emulator: Emulator
    project: str
    model: Model
    names: set[str]
    ended: threading.Event

    def count(self, what: str) -> None:
        """Take down that something was done."""

    def fail(self, why: str) -> None:
        """Take down a fault, and end."""


class SoakClient:
    """One client."""

    def __init__(self, soak: Soaking, seed: int) -> None:
        self.soak = soak
        self.model = soak.model
        self.random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.http = httpx2.Client(timeout=ANSWER_SECONDS, trust_env=False)

    def run(self) -> None:
        """Work until the time is over, or somebody has found a fault."""
        while not self.soak.ended.is_set():
            [name] = self.random.choices(list(WORKS), list(WORKS.values()))
            try:
                getattr(self, name)()
            except _Idle:
                time.sleep(0.01)
            except (Unanswered, Refused, psycopg.OperationalError, psycopg.InterfaceError) as error:
                self._note(name, error)
                time.sleep(0.05)
            except Exception:  # noqa: BLE001 - whatever it is, it ends the test
                self.soak.fail(traceback.format_exc())
            else:
                self.soak.count(name)
        self.http.close()

    def _note(self, name: str, error: Exception) -> None:
        """Take down what was not done; where a client should never have been told so, it is a fault."""
        said = str(error)
        if any(words in said for words in NEVER_TOLD):
            self.soak.fail(traceback.format_exc())
        outside = "outside of the history"
        reason = outside if outside in said else (said.splitlines() or ["no answer"])[0]
        self.soak.count(f"{name}: {_ID.sub('…', reason)[:90]}")

    def write(self) -> None:
        """Move an amount and write a number, in one transaction."""
        with self._held(self.model.all()) as branch:
            number = self.model.number()
            branch.tried.add(number)
            with self._connect(branch) as connection, connection.transaction():
                connection.execute("UPDATE accounts SET amount = amount - 1 WHERE id = 1")
                connection.execute("INSERT INTO seen VALUES (%s)", [number])
                connection.execute("UPDATE accounts SET amount = amount + 1 WHERE id = 2")
            branch.certain.add(number)

    def read(self) -> None:
        """Check a branch."""
        with self._held(self.model.all()) as branch:
            self._check(branch)

    def branch(self) -> None:
        """Make a branch at the head of a parent that others write to, and may be resetting."""
        parent = self.random.choice(self.model.all())
        before = parent.known()
        self._make(parent, lambda: self.model.copied(parent, before))

    def past(self) -> None:
        """Make a branch at a point of the first branch, which nobody resets, that was just read."""
        first = self.model.all()[0]
        with self._connect(first) as connection:
            certain = set(first.certain)
            when, lsn = connection.execute(_POINT).fetchall()[0]
            tried = set(first.tried)
        time.sleep(self.random.random())
        at = self.random.choice([{"parent_timestamp": when.isoformat()}, {"parent_lsn": lsn}])
        self._make(first, lambda: (certain, tried), **at)

    def _make(self, parent: Branch, numbers: Callable[[], tuple[set[int], set[int]]], **at: Any) -> None:
        if len(self.model.all()) >= _MOST:
            raise _Idle
        name = f"b{self.model.number()}"
        body = {"branch": {"name": name, "parent_id": parent.id, **at}, "endpoints": [{"type": "read_write"}]}
        self.soak.names.add(name)
        made = self._ask("POST", "/branches", body, about=parent)["branch"]
        branch = Branch(made["id"], name, parent.id, *numbers())
        with branch.lock:
            self.model.add(branch)
            self._check(branch)

    def delete(self) -> None:
        """Delete a branch without children."""
        leaves = self.model.leaves()
        with self._held(leaves if len(leaves) > 2 else []) as branch:
            self.model.begin_deletion(branch)
            try:
                self._ask("DELETE", f"/branches/{branch.id}", about=branch)
            except Refused:
                self.model.take_back_deletion(branch)
                raise
            self.model.remove(branch)

    def reset(self) -> None:
        """Reset a branch without children to its parent's head."""
        with self._held(self.model.leaves()) as branch:
            parent = next((one for one in self.model.all() if one.id == branch.parent), None)
            if parent is None:
                raise _Idle
            before, certain = branch.known(), set(parent.certain)
            branch.doubt(parent)
            try:
                self._ask("POST", f"/branches/{branch.id}/restore", {"source_branch_id": parent.id}, about=branch)
            except Refused:
                branch.certain, branch.tried = before.certain, before.tried
                raise
            except Unanswered:
                branch.tried |= parent.tried
                raise
            branch.certain, branch.tried = certain, set(parent.tried)
            self._check(branch)

    def suspend(self) -> None:
        """Suspend a compute in the middle of what others do."""
        branch = self.random.choice(self.model.all())
        for endpoint in self._ask("GET", f"/branches/{branch.id}/endpoints", about=branch)["endpoints"]:
            self._ask("POST", f"/endpoints/{endpoint['id']}/suspend", about=branch)

    def list(self) -> None:
        """Everything that was answered for is listed."""
        expected = {branch.id for branch in self.model.all()}
        listed = {one["id"] for one in self._ask("GET", "/branches")["branches"]}
        missing = {one for one in expected - listed if not self.model.may_be_gone(one)}
        assert not missing, f"not listed: {missing}"

    @contextmanager
    def _held(self, branches: Sequence[Branch]) -> Iterator[Branch]:
        """One of the branches, held alone; where there is none, or somebody else holds it, there is nothing to do."""
        if not branches:
            raise _Idle
        branch = self.random.choice(branches)
        with self.model.held(branch) as held:
            if not held:
                raise _Idle
            yield branch

    def _check(self, branch: Branch) -> None:
        with self._connect(branch) as connection:
            branch.certain = branch.check(connection)

    def _connect(self, branch: Branch) -> psycopg.Connection[Any]:
        parameters = {"branch_id": branch.id, "database_name": "neondb", "role_name": "neondb_owner"}
        uri = self._ask("GET", "/connection_uri", about=branch, params=parameters)["uri"]
        return psycopg.connect(uri, autocommit=True, connect_timeout=_CONNECTING)

    def _ask(self, method: str, path: str, json: Any = None, *, about: Branch | None = None, **options: Any) -> Any:
        """Ask something about a branch, again where that is busy, and return the answer's body.

        Raises:
            Refused: where the answer says so.
            Unanswered: where none came, or one that leaves it open.
        """
        limit = time.monotonic() + _STUCK_SECONDS
        while (answer := self._answer(method, path, json=json, **options)).status_code == _LOCKED:
            said = answer.json()["message"]
            self.soak.count(f"{_LOCKED} {method}")
            assert time.monotonic() < limit, f"{method} {path}: for a minute {_LOCKED} {said}"
            if self.soak.ended.wait(0.1):
                raise Refused(f"{_LOCKED} {said}")
        self._judge(f"{method} {path}", answer, about)
        return answer.json() if answer.content else None

    def _answer(self, method: str, path: str, **options: Any) -> httpx2.Response:
        exported = self.soak.emulator.exported
        if not exported:
            raise Unanswered
        url = f"{exported['NEON_API_HOST']}/projects/{self.soak.project}{path}"
        headers = {"Authorization": f"Bearer {exported['NEON_API_KEY']}"}
        try:
            return self.http.request(method, url, headers=headers, **options)
        except httpx2.TimeoutException as error:
            raise AssertionError(f"{method} {path}: no answer in {ANSWER_SECONDS:.0f} seconds") from error
        except httpx2.HTTPError as error:
            raise Unanswered from error

    def _judge(self, asked: str, answer: httpx2.Response, about: Branch | None) -> None:
        status = answer.status_code
        if status < 300:
            return
        said = f"{status} {answer.json()['message']}"
        if status == _UNAVAILABLE:
            raise Unanswered(said)
        gone = status == _GONE and about is not None and self.model.may_be_gone(about.id)
        assert gone or (status == _AGAINST_A_RULE and any(words in said for words in _EXPECTED)), f"{asked}: {said}"
        raise Refused(said)
