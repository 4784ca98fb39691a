"""The settings of a cluster's server, all given on its command line: nothing that a copy inherits in files matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SEGMENT = 4 << 20
"""Bytes in a file of the write-ahead log; Postgres's own choice, 16 MB, would be half of a small copy."""

# What survives is what the kernel has: a SIGKILL loses nothing of it, but can leave half of an 8 kB page.
_DURABILITY = {"fsync": "off", "full_page_writes": "on", "synchronous_commit": "on"}

# Files of the log are removed and not used again under another name, so that a reader never sees one change its past.
_LOG = {
    "max_replication_slots": "40",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "min_wal_size": "8MB",
    "wal_init_zero": "off",
    "wal_level": "replica",
    "wal_recycle": "off",
}

_SIZE = {
    "dynamic_shared_memory_type": "mmap",
    "huge_pages": "off",
    "jit": "off",
    "max_connections": "104",
    "shared_buffers": "16MB",
    "superuser_reserved_connections": "7",
}

# No statement of a client, and no detail of an error, which can quote one, comes into the server's messages.
_MESSAGES = {
    "log_checkpoints": "off",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_statement": "none",
    "log_timezone": "UTC",
    "logging_collector": "off",
}

_BEHAVIOUR = {
    "autovacuum": "on",
    "hot_standby": "off",
    "listen_addresses": "",
    "password_encryption": "scram-sha-256",
    "timezone": "GMT",
    "unix_socket_permissions": "0700",
}

# The server runs it in its data folder.
_ARCHIVE = "cp %p ../history/wal/.%f.new && mv -f ../history/wal/.%f.new ../history/wal/%f"
_ARCHIVING = {"archive_mode": "on", "archive_command": _ARCHIVE}
_IO_METHOD = 18


def options(
    version: int, sockets: Path, number: int, *, archiving: bool, extra: Mapping[str, str] | None = None
) -> list[str]:
    """A server's command line.

    Args:
        version: Postgres's major version.
        sockets: the folder of the socket.
        number: the socket's number, which Postgres calls the port.
        archiving: whether the write-ahead log goes into the cluster's history.
        extra: settings of this one start.
    """
    # Quoted, since it is a list: a comma in a path would end it.
    own = {"port": str(number), "unix_socket_directories": '"' + str(sockets).replace('"', '""') + '"'}
    settings = _DURABILITY | _LOG | _SIZE | _MESSAGES | _BEHAVIOUR | (_ARCHIVING if archiving else {})
    settings |= ({"io_method": "sync"} if version >= _IO_METHOD else {}) | own | dict(extra or {})
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
