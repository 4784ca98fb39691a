"""A session that looks at another one's locks: at once when it is told to, and every few milliseconds."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from flask_branches.rehearsal.locks import Tracker, blocks, mode_of, strength
from flask_branches.rehearsal.probing import errors_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection

    from flask_branches.rehearsal.catalog import Catalog
    from flask_branches.rehearsal.clock import Clock
    from flask_branches.rehearsal.probing import Prober

_LOCKS = (
    "SELECT relation::bigint, mode FROM pg_locks WHERE pid = ANY(%s) AND granted AND locktype = 'relation'"
    " AND mode <> 'SIReadLock'"  # of a serializable transaction, which keeps nobody waiting
    " AND relation >= 16384 AND database = %s"
)
_STUCK = "SELECT pid FROM unnest(%s::int[]) pid WHERE %s = ANY(pg_blocking_pids(pid))"
_TICK = 0.005
"""Seconds between two glances at a statement that takes long."""
_PAUSE = 100
"""Milliseconds between two glances at a session whose statements take no time."""
_SHARE = 0.01
"""A statement that takes minutes is looked at more rarely: this share of its time."""
_PATIENCE = 1_000
"""For how many milliseconds a migration may wait for a lock of its own before it is told that it waits for ever."""
_PROBED = {"r", "p"}


class Activity:
    """What the migrating session is doing, as its own process knows it; written by one thread and read by another."""

    def __init__(self) -> None:
        self.since = 0.0
        """When its latest statement began."""
        self.running = False
        """Whether the server has not answered yet."""
        self.revision: str | None = None
        self.own: dict[int, float] = {}
        """The numbers of sessions that the migration has opened itself, and since when a statement runs there."""


class Observer:
    """Looks at the locks of one session, and ends what has no end.

    Args:
        connection: in autocommit: one snapshot kept open would stall a CREATE INDEX CONCURRENTLY.
        pid: the session's number.
        activity: what it is doing.
        clock: the migrations' own.
        before: all relations that were there before.
        prober: who waits for a table that is seen blocked.
        deadline: when the migrations have taken too long, by the clock.
    """

    def __init__(
        self,
        connection: Connection,
        pid: int,
        *,
        activity: Activity,
        clock: Clock,
        before: Catalog,
        prober: Prober,
        deadline: float,
    ) -> None:
        self._cursor: Any = connection.connection.cursor()
        own = "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"
        self._database = int(connection.exec_driver_sql(own).scalar_one())
        self.pid = pid
        self._activity = activity
        self._clock = clock
        self._before = before
        self._deadline = deadline
        self._asking = threading.Lock()
        self._stopped = threading.Event()
        self._looked = 0.0
        self._cancelled = 0.0
        self.prober = prober
        self.tracker = Tracker()
        self.overdue = False
        self.stuck = False
        """Whether the migration has waited for itself."""
        self.cancelled: str | None = None
        """The revision of which a statement was ended."""
        self.lost: Exception | None = None
        self._thread = threading.Thread(target=self._sample, name="rehearsal-observer", daemon=True)
        self._thread.start()

    def glance(self, *, settled: bool) -> None:
        """Look at the locks now.

        Args:
            settled: whether no statement is running.
        """
        with self._asking:
            if self.lost is None:
                self._told(lambda: self._glance(settled=settled))

    def release(self) -> None:
        """The session's transaction has ended just now, or a moment ago."""
        with self._asking:
            self.tracker.release(self._clock.now())

    def aside(self) -> set[tuple[int, str]]:
        """What the session holds at this moment, to be left out or not."""
        with self._asking:
            return self._held()

    def ignore(self, keys: set[tuple[int, str]]) -> None:
        """Leave locks out until the transaction ends."""
        with self._asking:
            self.tracker.ignore(keys)

    def ask(self, look: Callable[[Any], Any]) -> Any:  # noqa: ANN401  whatever the function gives
        """Look at something else, by a cursor of this session."""
        with self._asking:
            return look(self._cursor)

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        self._thread.join()
        self.prober.stop()

    def _sample(self) -> None:
        while not self._stopped.wait(_TICK):
            now = self._clock.now()
            if now > self._deadline or self._may_be_stuck(now):
                with self._asking:
                    self._told(lambda: self._end(self._clock.now()))
            if self._is_due(now):
                self.glance(settled=False)

    def _is_due(self, now: float) -> bool:
        running = now - self._activity.since if self._activity.running else 0
        if running < _TICK * 1_000:
            return now - self._looked > _PAUSE
        return now - self._looked > running * _SHARE

    def _glance(self, *, settled: bool) -> None:
        since, revision = self._activity.since, self._activity.revision
        asked = self._looked = self._clock.now()
        held = self._held()
        if revision != self._activity.revision:
            return  # another has begun meanwhile, and nobody knows whose they are: whoever looks next does
        self.tracker.glance(
            held, asked=asked, answered=self._clock.now(), since=since, revision=revision, settled=settled
        )
        for relation, lock in sorted(held, key=lambda each: -strength(mode_of(each[1]))):
            self._probe(relation, lock)

    def _held(self) -> set[tuple[int, str]]:
        self._cursor.execute(_LOCKS, ([self.pid, *self._activity.own], self._database))
        return {(relation, mode) for relation, mode in self._cursor.fetchall()}

    def _probe(self, relation: int, lock: str) -> None:
        kept_out = blocks(lock)
        found = self._before.by_oid.get(relation)
        if found is not None and found.letter in _PROBED:
            if kept_out == "reads and writes":
                self.prober.offer(relation, found.name, "reads")
            elif kept_out == "writes":
                self.prober.offer(relation, found.name, "writes")

    def _may_be_stuck(self, now: float) -> bool:
        return any(now - began > _PATIENCE for began in list(self._activity.own.values()) if began)

    def _end(self, now: float) -> None:
        """Cancel what goes on for too long, or for ever; again each second, until it has ended."""
        if now - self._cancelled < _PATIENCE:
            return
        ending: list[int] = []
        if now > self._deadline:
            self.overdue = True
            ending = [self.pid, *self._activity.own]
        else:
            self._cursor.execute(_STUCK, (list(self._activity.own), self.pid))
            ending = [pid for (pid,) in self._cursor.fetchall()]
            self.stuck |= bool(ending)
        self._cancelled = now
        if ending:
            self.cancelled = self._activity.revision
        for pid in ending:
            self._cursor.execute("SELECT pg_cancel_backend(%s)", (pid,))

    def _told(self, ask: Callable[[], None]) -> None:
        """The branch may be deleted meanwhile: what it told until then stands."""
        try:
            ask()
        except errors_of(self._cursor) as error:
            self.lost = error
            self._stopped.set()
