"""Operations: what a request sets going, done one after the other in the background."""

from __future__ import annotations

import logging
import threading
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from neon_emulator.engine import is_lost
from neon_emulator.state.models import CANCELLED, ERROR, FINISHED, RUNNING, SCHEDULING, UNFINISHED, Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from neon_emulator.clock import Clock
    from neon_emulator.state.store import Store

_ATTEMPTS = 3
_MICROSECOND = timedelta(microseconds=1)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """An operation to be added; `subject` is what it is about, where that is neither a branch nor an endpoint."""

    action: str
    branch_id: str | None = None
    endpoint_id: str | None = None
    subject: str | None = None


@dataclass(frozen=True)
class Action:
    """How an operation is done, which may be done twice, and what the state says once it has ended, well or not.

    One that `needs_others` is cancelled where one before it in its chain has failed.
    """

    work: Callable[[Operation], None]
    settle: Callable[[Session, Operation], None]
    needs_others: bool = True


def add(session: Session, clock: Clock, project_id: str, steps: Sequence[Step]) -> list[Operation]:
    """Write operations down: the first as running, the others as to come."""
    chain = str(uuid.uuid4())
    now = _next_time(session, clock)
    operations = [
        Operation(
            id=str(uuid.uuid4()),
            chain=chain,
            project_id=project_id,
            branch_id=step.branch_id,
            endpoint_id=step.endpoint_id,
            action=step.action,
            subject=step.subject,
            status=SCHEDULING if place else RUNNING,
            failures_count=0,
            created_at=now + place * _MICROSECOND,
            updated_at=now,
        )
        for place, step in enumerate(steps)
    ]
    session.add_all(operations)
    return operations


def _next_time(session: Session, clock: Clock) -> datetime:
    # No two operations have the same time, so that a time can be the cursor of a list.
    last = session.scalars(sa.select(sa.func.max(Operation.created_at))).one()
    return clock.now() if last is None else max(clock.now(), last + _MICROSECOND)


class Worker:
    """Does operations; those of one chain in their order, and different chains at the same time.

    Args:
        store: where they are written down.
        clock: what they are dated by.
        delay: seconds from the request's answer to the end of its first operation. With 0 a chain is done before the
            answer leaves, so that the next request finds it done.
        actions: how each kind is done.
    """

    def __init__(self, store: Store, clock: Clock, delay: float, actions: Mapping[str, Action]) -> None:
        self._store = store
        self._clock = clock
        self._delay = delay
        self._actions = actions
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._left: set[str] = set()

    def begin(self, operations: Sequence[Operation]) -> None:
        """Set a chain going, after what has added it was committed."""
        if not operations:
            return
        chain = operations[0].chain
        if self._delay == 0:
            self._work(chain)
            return
        thread = threading.Thread(target=self._work_later, args=(chain,), name=f"chain-{chain}", daemon=True)
        with self._lock:
            self._threads.add(thread)
            thread.start()

    def resume(self) -> None:
        """Do what an earlier emulator has left undone."""
        with self._store.session() as session:
            query = sa.select(Operation.chain).where(Operation.status.in_(UNFINISHED)).order_by(Operation.number)
            chains = dict.fromkeys(session.scalars(query))
        for chain in chains:
            self._work(chain)

    def resume_left(self) -> None:
        """Go on with the chains whose state could not be written, as on a disk that was full."""
        with self._lock:
            left = list(self._left)
        for chain in left:
            self._work(chain)

    def close(self) -> None:
        """Stop; what is left is done after the next start."""
        self._closing.set()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _work_later(self, chain: str) -> None:
        try:
            if not self._closing.wait(self._delay):
                self._work(chain)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _work(self, chain: str) -> None:
        try:
            self._work_off(chain)
        except Exception:  # noqa: BLE001 - the request's work is done, and what is left is done later
            if chain not in self._left:
                _log.exception("The state of operations could not be written; they go on later")
            with self._lock:
                self._left.add(chain)
        else:
            with self._lock:
                self._left.discard(chain)

    def _work_off(self, chain: str) -> None:
        while not self._closing.is_set() and (operation := self._next(chain)):
            try:
                self._do(operation)
            except Exception as error:  # noqa: BLE001 - whatever it is, an operation without an end would block its branch for ever
                if self._closing.is_set():
                    return  # everything is being stopped: the next start does it again
                _log.exception("%s of %s failed", operation.action, operation.branch_id or operation.project_id)
                self._end(operation, str(error))
            else:
                self._end(operation, None)

    def _next(self, chain: str) -> Operation | None:
        with self._store.session() as session:
            query = sa.select(Operation).where(Operation.chain == chain, Operation.status.in_(UNFINISHED))
            operation = session.scalars(query.order_by(Operation.number).limit(1)).first()
            if operation is not None:
                operation.status = RUNNING
                operation.updated_at = self._clock.now()
            return operation

    def _do(self, operation: Operation) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._actions[operation.action].work(operation)
            except Exception as error:
                if not is_lost(error) or attempt == _ATTEMPTS or self._closing.is_set():
                    raise
        return None

    def _end(self, operation: Operation, error: str | None) -> None:
        with self._store.session() as session:
            row = session.get(Operation, operation.number)
            if row is None:  # its project was deleted meanwhile
                return
            row.status = FINISHED if error is None else ERROR
            row.error = error
            row.failures_count += error is not None
            row.updated_at = self._clock.now()
            self._actions[row.action].settle(session, row)
            if error is not None:
                self._cancel_rest(session, row)

    def _cancel_rest(self, session: Session, failed: Operation) -> None:
        query = sa.select(Operation).where(Operation.chain == failed.chain, Operation.status == SCHEDULING)
        for operation in session.scalars(query):
            action = self._actions[operation.action]
            if action.needs_others:
                operation.status = CANCELLED
                operation.updated_at = failed.updated_at
                action.settle(session, operation)
