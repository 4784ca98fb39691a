"""Settings of a server: those that are passed to it, and those that nobody may change."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from local_postgres.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PORT = "5432"
_OURS = ("config_file", "data_directory", "external_pid_file", "unix_socket_directories", "unix_socket_permissions")

# Its shared memory as files in its folder, deleted with it; only the 56 bytes of System V memory, by which Postgres
# tells whether a server runs, outlive one that was killed.
THROWAWAY = {
    "dynamic_shared_memory_type": "mmap",
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "256MB",
    "shared_buffers": "32MB",
    "synchronous_commit": "off",
}


def checked(settings: Mapping[str, str]) -> dict[str, str]:
    """A copy of a caller's settings, with a port.

    Raises:
        SettingsError: for a name that no setting can have, one that is not the caller's, or a port that is none.
    """
    for name, value in settings.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.$]*", name) or "\0" in value:
            raise SettingsError(f"The server setting {name!r} has an impossible name or value: correct it.")
        if name.lower() in _OURS:
            raise SettingsError(f"{name} cannot be set, since clients rely on where the cluster lies: leave it out.")
    result = {"port": _PORT} | {name.lower(): value for name, value in settings.items()}
    if not re.fullmatch(r"[0-9]{1,5}", result["port"]):
        raise SettingsError(f"The server setting port is {result['port']!r}: name a number from 1 to 65535.")
    return result
