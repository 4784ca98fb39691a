"""One new branch for one call, whatever becomes of the answers."""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING

from flask_branches.branch import Lsn, moment, written
from flask_branches.errors import BranchExists, NeonError
from flask_branches.neon_client.again import TryAgain
from flask_branches.neon_client.answers import Ask
from flask_branches.neon_client.objects import CreatedBranch, objects, read_write
from flask_branches.neon_client.operations import wait_for, wait_for_branch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any

    from flask_branches.neon_client.client import NeonClient
    from flask_branches.neon_client.deadlines import Deadline
    from flask_branches.neon_client.transport import Transport

INTENT = "flask-branches-intent"


def branch_of(
    *, name: str, parent_id: str | None, at: datetime | Lsn | None, schema_only: bool, expires_at: datetime | None
) -> dict[str, Any]:
    """What a new branch is to be, as the API wants it told; what is not set is left to the API.

    Raises:
        InvalidValue: for a moment without a time zone.
    """
    wanted = {
        "name": name,
        "parent_id": parent_id,
        "parent_lsn": at.text if isinstance(at, Lsn) else None,
        "parent_timestamp": None if at is None or isinstance(at, Lsn) else written(moment(at, "The point in time")),
        "init_source": "schema-only" if schema_only else None,
        "expires_at": None if expires_at is None else second(expires_at),
    }
    return {key: value for key, value in wanted.items() if value is not None}


def second(at: datetime) -> str | None:
    """A moment to the second, which is what the API keeps of an expiry.

    Raises:
        InvalidValue: for a moment without a time zone.
    """
    return written(moment(at, "expires_at").replace(microsecond=0))


class Creation:
    """The making of one branch.

    The branch's annotation carries an id of this very call. So a branch that is found under the name after an answer
    was lost is known to be this call's, or somebody else's; and since names are unique, asking twice makes one branch.
    """

    def __init__(
        self,
        client: NeonClient,
        transport: Transport,
        branch: Mapping[str, Any],
        annotation: Mapping[str, str],
        deadline: Deadline,
    ) -> None:
        self._client, self._transport, self._deadline = client, transport, deadline
        self._name = str(branch["name"])
        self._intent = str(uuid.uuid4())
        self._annotation = {**annotation, INTENT: self._intent}
        body = {"branch": branch, "endpoints": [{"type": "read_write"}], "annotation_value": self._annotation}
        self._ask = Ask("POST", "/branches", f"make the branch {self._name!r}", body=body)
        self._expires = branch.get("expires_at")
        self._is_open = False

    def run(self) -> CreatedBranch:
        """Make it, and wait until it can be used.

        Raises:
            BranchExists: where another branch has the name.
            NeonError: where it cannot be made; the text tells whether there may be a branch nevertheless.
        """
        try:
            return self._transport.repeated(self._attempt, self._deadline)
        except NeonError as error:
            if self._is_open:
                raise self._left_open(error) from None
            raise

    def _attempt(self) -> CreatedBranch:
        if self._is_open and (found := self._look()):
            return found
        try:
            answer = self._transport.once(self._ask, self._deadline)
        except TryAgain as failure:
            self._is_open = self._is_open or failure.lost
            raise
        except (BranchExists, NeonError) as refusal:
            if not self._is_open:
                raise
            return self._made_by_an_earlier_try(refusal)
        self._is_open = True
        raw = self._transport.json(self._ask, answer)
        made = CreatedBranch.of(raw, self._annotation)
        wait_for(self._transport, self._ask.what, objects(raw, "operations"), self._deadline)
        return made

    def _made_by_an_earlier_try(self, refusal: Exception) -> CreatedBranch:
        """The branch that has taken the name, or the last place that the plan allows, while a try was given up."""
        if found := self._look():
            return found
        if not isinstance(refusal, BranchExists):
            raise refusal
        last = "it says that the branch exists, and does not list it"
        raise TryAgain(self._ask.what, last, "Try again later.", lost=True, status=HTTPStatus.CONFLICT)

    def _look(self) -> CreatedBranch | None:
        for branch in self._client.named(self._name, self._deadline):
            if branch.annotation.get(INTENT) != self._intent:
                self._is_open = False
                raise BranchExists(
                    f"Neon did not {self._ask.what}: another branch, {branch.id}, has this name. Choose another name."
                )
            wait_for_branch(self._transport, self._ask.what, branch.id, self._deadline)
            endpoint = read_write(self._client.endpoints_of(branch.id, self._deadline))
            return CreatedBranch(branch, endpoint, ())
        return None

    def _left_open(self, error: NeonError) -> NeonError:
        ends = f"expires at {self._expires}" if self._expires else "does not expire by itself"
        return NeonError(
            f"{error} The branch {self._name!r}, which was being made, may exist or appear nevertheless; it {ends}.",
            status=error.status,
            code=error.code,
            request_id=error.request_id,
        )
