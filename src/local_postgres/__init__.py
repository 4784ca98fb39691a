"""One Postgres cluster on this machine: find the binaries, initdb, start, stop; as root or as an ordinary user."""

from __future__ import annotations

from local_postgres.account import Account
from local_postgres.address import Address
from local_postgres.binaries import Binaries, find_binaries
from local_postgres.cluster import Cluster
from local_postgres.errors import (
    AccountError,
    BinariesError,
    FolderError,
    KeeperError,
    LocalPostgresError,
    PlatformError,
    ServerError,
    SettingsError,
)
from local_postgres.lease import Lease, lease
from local_postgres.throwaway import throwaway_folder

__all__ = [
    "Account",
    "AccountError",
    "Address",
    "Binaries",
    "BinariesError",
    "Cluster",
    "FolderError",
    "KeeperError",
    "Lease",
    "LocalPostgresError",
    "PlatformError",
    "ServerError",
    "SettingsError",
    "find_binaries",
    "lease",
    "throwaway_folder",
]
