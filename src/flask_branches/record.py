"""The mark, kept with a database, that says it is a branch made for tests: by whom, from what, until when."""

from __future__ import annotations

import getpass
import json
import socket
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from flask_branches.branch import Branch, moment, now, written

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

RUN = "run"
"""The label of a branch that lives no longer than a test run, or than the process that made it for itself."""
EMPTIED = "data"
"""The label of a branch that began without its parent's rows; its value is ``"empty"``."""
PLACE = "place"
"""The label that says where the locks of the process hold that has made a branch; without it, everybody sees them."""

_FORMAT = "flask_branches"
_VERSION = 1


@dataclass(frozen=True)
class Record:
    """What a branch's mark says."""

    name: str
    parent: str | None
    main: str | None
    """The database that it belongs to, or the branch of Neon that it was copied from; None for one that was adopted."""
    identity: str
    """What the backend told it by when it was marked: a mark that was copied to another database proves nothing."""
    created_at: datetime
    expires_at: datetime | None
    created_by: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def dumps(self) -> str:
        """The mark as JSON."""
        values = asdict(self) | {"created_at": written(self.created_at), "expires_at": written(self.expires_at)}
        return json.dumps({_FORMAT: _VERSION, **values}, ensure_ascii=True, sort_keys=True)

    def branch(self, identity: str, url: str, backend: str) -> Branch:
        """The branch that it is the mark of, which a backend knows by an id and reaches by a URL."""
        return Branch(
            id=identity,
            name=self.name,
            parent=self.parent,
            url=url,
            created_at=self.created_at,
            expires_at=self.expires_at,
            backend=backend,
            labels=self.labels,
        )

    def updated(self, expires_at: datetime | None, labels: Mapping[str, str] | None) -> Record:
        """The same with another expiry, and with other labels where some are given."""
        return replace(self, expires_at=expires_at, labels=self.labels if labels is None else dict(labels))


def made(name: str, *, parent: str | None, main: str | None, expires_at: datetime | None, **labels: str) -> Record:
    """The record of a database that is being made or adopted now; its identity is the backend's to add."""
    return Record(name, parent, main, "", now(), expires_at, _author(), labels)


def loads(text: str | None) -> Record | None:
    """A mark as it was written; None for every other text, which a database's comment or a file may hold."""
    try:
        values: Any = json.loads(text or "")
    except ValueError:
        return None
    if not isinstance(values, dict) or values.pop(_FORMAT, None) != _VERSION:
        return None
    try:
        for key in ("created_at", "expires_at"):
            values[key] = None if key == "expires_at" and values[key] is None else moment(values[key], key)
        found = Record(**values)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return found if isinstance(found.name, str) and isinstance(found.labels, dict) else None


def _author() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a number without an account, as containers have it
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
