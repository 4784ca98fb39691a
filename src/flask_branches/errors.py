"""What can go wrong.

::

    BranchesError
    └── NoServer     a Postgres of the application's own was asked for, and none can be had here
"""

from __future__ import annotations


class BranchesError(Exception):
    """The root of this package's errors."""


class NoServer(BranchesError):
    """A Postgres of the application's own was asked for, and none can be had here."""
