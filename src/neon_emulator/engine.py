"""What the API asks of whoever keeps the clusters and the endpoints' front: the words that both sides speak.

The API process knows Neon's rules and nothing of Postgres's files; the supervisor knows clusters and ports, and nothing
of Neon's rules. All times here are the machine's own, in UTC: the API's clock, which can be moved, is its own business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - `wire` reads these types at run time
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - `wire` reads this type at run time
from typing import TYPE_CHECKING, Protocol

import psycopg

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_LOST = ("08", "57P")  # connection exceptions, and the server's being stopped or started


@dataclass(frozen=True)
class Point:
    """A point in a cluster's past: either a position in its write-ahead log, such as `0/1DE2850`, or a time in UTC."""

    lsn: str | None = None
    time: datetime | None = None


@dataclass(frozen=True)
class CatalogRole:
    """A role as Postgres has it."""

    name: str
    login: bool


@dataclass(frozen=True)
class CatalogDatabase:
    """A database as Postgres has it; `id` is its OID."""

    id: int
    name: str
    owner: str


@dataclass(frozen=True)
class Catalog:
    """A cluster's roles and databases, without those that belong to Postgres and to the emulator; `size` in bytes."""

    roles: tuple[CatalogRole, ...]
    databases: tuple[CatalogDatabase, ...]
    size: int


@dataclass(frozen=True)
class Made:
    """A cluster that is complete on the disk: its id, and the point of its source that it begins with."""

    cluster: str
    lsn: str
    time: datetime
    catalog: Catalog


@dataclass(frozen=True)
class Window:
    """The past that a cluster can be copied at; `end` is its present."""

    start_lsn: str
    start_time: datetime
    end_lsn: str
    end_time: datetime


@dataclass(frozen=True)
class KnownCluster:
    """A cluster that the API has on record; `history` is whether its past is kept."""

    id: str
    history: bool


@dataclass(frozen=True)
class EndpointSpec:
    """An endpoint as it should be.

    `port` is None until one was found; `suspend_after` is in seconds, None for never.
    """

    id: str
    cluster: str
    port: int | None = None
    read_only: bool = False
    disabled: bool = False
    suspend_after: float | None = None


@dataclass(frozen=True)
class EndpointStatus:
    """What an endpoint is doing: `active`, or `idle`."""

    state: str
    last_active: datetime | None = None
    started_at: datetime | None = None
    suspended_at: datetime | None = None


class EngineError(Exception):
    """The root of what the engine answers with in place of a result."""


class ClusterMissing(EngineError):
    """There is no cluster, or no endpoint, of that id."""


class ClusterFailed(EngineError):
    """Postgres, or the making of a copy, failed; the text ends with the server's own words."""


class ServerLost(ClusterFailed):
    """A cluster's server ended while it was asked; another try starts it again."""


class ClusterBusy(EngineError):
    """A client's transaction is in the way; the text says in what, and the remedy."""


class OutsideWindow(EngineError):
    """The point lies outside of what is kept; `window` says what is."""

    def __init__(self, message: str, window: Window) -> None:
        """Keep the window beside the text."""
        super().__init__(message)
        self.window = window


class NoHistory(EngineError):
    """The cluster's past is not kept, as that of a branch which is no root."""


class EngineGone(EngineError):
    """The supervisor ended before it had answered; whether the work was done is not known."""


def is_lost(error: Exception) -> bool:
    """Whether whoever was asked has ended instead of answering, so that another try, which meets the next, makes sense.

    Args:
        error: the engine's, or Postgres's own from a session.
    """
    if isinstance(error, psycopg.OperationalError):
        return error.sqlstate is None or error.sqlstate.startswith(_LOST)
    return isinstance(error, (EngineGone, ServerLost))


class Engine(Protocol):
    """What the API asks; every method returns when the work is done. Safe to be called by several threads."""

    def adopt(self, clusters: Sequence[KnownCluster], endpoints: Sequence[EndpointSpec]) -> None:
        """Take over what is on record, once, before anything else; every other cluster's folder is deleted."""

    def new_cluster(self, *, owner: str, verifier: str, database: str) -> Made:
        """Make a cluster with an owner role and its database; its past is kept from now on.

        `verifier` is the owner's password as SCRAM keeps it (`front.scram.build_verifier`), never the password.
        """

    def branch_cluster(
        self, source: str, *, at: Point | None = None, verifiers: Mapping[str, str] | None = None, history: bool = False
    ) -> Made:
        """Copy a cluster that may be running and busy, at its head or at a past point.

        Args:
            source: the cluster.
            at: a point of its past; None for the head.
            verifiers: passwords, as SCRAM keeps them, that roles have in the copy; roles that it lacks are left out.
            history: whether the copy's past is kept from now on.

        Raises:
            OutsideWindow: for a point before or after what is kept.
            NoHistory: for a point where none is.
        """

    def schema_cluster(self, source: str, *, at: Point | None = None) -> Made:
        """Make a cluster with the roles, passwords, databases and schemas of another, without rows; past kept."""

    def delete_cluster(self, cluster: str) -> None:
        """Stop a cluster and delete its folder; without effect where there is none."""

    def prune_history(self, cluster: str, before: datetime) -> None:
        """Let go of a cluster's past before a time."""

    def window(self, cluster: str) -> Window:
        """The past that is kept.

        Raises:
            NoHistory: where none is.
        """

    def catalog(self, cluster: str) -> Catalog:
        """A cluster's roles and databases; a stopped one is not started for it."""

    def dump_schema(self, cluster: str, database: str) -> str:
        """The schema of a database, as pg_dump writes it."""

    def session(
        self, cluster: str, database: str = "postgres"
    ) -> AbstractContextManager[psycopg.Connection[tuple[object, ...]]]:
        """A superuser's session (autocommit) in a cluster that runs for as long as the block."""

    def open_endpoint(self, spec: EndpointSpec) -> int:
        """Listen for an endpoint, which is idle; return the port, a free one below 32768 where the spec names none."""

    def update_endpoint(self, spec: EndpointSpec) -> None:
        """Change an endpoint's settings, or move it to another cluster: then its sessions end with 57P01."""

    def close_endpoint(self, endpoint: str) -> None:
        """End an endpoint's sessions and stop listening; without effect where there is none."""

    def start_endpoint(self, endpoint: str) -> None:
        """Wake an endpoint."""

    def suspend_endpoint(self, endpoint: str) -> None:
        """End an endpoint's sessions with 57P01 and stop its cluster where nothing else needs it."""

    def endpoints(self) -> dict[str, EndpointStatus]:
        """What every endpoint is doing."""

    def set_clock(self, offset: float) -> None:
        """Seconds that the API's clock is ahead of the machine's; endpoints idle for too long are suspended."""
