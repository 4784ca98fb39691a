"""What the API refuses, in the words of the domain.

::

    Refusal                     the root; its text is fit for the client, `code` is Neon's name for it, often empty
    ├── InvalidRequest          the request's form: a missing field, a wrong type, a value out of range
    ├── NotAuthenticated        no key, or another one
    ├── ForeignHost             the request was meant for another host
    ├── NotFound                nothing has this id or name
    ├── AlreadyExists           the name is taken
    ├── PreconditionFailed      the project or its plan is not set up for this
    ├── NotAllowed              a rule of Neon's, or a limit of the emulator, is against it
    │   └── LimitExceeded       the plan allows no more of them
    ├── Busy                    another operation is under way
    └── NotEmulated             the emulator has no such operation
"""

from __future__ import annotations

BUSY = "project already has running conflicting operations, scheduling of new ones is prohibited"


class Refusal(Exception):
    """The root of what the API refuses.

    Args:
        message: what is wrong, for the client.
        code: Neon's short name for it; very often it has none.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class InvalidRequest(Refusal):
    """The form of the request is wrong: a missing field, a wrong type, a value out of range."""


class NotAuthenticated(Refusal):
    """No key, or another one."""


class ForeignHost(Refusal):
    """The request was meant for another host."""


class NotFound(Refusal):
    """Nothing has this id or name."""


class AlreadyExists(Refusal):
    """The name is taken."""


class PreconditionFailed(Refusal):
    """The project or its plan is not set up for this."""


class NotAllowed(Refusal):
    """A rule of Neon's, or a limit of the emulator, is against it."""


class LimitExceeded(NotAllowed):
    """The plan allows no more of them."""


class Busy(Refusal):
    """Another operation is under way; the same request will do later."""

    def __init__(self, message: str = BUSY) -> None:
        super().__init__(message)


class NotEmulated(Refusal):
    """The emulator has no such operation."""
