"""What tables of Postgres have beside their rows, where they are emptied or masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from tests.branches.worlds import POSTGRES

from flask_branches import Branch, DatabaseFailed, MaskFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import Client, World

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]
    NewDatabase = Callable[..., sa.URL]

pytestmark = pytest.mark.skipif(not POSTGRES, reason="rules of Postgres")

_LOG = (
    "CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS"
    " $$BEGIN INSERT INTO audit SELECT old.text; RETURN new; END$$"
)


def _make(world: World, *statements: str) -> None:
    with world.db.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
    world.let_go()


_NOTED = (
    "CREATE TABLE person (id int PRIMARY KEY, text text, tags text[])",
    "CREATE INDEX ON person (lower(text))",
    "CREATE STATISTICS together (mcv) ON text, id FROM person",
    "INSERT INTO person SELECT i, 'real ' || i % 20, ARRAY['real ' || i % 3] FROM generate_series(1, 500) i",
    "CREATE TABLE gone (text text)",
    "INSERT INTO gone SELECT 'real ' || i % 20 FROM generate_series(1, 500) i",
    "CREATE MATERIALIZED VIEW people AS SELECT text FROM person",
    "ANALYZE",
    "DELETE FROM gone",
)


@pytest.mark.parametrize("by", ["superuser", "owner"])
@pytest.mark.parametrize("data", ["copy", "empty"])
def test_the_planner_keeps_nothing_of_what_is_hidden_or_taken_away(
    make_world: MakeWorld, new_database: NewDatabase, role: str, admin: Client, at: At, data: Any, by: str
) -> None:
    """Its statistics are samples: of columns, of expressions in indexes, of several columns, of materialized views."""
    if by == "owner" and admin.run("SELECT current_setting('server_version_num')::int < 180000") == [(True,)]:
        pytest.skip("before version 18 only a superuser can take statistics away")
    admin.run(f"ALTER ROLE {role} CREATEDB")
    own = new_database("noted", f"OWNER {role}")
    masks = {"person.text": "'hidden'", "person.tags": "NULL", "gone.text": "NULL"}
    world = make_world(url=own.set(username=role) if by == "owner" else own, BRANCHES_MASKS=masks)
    _make(world, *_NOTED)
    assert "real 7" in _noted(at(own.render_as_string(hide_password=False)))

    branch = world.branches.create("mine", data=data)

    assert "real" not in _noted(at(own.set(database=branch.id).render_as_string(hide_password=False)))
    assert world.branches.diff("mine") == ""


def _noted(there: Client) -> str:
    return str(there.run("SELECT s::text FROM pg_statistic s")) + str(
        there.run("SELECT most_common_vals::text FROM pg_stats_ext")
    )


def test_without_data_there_are_no_large_objects_of_one_s_own(
    make_world: MakeWorld, new_database: NewDatabase, role: str, admin: Client, at: At
) -> None:
    """However many: more than a transaction could lock; those of others stay, as nobody else may take them away."""
    admin.run(f"ALTER ROLE {role} CREATEDB")
    url = new_database("objects", f"OWNER {role}")
    world = make_world(url=url.set(username=role))
    at(url.render_as_string(hide_password=False)).run("SELECT lo_from_bytea(4711, 'not theirs')")
    for _ in range(5):
        _make(world, "SELECT lo_create(0) FROM generate_series(1, 4000)")

    branch = world.branches.create(data="empty")

    assert at(branch).run("SELECT oid FROM pg_largeobject_metadata") == [(4711,)]


def test_who_may_not_see_a_row_may_not_mask_its_table(
    make_world: MakeWorld, new_database: NewDatabase, role: str, admin: Client
) -> None:
    """Where row-level security is forced on its owner, a mask would pass over rows in silence."""
    admin.run(f"ALTER ROLE {role} CREATEDB")
    url = new_database("secured", f"OWNER {role}").set(username=role)
    world = make_world(url=url, BRANCHES_MASKS={"note.text": "'hidden'"})
    _make(
        world,
        "ALTER TABLE note ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE note FORCE ROW LEVEL SECURITY",
        "CREATE POLICY few ON note USING (id = 1)",
    )

    with pytest.raises(MaskFailed, match=r"^The mask of note\.text failed, .*row-level security.*BYPASSRLS\)\.$"):
        world.branches.create("mine")
    assert world.branches.list() == []


def test_a_materialized_view_is_made_anew_under_its_policies(
    make_world: MakeWorld, new_database: NewDatabase, role: str, admin: Client, at: At
) -> None:
    """It holds what its owner may see, whatever was masked before."""
    admin.run(f"ALTER ROLE {role} CREATEDB")
    url = new_database("policies", f"OWNER {role}").set(username=role)
    world = make_world(url=url, BRANCHES_MASKS={"note.text": "'hidden'"})
    _make(
        world,
        "CREATE TABLE secured AS SELECT * FROM note",
        "ALTER TABLE secured ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE secured FORCE ROW LEVEL SECURITY",
        "CREATE POLICY few ON secured USING (id = 1)",
        "CREATE MATERIALIZED VIEW seen AS SELECT * FROM secured",
    )

    there = at(world.branches.create())

    assert (there.texts(), there.texts("seen")) == (["hidden", "hidden"], ["first"])


def test_masks_fire_nothing_and_leave_triggers_and_rules_as_they_were(make_world: MakeWorld, at: At) -> None:
    """An audit would keep what is hidden: of the table, of its partitions, of what a foreign key passes it on to."""
    masks = {"part.text": "'hidden'", "key.text": "'hidden ' || id"}
    world = make_world("server", BRANCHES_MASKS=masks)
    _make(
        world,
        "CREATE TABLE audit (text text)",
        _LOG,
        "CREATE TABLE part (id int, text text) PARTITION BY RANGE (id)",
        "CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (1) TO (10)",
        "INSERT INTO part VALUES (1, 'real')",
        "CREATE TABLE key (id int, text text PRIMARY KEY)",
        "INSERT INTO key VALUES (1, 'real')",
        "CREATE TABLE lock (text text REFERENCES key ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED)",
        "INSERT INTO lock VALUES ('real')",
        *(
            f"CREATE TRIGGER {name} AFTER UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION log()"
            for table, name in (("part", '"a b"'), ("part", "always"), ("part_1", "own"), ("key", "k"), ("lock", "l"))
        ),
        "CREATE TRIGGER never AFTER UPDATE ON part_1 FOR EACH ROW EXECUTE FUNCTION log()",
        "ALTER TABLE part ENABLE ALWAYS TRIGGER always",
        "ALTER TABLE part_1 ENABLE REPLICA TRIGGER always",
        "ALTER TABLE part_1 DISABLE TRIGGER never",
        "CREATE RULE too AS ON UPDATE TO key DO ALSO INSERT INTO audit VALUES (old.text)",
    )
    modes = (
        "SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal"
        " UNION ALL SELECT ev_class::regclass::text, rulename, ev_enabled FROM pg_rewrite WHERE rulename = 'too'"
        " ORDER BY 1, 2"
    )

    there = at(world.branches.create())

    assert there.run("SELECT * FROM audit") == []
    assert there.run("SELECT text FROM part UNION SELECT text FROM lock ORDER BY 1") == [("hidden",), ("hidden 1",)]
    assert there.run(modes) == at(str(world.main)).run(modes)
    there.run("UPDATE part_1 SET text = 'new'")
    assert there.run("SELECT DISTINCT text FROM audit") == [("hidden",)]


def test_masks_that_break_a_constraint_at_the_end_leave_no_branch(make_world: MakeWorld) -> None:
    """Until then it may be broken, as when a key and what refers to it are masked one after the other."""
    world = make_world("server", BRANCHES_MASKS={"note.id": "id + 5", "word.note": "note + 5"})
    refers = "CREATE TABLE word (note int REFERENCES note DEFERRABLE INITIALLY DEFERRED)"
    _make(world, refers, "INSERT INTO word VALUES (1)")
    world.branches.create("mine")
    world.app.config["BRANCHES_MASKS"].pop("word.note")
    other = make_world(url=world.main, name="other", fill=False, BRANCHES_MASKS={"note.id": "id + 5"})

    with pytest.raises(MaskFailed, match=r"^The mask of note\.id failed, .* may hold data; run the expression by hand"):
        other.branches.create("half")


def test_a_trigger_that_forbids_to_empty_a_table_does_not(make_world: MakeWorld, at: At) -> None:
    """As on SQLite: it is the branch that begins without data."""
    world = make_world("server")
    _make(
        world,
        "CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'never'; END$$",
        "CREATE TRIGGER forbid BEFORE TRUNCATE ON note EXECUTE FUNCTION forbid()",
    )

    there = at(world.branches.create(data="empty"))

    assert there.texts() == []
    with pytest.raises(sa.exc.DBAPIError, match="never"):
        there.run("TRUNCATE note")


@pytest.mark.parametrize("data", ["copy", "empty"])
def test_a_parent_that_nobody_writes_to_by_default_has_branches_too(
    make_world: MakeWorld, new_database: NewDatabase, admin: Client, at: At, data: Any
) -> None:
    """They have its setting, and are masked or emptied all the same."""
    world = make_world(url=new_database("read only"), BRANCHES_MASKS={"note.text": "'hidden'"})
    admin.run('ALTER DATABASE "read only" SET default_transaction_read_only TO on')

    there = at(world.branches.create(data=data))

    assert there.texts() == (["hidden", "hidden"] if data == "copy" else [])
    assert there.run("SHOW default_transaction_read_only") == [("on",)]


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        ("empty", DatabaseFailed, r'for table other\. .*, run ALTER TABLE other OWNER TO "tester"\.$'),
        (
            "copy",
            MaskFailed,
            r"^The mask of other\.text failed, .* for table other\. As an administrator, let the role",
        ),
    ],
)
def test_a_table_of_somebody_else_is_named(
    make_world: MakeWorld, new_database: NewDatabase, role: str, admin: Client, at: At, data: Any, error: Any, said: str
) -> None:
    """Whoever may copy it with its database may not empty it, or write to it."""
    admin.run(f"ALTER ROLE {role} CREATEDB")
    url = new_database("theirs", f"OWNER {role}")
    world = make_world(url=url.set(username=role), BRANCHES_MASKS={"other.text": "'x'"})
    at(url.render_as_string(hide_password=False)).run("CREATE TABLE other (text text)")

    with pytest.raises(error, match=said) as raised:
        world.branches.create("mine", data=data)
    assert "CREATEDB" not in str(raised.value)
    assert world.branches.list() == []
