"""What can go wrong.

::

    LocalPostgresError
    ├── PlatformError    this operating system lacks what the package is built on
    ├── BinariesError    no Postgres that can be used here
    ├── AccountError     no account that may run the server
    ├── FolderError      a folder or a file in it cannot be used for a cluster
    ├── SettingsError    a server setting that this package cannot pass on
    ├── ServerError      initdb, start or stop failed; its text ends with the server's own words
    └── KeeperError      the process that stops the server after its last user could not be started
"""

from __future__ import annotations


class LocalPostgresError(Exception):
    """The root of this package's errors; each text names the value and the remedy."""


class PlatformError(LocalPostgresError):
    """This operating system lacks what the package is built on."""


class BinariesError(LocalPostgresError):
    """No Postgres that can be used here."""


class AccountError(LocalPostgresError):
    """No account that may run the server."""


class FolderError(LocalPostgresError):
    """A folder or a file in it cannot be used for a cluster."""


class SettingsError(LocalPostgresError):
    """A server setting that this package cannot pass on."""


class ServerError(LocalPostgresError):
    """The server, or the making of its data, failed; the text ends with the server's own words."""


class KeeperError(LocalPostgresError):
    """The process that stops the server after its last user could not be started."""
