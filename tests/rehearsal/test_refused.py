"""What cannot be rehearsed, and is refused before a migration is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.branches.worlds import SQLITE

from flask_branches import MigrationFailed, NotSupported, rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import World
    from tests.rehearsal.histories import History


postgres_only = pytest.mark.skipif(SQLITE, reason="a rule of Postgres'")

_OWN_ENGINE = "own = current_app.extensions['migrate'].db.engine.connect()"


def test_several_heads_are_refused(history: History) -> None:
    """Before a branch is made; one of them can be named."""
    history.add("pass", id="left")
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')", id="right", down="first")

    with pytest.raises(
        MigrationFailed, match=r"several heads, left, right: join them with flask db merge, or .*--to\.$"
    ):
        history.rehearse()

    report = history.rehearse(to="right")
    assert [each.id for each in report.revisions] == ["right"]
    assert report.target == ("right",)


def test_an_unknown_revision_is_refused(history: History) -> None:
    """Before a branch is made."""
    with pytest.raises(MigrationFailed, match=r"Can't locate revision identified by 'nothing'"):
        history.rehearse(to="nothing")

    assert history.world.branches.list() == []


def test_a_database_that_is_ahead_is_refused(history: History) -> None:
    """Nobody can say what is pending."""
    history.run("UPDATE alembic_version SET version_num = 'newer'")

    with pytest.raises(
        MigrationFailed, match=r"The database is at newer, which is in no file of .*: rehearse with the"
    ):
        history.rehearse()

    assert history.world.branches.list() == []


def test_nothing_leads_up_to_base(history: History) -> None:
    """That is a downgrade, and no rehearsal."""
    with pytest.raises(MigrationFailed, match=r"^Nothing is pending up to base.*: name a revision\.$"):
        history.rehearse(to="base")

    assert history.world.branches.list() == []


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def upgrade(:", r"SyntaxError: invalid syntax \(broken\.py, line 1\)\. Correct them\.$"),
        (
            "import nowhere_to_be_found",
            r"ModuleNotFoundError: .*nowhere_to_be_found.* \(broken\.py, line 1\)\. Correct",
        ),
        ("raise SystemExit(1)", r"SystemExit: 1 \(broken\.py, line 1\)\. Correct them\.$"),
    ],
)
def test_a_revision_that_cannot_be_read_is_told(history: History, code: str, said: str) -> None:
    """With its file and line, before a branch is made."""
    (history.folder / "versions" / "broken.py").write_text(code)

    with pytest.raises(MigrationFailed, match=rf"^The migrations in .* cannot be read: {said}"):
        history.rehearse()

    assert history.world.branches.list() == []


@pytest.mark.parametrize("code", ["import nowhere_to_be_found", "raise SystemExit(1)", "1 / 0"])
def test_an_env_that_cannot_be_run_is_told(history: History, code: str) -> None:
    """It could not be rehearsed, which is another thing than not being safe."""
    (history.folder / "env.py").write_text(code)

    with pytest.raises(MigrationFailed, match=r"env\.py cannot be run on the branch: \w+: [^\n]+ Correct what it says"):
        history.rehearse()

    assert history.world.branches.list() == []


def test_no_password_is_told_of_what_cannot_be_run(history: History) -> None:
    """Others' errors may have whole URLs in them."""
    (history.folder / "env.py").write_text("raise ValueError('cannot use postgresql://me:geheim@h/d')")

    with pytest.raises(MigrationFailed, match=r"ValueError: cannot use postgresql://me:\*\*\*@h/d\."):
        history.rehearse()


@postgres_only
def test_a_revision_table_that_may_not_be_read_is_told(role: str, history: History) -> None:
    """As the database says it."""
    history.run(f"GRANT USAGE ON SCHEMA public TO {role}")
    env = (history.folder / "env.py").read_text()
    ask = f"    connection.exec_driver_sql('SET ROLE {role}')\n    context.configure("
    (history.folder / "env.py").write_text(env.replace("    context.configure(", ask))

    with pytest.raises(MigrationFailed, match=r"InsufficientPrivilege: permission denied for table alembic_version\. "):
        history.rehearse()


def test_an_application_without_migrations_is_refused(make_world: Callable[..., World]) -> None:
    """There is nothing to rehearse."""
    make_world()

    with pytest.raises(NotSupported, match=r"^The application 'app' has no folder of migrations here"):
        rehearsal.rehearse()
