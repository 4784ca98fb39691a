"""Where a cluster's server is reached, and how a client is kept from being led elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

SUPERUSER = "postgres"

# What libpq would else take from the environment or a service file, and be led to another server or refused by ours:
# PGHOSTADDR goes before a host that is named. An empty value counts as given.
_PINNED = {
    "channel_binding": "prefer",
    "gssencmode": "disable",
    "hostaddr": "",
    "options": "",
    "require_auth": "",
    "requirepeer": "",
    "target_session_attrs": "any",
}


@dataclass(frozen=True)
class Address:
    """Where a cluster's server is reached: a socket folder, a port, and the superuser, who needs no password there."""

    host: str
    port: int
    user: str = SUPERUSER

    def parameters(self, database: str = SUPERUSER) -> dict[str, str | int]:
        """The keywords of a database's connection, which no `PG…` variable of the caller's leads elsewhere."""
        return {**_PINNED, "host": self.host, "port": self.port, "user": self.user, "dbname": database}

    def conninfo(self, database: str = SUPERUSER) -> str:
        """The same as a connection string, as libpq reads it."""
        values = self.parameters(database)
        return " ".join(f"{key}='{_escaped(str(value))}'" for key, value in values.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")
