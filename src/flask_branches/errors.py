"""What can go wrong.

::

    BranchesError
    ├── NoServer           a Postgres of the application's own was asked for, and none can be had here
    ├── ConfigurationError a setting of the application or of the environment that cannot be used
    ├── InvalidValue       a name, a duration, a point in time that cannot be used (also a ValueError)
    ├── NotSupported       what this backend cannot do, and which one can
    ├── BranchNotFound     no branch has this name
    ├── BranchExists       another branch has this name
    ├── DatabaseInUse      somebody is connected to what would have to stand still
    ├── DatabaseFailed     the server or the file system refused: out of reach, no rights, full
    ├── MaskFailed         a mask could not be run; the branch is deleted
    ├── MigrationFailed    the migrations could not be run on a branch
    ├── NeonError          Neon's API refused, could not be understood, or did not answer
    ├── Refused            the guard: what must never be tested on
    └── IsolationError     what one test did cannot be kept from the next by rolling back
"""

from __future__ import annotations

from flask.cli import NoAppException


class BranchesError(Exception):
    """The root of this package's errors."""


class NoServer(BranchesError):
    """A Postgres of the application's own was asked for, and none can be had here."""


class ConfigurationError(BranchesError, NoAppException):
    """A setting of the application or of the environment that cannot be used.

    Flask's own "this application cannot be made" error too: a factory that meets it ends a ``flask`` command with the
    message, not with a traceback.
    """


class InvalidValue(BranchesError, ValueError):
    """A name, a duration or a point in time that cannot be used."""


class NotSupported(BranchesError):
    """What this backend cannot do; the message says which one can."""


class BranchNotFound(BranchesError):
    """No branch has this name."""


class BranchExists(BranchesError):
    """Another branch has this name."""


class DatabaseInUse(BranchesError):
    """Somebody is connected to a database that would have to stand still."""


class DatabaseFailed(BranchesError):
    """The server or the file system refused: out of reach, no rights, full."""


class MaskFailed(BranchesError):
    """A mask could not be run; the branch that it was for is deleted."""


class MigrationFailed(BranchesError):
    """The migrations could not be run on a branch."""


class NeonError(BranchesError):
    """Neon's API refused, could not be understood, or did not answer.

    Attributes:
        status: the answer's HTTP status; None where there was no answer.
        code: what Neon calls the error, such as ``BRANCHES_LIMIT_EXCEEDED``; very often empty.
        request_id: what the request is known by to Neon's support.
    """

    def __init__(
        self, message: str, *, status: int | None = None, code: str = "", request_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id


class Refused(BranchesError):
    """The guard's answer to what must never be tested on."""


class IsolationError(BranchesError):
    """What one test did cannot be kept from the next by rolling back."""
