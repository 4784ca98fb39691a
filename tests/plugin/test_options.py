"""The options: where each comes from, what it does, and what is no value for it."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.plugin.production import ROWS, delete
from tests.plugin.projects import PASSWORD, on_a_server, on_files

from pytest_branches import options

if TYPE_CHECKING:
    from tests.plugin.production import Production
    from tests.plugin.projects import Project

COUNT = """
    from shop import Product, db

    def test_count(app):
        print(f"rows: {db.session.query(Product).count()}")
"""


def _value(project: Project, name: str, option: str | None, variable: str | None, ini: str | None) -> tuple[str, str]:
    project.ini(*([] if ini is None else [f"branches_{name} = {ini}"]))
    project.variable(f"BRANCHES_{name.upper()}", variable)
    arguments = [] if option is None else [f"--branches-{name}={option}"]
    found = options.get(project.pytester.parseconfig("-pbranches", *arguments), name)
    return found.value or "", found.source


@on_files
@pytest.mark.parametrize("name", list(options.OPTIONS))
def test_the_option_goes_before_the_environment_and_that_before_the_ini_file(project: Project, name: str) -> None:
    """In pairs, for each of the options; an empty option takes back the others, an empty variable is none."""
    option, variable, key = f"--branches-{name}", f"BRANCHES_{name.upper()}", f"branches_{name}"

    assert _value(project, name, None, None, None)[0] == ""
    assert _value(project, name, "a", "b", None) == ("a", option)
    assert _value(project, name, "a", None, "c") == ("a", option)
    assert _value(project, name, None, "b", "c") == ("b", variable)
    assert _value(project, name, None, None, "c") == ("c", key)
    assert _value(project, name, "", "b", None) == ("", option)
    assert _value(project, name, "", None, "c") == ("", option)
    assert _value(project, name, None, "", "c") == ("c", key)


@on_files
def test_files_stand_in_for_the_environment(project: Project) -> None:
    """The one of tests goes before the other, the environment before both, and both before the ini file."""
    files = {name: project.folder / name for name in (".env", ".env.test")}
    files[".env"].write_text("BRANCHES_KEEP=b\nBRANCHES_PARENT=p\n")
    files[".env.test"].write_text("BRANCHES_KEEP=a\nBRANCHES_PARENT=\n")

    assert _value(project, "keep", None, None, "c") == ("a", "BRANCHES_KEEP in .env.test")
    assert _value(project, "keep", None, "e", "c") == ("e", "BRANCHES_KEEP")
    assert _value(project, "parent", None, None, "c") == ("p", "BRANCHES_PARENT in .env")


WRONG = [
    (["--branches-backend=oracle"], "--branches-backend names the backend 'oracle': there are neon, postgres, sqlite."),
    (["--branches-parent=nobody"], "There is no branch 'nobody'; there are: none."),
    (["--branches-at=yesterday"], "The point in time 'yesterday' is not a time: write for example *"),
    (["--branches-at=0/1"], "SQLite keeps no past to branch from: leave the point in time out, or use Neon."),
    (["--branches-keep=sometimes"], "--branches-keep is 'sometimes': say never, failed or always."),
    (["--branches-migrate=later"], "--branches-migrate is 'later': say always or never."),
    (["--branches-migrate=never"], "--branches-migrate is never, and a branch is made for the run: leave it out."),
    (["--branches-expire=soon"], "--branches-expire 'soon' is not a duration: write for example 30m, 12h or 7d."),
    (["--branches-expire=0s"], "--branches-expire '0s' is over before it begins: *"),
    (["--branches-url=nonsense"], "--branches-url cannot be read: write sqlite:///file or *"),
    (["--branches-url=sqlite:///a.sqlite", "--branches-at=0/1"], "A point in time is asked for, and --branches-url *"),
    (
        ["--branches-url=sqlite:///a.sqlite", "--branches-backend=postgres"],
        "--branches-backend is postgres, and --branches-url leads to another kind of database: leave one of them out.",
    ),
    (
        ["--branches-backend=postgres", "--branches-parent=main"],
        "--branches-parent is 'main', and there is no postgres database of that name: leave it out, or say empty.",
    ),
]


@on_files
@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(given) for given, _ in WRONG])
def test_what_is_no_value_is_one_line(shop: Project, arguments: list[str], message: str) -> None:
    """It names value and remedy; pytest ends with the status of a wrong command line, before any test."""
    shop.files(test_shop=COUNT)

    assert fnmatch(shop.refused(*arguments), message)
    assert shop.left() == []


@on_files
@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_nothing_else_is_said(shop: Project, workers: str) -> None:
    """Neither a traceback nor a second line, and not by a worker."""
    shop.files(test_shop=COUNT)
    result = shop.run("--branches-parent=nobody", workers)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert [line for line in result.errlines if line] == ["ERROR: There is no branch 'nobody'; there are: none."]
    assert "Traceback" not in result.stdout.str()
    assert "rror" not in result.stdout.str()


@on_files
@pytest.mark.parametrize("place", ["the environment", ".env", ".env.test"])
def test_a_misspelt_variable_does_not_pass(shop: Project, place: str) -> None:
    """Wherever it stands: what was meant is named."""
    if place == "the environment":
        shop.variable("BRANCHES_KEPT", "always")
    else:
        (shop.folder / place).write_text("BRANCHES_KEPT=always\n")
    assert shop.refused() == f"BRANCHES_KEPT in {place} is not a setting. Did you mean BRANCHES_KEEP?"


def test_the_parent_is_what_the_tests_get_a_branch_of(shop: Project, production: Production) -> None:
    """Nothing for `empty`, a branch's rows for its name; by default main, where DATABASE_URL names it."""
    shop.files(test_shop=COUNT)
    assert f"a branch of main ({production.url.replace(PASSWORD, '***')}), because DATABASE_URL names" in shop.shown(
        "--co"
    )

    result = shop.run("-s", "--branches-parent=empty")
    source = "*a branch of nothing, a new database, because --branches-parent says so"
    result.stdout.fnmatch_lines([source, "*rows: 0*"])

    assert shop.flask("branches", "create", "fewer").returncode == 0
    delete(shop.branches()[-1].url, "product", ROWS - 7)
    shop.variable("BRANCHES_PARENT", "fewer")
    result = shop.run("-s")
    result.stdout.fnmatch_lines(["*a branch of fewer (a branch of *), because BRANCHES_PARENT says so", "*rows: 7*"])


@on_files
def test_a_file_that_nobody_has_named_is_no_parent(shop: Project) -> None:
    """Nor one that .env names for an application of another kind; but .env counts where the application reads it."""
    shop.files(test_shop=COUNT)
    (shop.folder / ".env").write_text("DATABASE_URL=postgresql://somewhere/else\n")
    assert "sqlite, a branch of nothing, a new database, because no DATABASE_URL is set" in shop.shown("--co")

    (shop.folder / ".env").write_text("DATABASE_URL=sqlite:///shop.sqlite\n")
    assert "shop.sqlite), because DATABASE_URL in .env names its parent" in shop.shown("--co")


@on_a_server
@pytest.mark.parametrize("workers", ["-n0", pytest.param("-n2", marks=pytest.mark.slow)])
def test_another_kind_of_database(shop: Project, workers: str) -> None:
    """A SQLite application is tested on a Postgres of the run's own, binds included, which is gone with the run."""
    shop.variable("BRANCHES_BACKEND", "postgres")
    shop.files(test_shop=ON_POSTGRES)
    result = shop.run(workers)

    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines("branches: postgres, a branch of nothing, *, because BRANCHES_BACKEND is postgres")
    sockets = Path((shop.folder / "server").read_text())
    assert sockets.name == "socket"
    assert not sockets.parent.exists()


ON_POSTGRES = """
    import pathlib

    import pytest
    from shop import Event, Product, db

    @pytest.mark.parametrize("isolation", ["rollback", "branch"])
    def test_a(request, isolation):
        request.applymarker(pytest.mark.branches(isolation=isolation))

    @pytest.mark.branches(isolation="branch")
    def test_b(app):
        db.session.add_all([Product(name="a"), Event(text="b")])
        db.session.commit()
        assert {engine.dialect.name for engine in db.engines.values()} == {"postgresql"}
        pathlib.Path("server").write_text(db.engine.url.query["host"])
"""


@on_a_server
def test_an_application_on_postgres_is_tested_on_a_file(shop: Project) -> None:
    """`--branches-backend sqlite` asks its server for nothing."""
    shop.variable("DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/nowhere")
    shop.variable("AUDIT_URL", "postgresql+psycopg://nobody@127.0.0.1:1/elsewhere")
    shop.files(test_shop=COUNT)
    result = shop.run("-s", "--branches-backend=sqlite")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines("branches: sqlite, a branch of nothing, *, because --branches-backend is sqlite")
