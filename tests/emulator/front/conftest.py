"""One server for all tests of the front, and a front of each test's own before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.emulator.front.fronts import House, running

import local_postgres
from neon_emulator.front import certificate, scram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local_postgres import Address
    from neon_emulator.front.certificate import Certificate


@pytest.fixture(scope="session")
def address() -> Iterator[Address]:
    """A server with a role `app` whose password is `secret`, and with `keyless`, which has none."""
    with local_postgres.lease(local_postgres.throwaway_folder(), throwaway=True, settings=_SETTINGS) as lease:
        with psycopg.connect(lease.cluster.address.conninfo(), autocommit=True) as admin:
            verifier = scram.build_verifier("secret")
            admin.execute(f"CREATE ROLE app LOGIN REPLICATION PASSWORD '{verifier}'".encode())
            admin.execute("CREATE ROLE keyless LOGIN")
        yield lease.cluster.address


@pytest.fixture(scope="session")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for all fronts."""
    return certificate.load_or_make(tmp_path_factory.mktemp("front") / "certificate.pem")


@pytest.fixture
def admin(address: Address) -> Iterator[psycopg.Connection[Any]]:
    """A superuser's session beside the front."""
    with psycopg.connect(address.conninfo(), autocommit=True) as admin:
        yield admin


@pytest.fixture
def house(address: Address, certified: Certificate) -> Iterator[House]:
    """A front before the server."""
    with running(address, certified) as house:
        yield house


@pytest.fixture
def own_house(address: Address, certified: Certificate) -> Iterator[Callable[..., House]]:
    """Run a front with settings of the test's own, or before another server."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda to=address, **settings: stack.enter_context(running(to, certified, **settings))


@pytest.fixture
def other_cluster(tmp_path: Path) -> Iterator[local_postgres.Cluster]:
    """A server of the test's own, to be stopped and killed, which has the same role."""
    cluster = local_postgres.Cluster(local_postgres.throwaway_folder() / "pg", throwaway=True)
    cluster.start()
    with psycopg.connect(cluster.address.conninfo(), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE app LOGIN PASSWORD '{scram.build_verifier('secret')}'".encode())
        admin.execute("CHECKPOINT")  # a throwaway server that is killed may forget what came after
    yield cluster
    cluster.stop(timeout=0)
    local_postgres.folders.remove_tree(cluster.home.parent)


_SETTINGS = {"max_connections": "200", "wal_level": "replica", "max_wal_senders": "4"}
