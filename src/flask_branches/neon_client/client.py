"""The calls."""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr

from flask_branches.errors import BranchExists, InvalidValue, NeonError
from flask_branches.neon_client.access import is_id
from flask_branches.neon_client.again import TryAgain
from flask_branches.neon_client.answers import Ask
from flask_branches.neon_client.creation import Creation, branch_of, second
from flask_branches.neon_client.objects import (
    BranchInfo,
    CreatedBranch,
    EndpointInfo,
    ProjectInfo,
    annotation_of,
    objects,
    required,
)
from flask_branches.neon_client.operations import wait_for
from flask_branches.neon_client.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from flask_branches.branch import Lsn
    from flask_branches.neon_client.access import Access
    from flask_branches.neon_client.deadlines import Deadline

_PAGE = 1000


class Unset(Enum):
    """The type of UNSET: leave it as it is, where None has a meaning of its own."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


class NeonClient:
    """Neon's API, for the branches of one project; usable from several threads at once.

    Every call ends within the patience of its access, and has then either done what it is called, or raises a
    NeonError that tells what was asked, what Neon said and what to do. Calls that change something return when the
    operations that they began have ended; only a deletion is not waited for.
    """

    def __init__(self, access: Access) -> None:
        self._transport = Transport(access)

    @property
    def requests(self) -> int:
        """How many HTTP requests were sent so far, repeats included."""
        return self._transport.requests

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def project(self) -> ProjectInfo:
        """The project."""
        raw = self._ask(Ask("GET", "", "tell about the project"))
        return ProjectInfo.of(required(raw, "project", dict, "answer"))

    def branches(self, search: str | None = None) -> list[BranchInfo]:
        """All branches, the oldest first.

        Args:
            search: a part of a name or of an id; by default, none is left out.
        """
        return self._branches(search, self._transport.deadline())

    def branch(self, branch_id: str) -> BranchInfo:
        """One branch."""
        return self._branch(branch_id, self._transport.deadline())

    def endpoints(self) -> list[EndpointInfo]:
        """The endpoints of all branches."""
        raw = self._ask(Ask("GET", "/endpoints", "list the endpoints"))
        return [EndpointInfo.of(one) for one in objects(raw, "endpoints")]

    def databases(self, branch_id: str) -> list[tuple[str, str]]:
        """The databases of a branch, each with its owner."""
        raw = self._ask(Ask("GET", f"{_path(branch_id)}/databases", f"list the databases of the branch {branch_id}"))
        return [
            (required(one, "name", str, "database"), required(one, "owner_name", str, "database"))
            for one in objects(raw, "databases")
        ]

    def create_branch(
        self,
        name: str,
        *,
        parent_id: str | None,
        at: datetime | Lsn | None = None,
        schema_only: bool = False,
        expires_at: datetime | None,
        annotation: Mapping[str, str],
    ) -> CreatedBranch:
        """Make a branch with an endpoint that can write: one, or none, whatever becomes of the answers.

        The branch is told as Neon answered; its state there is the one before the operations, which have ended.

        Args:
            name: one that no other branch has.
            parent_id: what to copy; by default, the default branch.
            at: a point in the parent's past; by default, now.
            schema_only: leave the rows out; this makes a root branch.
            expires_at: when Neon is to delete it, at most 30 days from now; kept to the second.
            annotation: what to note about it, for whoever lists it.

        Raises:
            BranchExists: where another branch has the name.
        """
        branch = branch_of(name=name, parent_id=parent_id, at=at, schema_only=schema_only, expires_at=expires_at)
        return Creation(self, self._transport, branch, annotation, self._transport.deadline()).run()

    def update_branch(
        self, branch_id: str, *, name: str | None = None, expires_at: datetime | Unset | None = UNSET
    ) -> BranchInfo:
        """Change a branch, and return it as it is then.

        Args:
            branch_id: which one.
            name: its new name; by default, the one it has.
            expires_at: its new expiry, None for none; by default, the one it has.

        Raises:
            BranchExists: where another branch has the name.
        """
        change: dict[str, Any] = {} if name is None else {"name": name}
        if not isinstance(expires_at, Unset):
            change["expires_at"] = None if expires_at is None else second(expires_at)
        return self._update(branch_id, change, self._transport.deadline())

    def delete_branch(self, branch_id: str) -> None:
        """Delete a branch, or find that it is gone; that Neon clears up after it is not waited for."""
        deadline = self._transport.deadline()
        ask = Ask("DELETE", _path(branch_id), f"delete the branch {branch_id}")
        was_lost = False

        def attempt() -> None:
            nonlocal was_lost
            try:
                self._transport.once(ask, deadline)
            except TryAgain as failure:
                was_lost = was_lost or failure.lost
                raise
            except NeonError as error:
                if not (was_lost and error.status == HTTPStatus.NOT_FOUND):
                    raise

        self._transport.repeated(attempt, deadline)

    def restore_branch(self, branch_id: str, source_id: str) -> None:
        """Make a branch what another one is now; its endpoints and their addresses stay."""
        what = f"restore the branch {branch_id} from {source_id}"
        _path(source_id)
        ask = Ask("POST", f"{_path(branch_id)}/restore", what, body={"source_branch_id": source_id})
        self._change(ask, self._transport.deadline())

    def connection_uri(self, branch_id: str, *, database: str, role: str, pooled: bool = False) -> SecretStr:
        """Where to connect, the password included."""
        _path(branch_id)
        params = {"branch_id": branch_id, "database_name": database, "role_name": role}
        params |= {"pooled": "true"} if pooled else {}
        what = f"tell the connection URI of {database!r} for {role!r} on the branch {branch_id}"
        return SecretStr(required(self._ask(Ask("GET", "/connection_uri", what, params)), "uri", str, "answer"))

    def named(self, name: str, deadline: Deadline) -> list[BranchInfo]:
        """The branch of exactly this name; a list of none where there is none."""
        return [branch for branch in self._branches(name, deadline) if branch.name == name]

    def endpoints_of(self, branch_id: str, deadline: Deadline) -> list[EndpointInfo]:
        """The endpoints of a branch, as a part of a longer call."""
        ask = Ask("GET", f"{_path(branch_id)}/endpoints", f"list the endpoints of the branch {branch_id}")
        return [EndpointInfo.of(one) for one in objects(self._transport.ask(ask, deadline), "endpoints")]

    def _ask(self, ask: Ask) -> dict[str, Any]:
        return self._transport.ask(ask, self._transport.deadline())

    def _change(self, ask: Ask, deadline: Deadline) -> None:
        raw = self._transport.ask(ask, deadline)
        wait_for(self._transport, ask.what, objects(raw, "operations"), deadline)

    def _update(self, branch_id: str, change: dict[str, Any], deadline: Deadline) -> BranchInfo:
        if change:
            ask = Ask("PATCH", _path(branch_id), f"change the branch {branch_id}", body={"branch": change})
            try:
                self._change(ask, deadline)
            except BranchExists:
                # After a lost answer the name may be its own already; nothing else of this try was done then.
                if self._branch(branch_id, deadline).name != change.get("name"):
                    raise
                others = {key: value for key, value in change.items() if key != "name"}
                return self._update(branch_id, others, deadline)
        # The answer to a change has no annotation, and its state is the one before the operations.
        return self._branch(branch_id, deadline)

    def _branch(self, branch_id: str, deadline: Deadline) -> BranchInfo:
        raw = self._transport.ask(Ask("GET", _path(branch_id), f"tell about the branch {branch_id}"), deadline)
        return BranchInfo.of(required(raw, "branch", dict, "answer"), annotation_of(raw.get("annotation")))

    def _branches(self, search: str | None, deadline: Deadline) -> list[BranchInfo]:
        # In the order of their making, so that a branch that is changed meanwhile is neither missed nor met twice.
        params = {"limit": str(_PAGE), "sort_by": "created_at", "sort_order": "asc"}
        params |= {"search": search} if search else {}
        found: dict[str, BranchInfo] = {}
        while True:
            raw = self._transport.ask(Ask("GET", "/branches", "list the branches", params), deadline)
            page, known = objects(raw, "branches"), len(found)
            notes = raw.get("annotations")
            found |= {one.id: one for one in (_listed(each, notes) for each in page)}
            pages = raw.get("pagination")
            following = pages.get("next") if isinstance(pages, dict) else None
            # There is always a next page, even after the last; and nothing new on it is no page to go on from.
            if len(page) < _PAGE or len(found) == known or not isinstance(following, str) or not following:
                return list(found.values())
            params = {**params, "cursor": following}


def _listed(raw: Mapping[str, Any], annotations: object) -> BranchInfo:
    notes = annotations if isinstance(annotations, dict) else {}
    return BranchInfo.of(raw, annotation_of(notes.get(required(raw, "id", str, "branch"))))


def _path(branch_id: str) -> str:
    """The path of a branch; a text that is no id must not lead elsewhere.

    Raises:
        InvalidValue: for such a text.
    """
    if not is_id(branch_id):
        raise InvalidValue(f"{branch_id!r} is no id of a branch of Neon's, such as br-noisy-breeze-a5e59rrb.")
    return f"/branches/{branch_id}"
