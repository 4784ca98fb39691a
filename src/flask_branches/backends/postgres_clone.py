"""A Postgres database cloned: by the faster way, and with what ``CREATE DATABASE … TEMPLATE`` leaves behind."""

from __future__ import annotations

import math
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from flask_branches.backends.postgres_errors import said
from flask_branches.backends.postgres_server import literal, quoted, run
from flask_branches.errors import DatabaseFailed, DatabaseInUse

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.engine import Connection, Row

    Source = Row[tuple[Any, ...]]

_MB = 2**20
# Below, the flushes around a copy of files cost more than writing its pages to the log.
_COPIED_FROM = 64 * _MB
_CLONED_FROM = 32 * _MB
_STRATEGY_SINCE = (15,)
_CLONE_SINCE = (18,)

_LEAVE_SECONDS = 1.0
_POLL_SECONDS = 0.01
_QUIET_SECONDS = 15
_MOST_NAMED = 3

# As pg_dump has them: `variable_is_guc_list_quote`.
_LISTS = {
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
}
_LISTED = re.compile(r'"((?:[^"]|"")*)"|([^",\s]+)')

# What is known of a connection, kept with it.
_CAN_CLONE = "flask_branches_can_clone"
_CLONING = "flask_branches_cloning"

_FICLONE = 0x40049409

_SESSIONS = sa.text(
    "SELECT pid, usename, application_name, state, backend_type FROM pg_stat_activity"
    " WHERE datname = :name AND pid <> pg_backend_pid() AND backend_type NOT LIKE 'autovacuum%' ORDER BY pid"
)
_SOURCE = sa.text(
    "SELECT d.datname AS name, pg_stat_get_db_numbackends(d.oid) AS sessions,"
    " d.datdba::regrole::text AS owner, d.datconnlimit AS connections, d.datacl IS NOT NULL AS has_acl,"
    " pg_catalog.has_database_privilege(d.oid, 'CONNECT') AS measurable,"
    " EXISTS (SELECT FROM pg_db_role_setting s WHERE s.setdatabase = d.oid) AS has_settings,"
    " current_setting('fsync') = 'on' AS fsync"
    " FROM pg_database d WHERE d.datname = :name"
)
# Its columns differ from version to version.
_LOCALE = sa.text(
    "SELECT to_jsonb(d) || jsonb_build_object('encoding_name', pg_encoding_to_char(encoding))"
    " FROM pg_database d WHERE datname = :name"
)
_PROVIDERS = {"b": "builtin", "c": "libc", "i": "icu"}
_LOCALES = {"b": "BUILTIN_LOCALE", "i": "ICU_LOCALE"}
_SETTINGS = sa.text(
    "SELECT s.setrole::regrole::text AS role, s.setrole <> 0 AS of_role, unnest(s.setconfig) AS setting"
    " FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = :name"
)
_GRANTS = sa.text(
    "SELECT a.privilege_type AS privilege, a.is_grantable AS grantable,"
    " CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee"
    " FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = :name"
)
_STATE = sa.text(
    "SELECT concat_ws(' ', datid, tup_inserted, tup_updated, tup_deleted, stats_reset), EXISTS ("
    " SELECT FROM pg_stat_activity a WHERE a.datid = d.datid AND a.pid <> pg_backend_pid()"
    " AND a.backend_type = 'client backend' AND (a.state IS DISTINCT FROM 'idle'"
    " OR a.state_change > clock_timestamp() - make_interval(secs => :quiet)))"
    " FROM pg_stat_database d WHERE datname = :name"
)


def source(connection: Connection, database: str) -> Source | None:
    """What has to be known of a database to clone it, in one query; None where there is none of that name."""
    return connection.execute(_SOURCE, {"name": database}).first()


def create_empty(connection: Connection, like: str, new: str) -> None:
    """Create a database without anything in it, which encodes and sorts as another does, if that exists."""
    row: dict[str, Any] = connection.execute(_LOCALE, {"name": like}).scalar() or {}
    provider = str(row.get("datlocprovider") or "")
    wanted = {
        "ENCODING": row.get("encoding_name"),
        "LC_COLLATE": row.get("datcollate"),
        "LC_CTYPE": row.get("datctype"),
        "LOCALE_PROVIDER": _PROVIDERS.get(provider),
        _LOCALES.get(provider): row.get("datlocale") or row.get("daticulocale"),
        "ICU_RULES": row.get("daticurules"),
    }
    options = " ".join(f"{name} {literal(value)}" for name, value in wanted.items() if name and value)
    run(connection, f"CREATE DATABASE {quoted(new)} TEMPLATE template0 {options}")


def clone(connection: Connection, found: Source, new: str) -> None:
    """Create a database as a copy of another, its settings, owner and access rights included.

    Args:
        connection: in autocommit, to another database of the server.
        found: what is copied, and has no sessions.
        new: the name of the copy.
    """
    options = [f"TEMPLATE {quoted(found.name)}", f"OWNER {found.owner}", *_strategy(connection, found)]
    if found.connections != -1:
        options.append(f"CONNECTION LIMIT {found.connections}")
    run(connection, f"CREATE DATABASE {quoted(new)} {' '.join(options)}")
    if found.has_acl:
        _copy_rights(connection, found, new)
    if found.has_settings:
        _copy_settings(connection, found.name, new)


def require_idle(connection: Connection, database: str, what: str, *, force: bool, forcible: bool = True) -> None:
    """Wait for the sessions of a database to be over, a moment long, or end the idle ones.

    Args:
        connection: to another database of the server.
        database: whose sessions are meant.
        what: how a message names it.
        force: end those that are idle.
        forcible: whether a message may advise so.

    Raises:
        DatabaseInUse: where there are others, or any that may not be ended; it names them.
    """
    limit = time.monotonic() + _LEAVE_SECONDS
    while sessions := connection.execute(_SESSIONS, {"name": database}).all():
        if force and all(each.state == "idle" for each in sessions):
            for each in sessions:
                connection.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": each.pid})
        if time.monotonic() > limit:
            raise DatabaseInUse(_in_use(what, sessions, advise=forcible and not force))
        time.sleep(_POLL_SECONDS)  # Postgres tells nobody when a session of another database has ended


def state(connection: Connection, database: str) -> str | None:
    """What changes with every row that is written to a database; None while a session may not have been counted yet.

    A session's rows are counted at the latest some ten seconds after it has written them, or when it ends: Postgres,
    ``pgstat_report_stat``.
    """
    row = connection.execute(_STATE, {"name": database, "quiet": _QUIET_SECONDS}).first()
    return None if row is None or row[1] else str(row[0])


def _in_use(what: str, sessions: Sequence[Row[tuple[object, ...]]], *, advise: bool) -> str:
    busy = [each for each in sessions if each.state != "idle"]
    shown = busy or sessions
    named = "; ".join(
        f"pid {each.pid} ({each.application_name or each.backend_type}, {each.usename}, {each.state or 'unknown'})"
        for each in shown[:_MOST_NAMED]
    )
    more = f" and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
    remedy = "Let it finish" if busy else "Close it"
    forced = ", or end the idle sessions with --force" if advise and not busy else ""
    return f"{what} is in use by {named}{more}, and can only be copied or replaced while nobody is. {remedy}{forced}."


def _strategy(connection: Connection, found: Source) -> Iterator[str]:
    version = connection.dialect.server_version_info or (0,)
    if version < _STRATEGY_SINCE:
        return
    # Where nothing is flushed, the kernel's way to copy is never the slower one, and may share blocks.
    cloned = version >= _CLONE_SINCE and (not found.fsync or _shares_blocks(connection))
    if found.fsync and _size(connection, found) < (_CLONED_FROM if cloned else _COPIED_FROM):
        yield "STRATEGY WAL_LOG"
        return
    if cloned and not connection.info.get(_CLONING):
        run(connection, "SET file_copy_method = clone")
        connection.info[_CLONING] = True
    yield "STRATEGY FILE_COPY"


def _size(connection: Connection, found: Source) -> float:
    """A database's size; one that may not be measured counts as large."""
    if not found.measurable:
        return math.inf
    size: int = connection.execute(sa.text("SELECT pg_database_size(:name)"), {"name": found.name}).scalar_one()
    return size


def _shares_blocks(connection: Connection) -> bool:
    """Whether the server's file system can clone a file: tried, since Postgres copies in silence where it cannot.

    Tried with two files that have no name, so only where this process may write to the server's folder.
    """
    known: bool | None = connection.info.get(_CAN_CLONE)
    if known is None:
        known = connection.info[_CAN_CLONE] = _can_clone(_data_folder(connection))
    return known


def _data_folder(connection: Connection) -> Path | None:
    statement = sa.text(
        "SELECT current_setting('data_directory', true) WHERE pg_has_role('pg_read_all_settings', 'USAGE')"
    )
    folder = connection.execute(statement).scalar()
    return Path(folder) if folder else None


def _can_clone(folder: Path | None) -> bool:
    if folder is None or not hasattr(os, "O_TMPFILE"):
        return False
    files: list[int] = []
    try:
        files = [os.open(folder, os.O_TMPFILE | os.O_RDWR) for _ in range(2)]
        os.write(files[0], b"\0" * 4096)
        fcntl.ioctl(files[1], _FICLONE, files[0])
    except OSError:
        return False
    finally:
        for file in files:
            os.close(file)
    return True


def _copy_rights(connection: Connection, found: Source, new: str) -> None:
    grants = connection.execute(_GRANTS, {"name": found.name}).all()
    statements = [f"REVOKE ALL ON DATABASE {quoted(new)} FROM PUBLIC, {found.owner}"]
    for each in grants:
        option = " WITH GRANT OPTION" if each.grantable else ""
        statements.append(f"GRANT {each.privilege} ON DATABASE {quoted(new)} TO {each.grantee}{option}")
    run(connection, "; ".join(statements))


def _copy_settings(connection: Connection, source: str, new: str) -> None:
    for each in connection.execute(_SETTINGS, {"name": source}).all():
        name, _, value = each.setting.partition("=")
        target = f"ROLE {each.role} IN DATABASE" if each.of_role else "DATABASE"
        dotted = ".".join(quoted(part) for part in name.split("."))
        try:
            run(connection, f"ALTER {target} {quoted(new)} SET {dotted} TO {_as_written(name, value)}")
        except sa.exc.ProgrammingError as error:
            raise DatabaseFailed(
                f"The setting {name} of the database {source!r} cannot be given to a branch ({said(error)}): as an "
                f"administrator, GRANT SET ON PARAMETER {name} to the role, or give it the role that it is set for."
            ) from error


def _as_written(name: str, value: str) -> str:
    """A setting's value; a list of names is stored as one text, and has to be written as a list again."""
    if name.lower() not in _LISTS:
        return literal(value)
    names = [bare or inner.replace('""', '"') for inner, bare in _LISTED.findall(value)]
    return ", ".join(literal(each) for each in names) or "''"
