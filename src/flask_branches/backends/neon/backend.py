"""Neon's branches under the protocol of the other backends."""

from __future__ import annotations

import secrets
import threading
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from flask_branches import here, neon_address, urls
from flask_branches.backends import ByBlock
from flask_branches.backends import postgres_clone as clone
from flask_branches.backends import postgres_server as server
from flask_branches.backends.neon import listing, making, marks, waking
from flask_branches.backends.neon import project as projects
from flask_branches.branch import MAIN, Branch, now
from flask_branches.errors import BranchNotFound, ConfigurationError, NeonError, NotSupported, Refused
from flask_branches.neon_client import NeonClient
from flask_branches.record import PLACE, RUN, Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime

    from flask_branches.backends import Prepare
    from flask_branches.backends.neon.project import Project
    from flask_branches.branch import PointInTime
    from flask_branches.neon_client import CreatedBranch
    from flask_branches.neon_settings import NeonSettings

_LONGEST_NAME = 256


class Neon(ByBlock):
    """Branches of a database that is on one of Neon's branches.

    Args:
        main: its URL.
        settings: how Neon is asked.
        connect_args: what the application passes to its driver beside the URL.
    """

    name = listing.NAME
    longest_name = _LONGEST_NAME - len(marks.KEPT)

    def __init__(self, main: sa.URL, settings: NeonSettings, connect_args: Mapping[str, Any] | None = None) -> None:
        """Take note; nothing is asked."""
        if not main.username:
            raise ConfigurationError("The database URL names no role, and Neon has passwords by role: write it there.")
        self.main = main.set(database=urls.database(main))
        self.client = NeonClient(settings.access)
        self.project_id = settings.access.project_id
        self._patience = settings.access.patience.total_seconds()
        self._connect_args = dict(connect_args or {})
        self._main_id: str | None = None
        self.passwords = {self.main.username: self.main.password}
        """By role, on main's branch."""
        self.in_making = threading.local()
        """Its ``branch`` is the one that this thread is making, which may have another name until it is complete."""

    @property
    def place(self) -> str:
        """Where its locks hold: on this machine."""
        return here.place()

    def main_id(self, project: Project | None = None) -> str:
        """The id of the branch that main is on; asked for once."""
        if self._main_id is None:
            endpoints = self.client.endpoints() if project is None else list(project.endpoints)
            self._main_id = projects.main_of(endpoints, self.main, self.project_id)
        return self._main_id

    @contextmanager
    def creating(
        self, record: Record, *, at: PointInTime | None = None, prepare: Prepare | None = None, force: bool = False
    ) -> Iterator[Branch]:
        """One branch holds all databases: where something is done to it, it has its name when the block has ended."""
        making.check(record, at)
        parent_id, parent = self._parent(record.parent)
        record = replace(record, parent=parent, labels={**record.labels, PLACE: self.place})
        bare = making.is_without_rows(record)
        hidden = bare or prepare is not None
        if RUN in record.labels and record.expires_at is None:
            record = replace(record, expires_at=making.latest())
        ends_sooner = hidden or record.expires_at is None
        if hidden:
            self._require_free(record.name)
        half_built = making.half_built(self.project_id) if hidden else nullcontext(record.name)
        with making.taken(record.name), half_built as name:
            made = self.client.create_branch(
                name,
                parent_id=parent_id,
                at=at,
                schema_only=bare,
                expires_at=making.sooner(record.expires_at) if ends_sooner else record.expires_at,
                annotation=marks.annotation(record),
            )
            with making.undone(self.client, made.branch.id):
                url = self._url_of(made)
                waking.await_answer(url, self._connect_args, self._patience)
                record = replace(record, created_at=made.branch.created_at)
                branch = record.branch(made.branch.id, urls.plain(url), self.name)
                self.in_making.branch = branch
                self._fill(url, record, prepare)
                yield branch
                if ends_sooner:
                    new = record.name if hidden else None
                    self.client.update_branch(branch.id, name=new, expires_at=record.expires_at)

    def branches(self) -> list[Branch]:
        """Every other branch of the project, oldest first; see :func:`listing.listed` for their passwords."""
        found = projects.look(self.client)
        return listing.listed(found, self.main, self.main_id(found))

    def get(self, name: str) -> Branch:
        """The branch of that name, or id."""
        found = projects.look(self.client)
        main_id = self.main_id(found)
        wanted = projects.named(listing.others(found.branches, main_id), name, listing.name_of)
        branch = next(each for each in listing.listed(found, self.main, main_id) if each.id == wanted.id)
        if not branch.url:
            raise BranchNotFound(f"The branch {name!r} has no compute to connect to: add one, or make another branch.")
        password = self._password(branch.id, self.main)
        return replace(branch, url=urls.plain(sa.make_url(branch.url).set(password=password)))

    def delete(self, branch: Branch) -> None:
        """Delete it, and end its sessions."""
        self.client.delete_branch(branch.id)

    @contextmanager
    def resetting(self, branch: Branch, *, prepare: Prepare | None = None, force: bool = False) -> Iterator[None]:
        """Give a branch its parent's present data, by Neon's own restore."""
        if prepare is not None:
            raise NotSupported(
                f"The branch {branch.name!r} cannot be reset on Neon, where its parent's rows would be seen until they "
                "are masked or emptied: delete it, and make another."
            )
        found = projects.named(tuple(self.client.branches()), branch.id)
        if found.is_default or found.is_protected:
            raise Refused(f"{found.name!r} is the project's default branch, or protected, and is not changed here.")
        if found.parent_id is None:
            raise NotSupported(
                f"The branch {found.name!r} is a root on Neon, with no parent to be reset to: make another."
            )
        url = sa.make_url(branch.url)
        self._require_idle(url, branch.name, force=force)
        yield
        self.client.restore_branch(found.id, found.parent_id)
        if found.expires_at is not None and found.expires_at > now():  # Neon begins its life anew
            self.client.update_branch(found.id, expires_at=found.expires_at)
        waking.await_answer(url, self._connect_args, self._patience)

    def update(self, branch: Branch, expires_at: datetime | None, labels: Mapping[str, str] | None = None) -> Branch:
        """Give it another expiry; of its labels the run's alone can be taken away, which is told by its name.

        Neon's annotations are written when a branch is made, and never again.
        """
        making.check_expiry(expires_at)
        name, kept = branch.name, dict(branch.labels)
        if labels is not None and RUN in branch.labels and RUN not in labels:
            name = marks.kept_name(name)
            del kept[RUN]
        self.client.update_branch(branch.id, name=None if name == branch.name else name, expires_at=expires_at)
        return replace(branch, name=name, expires_at=expires_at, labels=kept)

    def vouch(self, url: sa.URL) -> Record | None:
        """The record of the branch that a URL leads to; where it has none, what the API says of it.

        Raises:
            Refused: for the default branch, a protected one, and what is none of the project's.
        """
        found = projects.look(self.client)
        branch = projects.require_branch(found, url, self.project_id)
        parent = listing.parent_name(found, branch, self._main_id or "")
        known = Record(branch.name, parent, None, branch.id, branch.created_at, branch.expires_at, "Neon's API")
        return marks.record_of(branch) or known

    def is_main(self, url: sa.URL) -> bool:
        """Whether a URL leads to main's branch, to whatever database of it, by whatever name."""
        if urls.backend_of(url) != "postgres":
            return False
        if urls.key(url) == urls.key(self.main):
            return True
        found = projects.look(self.client)
        branch = found.branch_of(url)
        return branch is not None and branch.id == self.main_id(found)

    def adopt(self, url: sa.URL, record: Record) -> None:
        """Never needed: the API tells what may be tested on."""
        raise NotSupported("Neon itself says which of its databases are branches: none has to be adopted.")

    def state(self, parent: str) -> str:
        """Never twice the same: a parent is not asked."""
        return secrets.token_hex(8)

    def sweep(self, *, dry_run: bool) -> list[str]:
        """Branches of creations that died on this machine; those of other machines expire within the hour."""
        there = self.client.branches()
        left = [each for each in there if marks.is_half_built(each) and making.is_dead(each, self.project_id)]
        if not dry_run:
            for each in left:
                self.client.delete_branch(each.id)
        return [each.name for each in left]

    def locked(self, what: str) -> AbstractContextManager[None]:
        """Hold a lock of this machine's: Neon has none."""
        return here.locked(f"{self.project_id} {what}")

    def is_held(self, what: str) -> bool:
        """Whether a process of this machine holds that lock."""
        return here.is_held(f"{self.project_id} {what}")

    def located(self, branch: Branch, own: sa.URL) -> sa.URL:
        """Where a branch is for another role, database or driver than main's."""
        url = sa.make_url(branch.url)
        if own.username == url.username or url.password is None:
            password = url.password
        elif url.password == self.passwords.get(url.username):
            password = own.password
        else:  # its parent is protected: Neon has given every role another password
            password = self._password(branch.id, own)
        # Not by `set`, for which None means to leave the one that there is.
        return own._replace(host=url.host, port=url.port, password=password, query=url.query)

    def pooled(self, branch: Branch) -> str:
        """The URL of a branch's pooler."""
        uri = self._uri(branch.id, self.main, pooled=True)
        return urls.plain(sa.make_url(branch.url).set(host=uri.host, port=uri.port))

    def close(self) -> None:
        """Close the connections to the API."""
        self.client.close()

    def _parent(self, parent: str | None) -> tuple[str, str | None]:
        """The id of a parent, and its name; it may be named by its id."""
        if parent is None or parent == MAIN:
            return self.main_id(), parent
        found = projects.named(tuple(self.client.branches()), parent, listing.name_of)
        return found.id, listing.name_of(found)

    def _require_free(self, name: str) -> None:
        if any(each.name == name for each in self.client.branches(search=name)):
            raise making.exists(name)

    def _fill(self, url: sa.URL, record: Record, prepare: Prepare | None) -> None:
        if record.parent is None:
            waking.empty_database(url, self._connect_args)
        elif making.is_without_rows(record):
            waking.copy_revision(self._parent_url(record.parent), url, self._connect_args)
        if prepare is not None:
            prepare(url)

    def _parent_url(self, parent: str) -> sa.URL:
        return self.main if parent == MAIN else sa.make_url(self.get(parent).url)

    def _url_of(self, made: CreatedBranch) -> sa.URL:
        """By the order that Neon's answers allow; a password is never reset to learn it."""
        if made.endpoint is None:
            raise BranchNotFound(f"The branch {made.branch.name!r} was made without a compute: make another.")
        if made.branch.id == self._main_id or made.endpoint.branch_id != made.branch.id:
            raise NeonError(
                f"Neon's API told another branch than {made.branch.name!r}, which was made: look at it there."
            )
        uris = [sa.make_url(each.get_secret_value()) for each in made.uris]
        known = [each.password for each in uris if each.username == self.main.username]
        password = known[0] if known else self._password(made.branch.id, self.main)
        return neon_address.led(self.main, made.endpoint.id, made.endpoint.host, str(password))

    def _password(self, branch_id: str, own: sa.URL) -> str:
        return str(self._uri(branch_id, own).password)

    def _uri(self, branch_id: str, own: sa.URL, *, pooled: bool = False) -> sa.URL:
        uri = self.client.connection_uri(branch_id, database=urls.database(own), role=str(own.username), pooled=pooled)
        return sa.make_url(uri.get_secret_value())

    def _require_idle(self, url: sa.URL, name: str, *, force: bool) -> None:
        there = server.Server(url, self._connect_args)
        try:
            with there.connected() as connection:
                clone.require_idle(connection, urls.database(url), f"The branch {name!r}", force=force)
        finally:
            there.close()
