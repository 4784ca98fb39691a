"""A branch's record as Neon keeps it: the annotation that it was made with, which nothing can change later."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from flask_branches.branch import moment, written
from flask_branches.errors import InvalidValue
from flask_branches.record import PLACE, RUN, Record

if TYPE_CHECKING:
    from flask_branches.neon_client import BranchInfo

KEPT = "kept-"
"""What the name of a run's branch begins with once it is to outlive the run."""
HALF_BUILT = "flask-branches-"
"""What the name of a branch begins with until it is complete."""
_FORMAT, _VERSION = "flask_branches", "1"
_LABEL = "label."
# A record tells when a branch was asked for, the API when it was made; the two clocks may differ a little.
_AGES_AGREE = timedelta(minutes=10)


def annotation(record: Record) -> dict[str, str]:
    """A record as an annotation, whose values are strings."""
    return {
        _FORMAT: _VERSION,
        "name": record.name,
        "parent": record.parent or "",
        "created_at": written(record.created_at) or "",
        "created_by": record.created_by,
        **{f"{_LABEL}{key}": value for key, value in record.labels.items()},
    }


def record_of(branch: BranchInfo) -> Record | None:
    """The record of a branch; None unless its annotation is ours and says its name.

    A branch that somebody has given another name is his from then on; one that is kept has lost its run.
    """
    found = branch.annotation
    if found.get(_FORMAT) != _VERSION:
        return None
    name = found.get("name", "")
    labels = {key.removeprefix(_LABEL): value for key, value in found.items() if key.startswith(_LABEL)}
    if branch.name == kept_name(name):
        labels.pop(RUN, None)
    elif branch.name != name and not is_half_built(branch):
        return None
    return Record(
        branch.name,
        found.get("parent") or None,
        branch.parent_id if ages_agree(branch) else None,
        branch.id,
        branch.created_at,
        branch.expires_at,
        found.get("created_by", ""),
        labels,
    )


def kept_name(name: str) -> str:
    """What a run's branch is called once it is to outlive the run."""
    return f"{KEPT}{name}"


def is_half_built(branch: BranchInfo) -> bool:
    """Whether a branch is ours and has not got its name yet."""
    ours = branch.name.startswith(HALF_BUILT) and branch.annotation.get(_FORMAT) == _VERSION
    return ours and branch.annotation.get("name") != branch.name


def place_of(branch: BranchInfo) -> str | None:
    """Where the locks of the process hold that has made a branch."""
    return branch.annotation.get(f"{_LABEL}{PLACE}")


def ages_agree(branch: BranchInfo) -> bool:
    """Whether a branch is as old as its record says; one that is not is never taken for ours to prune."""
    try:
        asked = moment(branch.annotation.get("created_at", ""), "created_at")
    except InvalidValue:
        return False
    return abs(asked - branch.created_at) <= _AGES_AGREE
