"""Waiting for the work that an answer has only begun."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask_branches.errors import NeonError
from flask_branches.neon_client.answers import Ask, one_line
from flask_branches.neon_client.objects import objects, required

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask_branches.neon_client.deadlines import Deadline
    from flask_branches.neon_client.transport import Transport

# `failed` is none of them: Neon may try such an operation again. Neither is a status that is yet to be invented.
_DONE = frozenset({"finished", "skipped"})
_NEVER = frozenset({"error", "cancelled"})

_FIRST = 0.25
_LONGEST = 2.0
_ASK = Ask("GET", "/operations", "tell how its operations go", {"limit": "100"})

Operation = dict[str, Any]


def wait_for(transport: Transport, what: str, operations: Iterable[Operation], deadline: Deadline) -> None:
    """Wait until the operations of an answer have ended.

    Args:
        transport: to ask with.
        what: what they do, in plain words, such as ``make the branch 'mine'``.
        operations: as the answer told them.
        deadline: of the call that began them.

    Raises:
        NeonError: for an operation that failed for good, and where they go on for longer than there is patience.
    """
    pending = {required(one, "id", str, "operation"): one for one in operations if not _has_ended(one, what)}

    def still(listed: list[Operation]) -> list[Operation]:
        known = {required(one, "id", str, "operation"): one for one in listed}
        for name in pending.keys() - known.keys():  # a hundred newer ones can push it off the list
            known[name] = _one(transport, name, deadline) or pending[name]
        return [known[name] for name in pending if not _has_ended(known[name], what)]

    if pending:
        _poll(transport, what, still, deadline)


def wait_for_branch(transport: Transport, what: str, branch_id: str, deadline: Deadline) -> None:
    """Wait until all operations of a branch have ended: for one whose answer was lost, and their names with it.

    Raises:
        NeonError: for an operation that failed for good, and where they go on for longer than there is patience.
    """

    def still(listed: list[Operation]) -> list[Operation]:
        return [one for one in listed if one.get("branch_id") == branch_id and not _has_ended(one, what)]

    _poll(transport, what, still, deadline)


def _poll(
    transport: Transport, what: str, still: Callable[[list[Operation]], list[Operation]], deadline: Deadline
) -> None:
    wait = _FIRST
    while pending := still(objects(transport.ask(_ASK, deadline), "operations")):
        if wait > deadline.left:
            raise _not_ended(what, pending, deadline)
        time.sleep(wait)  # Neon's API tells nobody that an operation has ended: it has to be asked
        wait = min(2 * wait, _LONGEST)


def _one(transport: Transport, name: str, deadline: Deadline) -> Operation | None:
    ask = Ask("GET", f"/operations/{quote(name, safe='')}", "tell how an operation goes")
    try:
        return required(transport.ask(ask, deadline), "operation", dict, "answer")
    except NeonError as error:
        if error.status == HTTPStatus.NOT_FOUND:  # told of, and not listed yet
            return None
        raise


def _has_ended(operation: Operation, what: str) -> bool:
    """Whether it has; where it has failed for good, that is an error."""
    status = required(operation, "status", str, "operation")
    if status in _NEVER:
        said = one_line(operation.get("error")) or "it gave no reason"
        raise NeonError(
            f"Neon did not {what}: its operation {_name(operation)} ended as {status}: {said}. Try again later; "
            "https://neonstatus.com tells of troubles."
        )
    return status in _DONE


def _not_ended(what: str, pending: list[Operation], deadline: Deadline) -> NeonError:
    names = ", ".join(f"{_name(one)} ({one_line(one.get('status'))})" for one in pending)
    return NeonError(
        f"Neon did not {what} within {deadline.patience:g} s: still at work are {names}. They go on without being "
        "waited for; look at them in Neon's console."
    )


def _name(operation: Operation) -> str:
    return f"{one_line(operation.get('action')) or 'without a name'} {one_line(operation.get('id'))}".strip()
