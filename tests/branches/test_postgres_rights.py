"""What a clone of a Postgres database takes over, and who may make one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from tests.branches.worlds import POSTGRES

from flask_branches import Branch, DatabaseFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import Client, World

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]
    NewDatabase = Callable[..., sa.URL]

pytestmark = pytest.mark.skipif(not POSTGRES, reason="rules of Postgres")

_SETTINGS = {
    "search_path": '"$user", app, "it\'s, odd"',
    "work_mem": "'7MB'",
    "myapp.motto": "'it''s; \"so\" \\ %s'",
    "session_preload_libraries": "'$libdir/plpgsql', plpgsql",
    "timezone": "'Asia/Tokyo'",
}


def test_a_branch_has_its_parent_s_settings_owner_and_rights(
    make_world: MakeWorld, new_database: NewDatabase, role: str, admin: Client
) -> None:
    """CREATE DATABASE … TEMPLATE leaves them behind; a reset keeps them, a branch of the branch has them too."""
    world = make_world(url=new_database("main_set", f"OWNER {role}"))
    for name, value in _SETTINGS.items():
        admin.run(f"ALTER DATABASE main_set SET {name} TO {value}")
    admin.run(f"ALTER ROLE {role} IN DATABASE main_set SET search_path TO app, public")
    admin.run("REVOKE ALL ON DATABASE main_set FROM PUBLIC")
    admin.run(f"GRANT TEMPORARY ON DATABASE main_set TO {role} WITH GRANT OPTION")
    admin.run("ALTER DATABASE main_set CONNECTION LIMIT 7")

    before = _state_of(admin, "main_set")
    world.branches.create("mine")
    world.branches.create("child", parent="mine")

    assert len(before["settings"]) == len(_SETTINGS) + 1
    assert _state_of(admin, "main_set__mine") == before
    world.branches.reset("mine")
    assert _state_of(admin, "main_set__mine") == before
    assert _state_of(admin, "main_set__child") == before


def _state_of(admin: Client, database: str) -> dict[str, Any]:
    settings = admin.run(
        "SELECT datname, s.setrole::regrole::text, unnest(s.setconfig) FROM pg_db_role_setting s"
        " JOIN pg_database d ON d.oid = s.setdatabase ORDER BY 1, 2, 3"
    )
    rest = admin.run(
        "SELECT datname, datdba::regrole::text, datconnlimit, (SELECT array_agg(a::text ORDER BY a::text)"
        " FROM aclexplode(datacl) a) FROM pg_database"
    )
    return {
        "settings": [row[1:] for row in settings if row[0] == database],
        "rest": {row[0]: row[1:] for row in rest}[database],
    }


def test_a_setting_that_the_role_may_not_give_is_named(
    make_world: MakeWorld, new_database: NewDatabase, role: str, admin: Client
) -> None:
    """Better no branch than one that behaves otherwise than its parent."""
    admin.run(f"ALTER ROLE {role} CREATEDB")
    url = new_database("main_log", f"OWNER {role}").set(username=role)
    admin.run("ALTER DATABASE main_log SET log_statement TO 'ddl'")
    world = make_world(url=url)

    with pytest.raises(
        DatabaseFailed, match=r"^The setting log_statement of the database 'main_log' cannot be given to"
    ):
        world.branches.create("mine")
    assert world.branches.list() == []
    assert world.branches.databases.sweep(dry_run=True) == []


def test_an_owner_who_may_create_databases_makes_branches(
    make_world: MakeWorld, new_database: NewDatabase, role: str, admin: Client, at: At
) -> None:
    """No superuser is needed, for masks, resets and deletions neither."""
    admin.run(f"ALTER ROLE {role} CREATEDB")
    url = new_database("main_own", f"OWNER {role}").set(username=role)
    world = make_world(url=url, BRANCHES_MASKS={"note.text": "upper(text)"})

    branch = world.branches.create("mine")
    assert at(branch).texts() == ["FIRST", "SECOND"]
    world.branches.reset("mine")
    assert world.branches.diff("mine") == ""
    world.branches.databases.update(branch, None)
    world.branches.delete("mine")
    assert world.branches.prune(dry_run=False) == []


@pytest.mark.parametrize(("may_create", "is_owner"), [(False, True), (True, False)])
def test_without_the_rights_the_message_says_how_to_give_them(
    make_world: MakeWorld, new_database: NewDatabase, role: str, admin: Client, *, may_create: bool, is_owner: bool
) -> None:
    """In one line, with the role's name."""
    url = new_database("main_rights", f"OWNER {role}" if is_owner else "")
    admin.run(f"ALTER ROLE {role} {'CREATEDB' if may_create else 'NOCREATEDB'}")
    world = make_world(url=url.set(username=role), fill=False)

    with pytest.raises(
        DatabaseFailed, match=r'\. A branch is .* as an administrator, run ALTER ROLE "tester" CREATEDB'
    ):
        world.branches.create("mine")


def test_a_bind_of_another_role_keeps_it(make_world: MakeWorld, new_database: NewDatabase, role: str, at: At) -> None:
    """Two binds of one database share its branch, each as the role that it is for."""
    url = new_database("main_roles")
    world = make_world(url=url, binds={"readers": url.set(username=role)})

    branch = world.branches.create("mine")

    assert sa.make_url(branch.url).username == "postgres"
    for each in (branch, world.branches.get("mine"), world.branches.list()[0]):
        assert at(each.binds["readers"]).run("SELECT current_user, current_database()") == [(role, branch.id)]


def test_a_right_that_the_owner_has_given_up_stays_so(
    make_world: MakeWorld, new_database: NewDatabase, role: str, admin: Client
) -> None:
    """CREATE DATABASE gives the owner all of them."""
    world = make_world(url=new_database("main_less", f"OWNER {role}"))
    admin.run(f"REVOKE TEMPORARY ON DATABASE main_less FROM {role}, PUBLIC")

    world.branches.create("mine")

    assert _state_of(admin, "main_less__mine") == _state_of(admin, "main_less")


def test_a_role_that_may_not_go_where_branches_are_made_learns_it(
    make_world: MakeWorld, new_database: NewDatabase, role: str, admin: Client
) -> None:
    """The database is named, which is not the role's own."""
    url = new_database("main_out", f"OWNER {role}").set(username=role)
    admin.run("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
    try:
        with pytest.raises(
            DatabaseFailed, match=r"permission denied for database \"postgres\".*, and branches are made from that"
        ):
            make_world(url=url, fill=False).branches.list()
    finally:
        admin.run("GRANT CONNECT ON DATABASE postgres TO PUBLIC")
