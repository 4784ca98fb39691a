"""What a pull request goes through, run line by line on an emulator."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from tests.neon.workflow.steps import CHECKOUT, LINES, SHELL, TEXT, WORKFLOWS, Runner, line, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.emulator.running import Emulator, Project

NAME = "preview/pr-12"
STEPS = ("where", "open", "suite", "diff", "rehearse", "close")
WHERE, OPEN, SUITE, DIFF, REHEARSE, CLOSE = (line(f"steps.py {word}") for word in STEPS)
INSTALL, COMMENT, ON_THE_EMULATOR = line("pip"), line("comment.py"), line("neon-emulator")

# What tox does with `-e neon`, and a look at what it was given; tests/questions has enough in it for a test of its own.
_TOX = f"""#!/bin/sh
test "$*" = "-e neon" || exit 64
echo "tox was given $BRANCHES_URL"
exec {sys.executable} -m pytest -q -p no:cacheprovider -p no:randomly tests/questions/test_search.py
"""


@pytest.fixture
def project(emulator: Emulator) -> Iterator[Project]:
    """A project whose production has the first migration, and no row."""
    made = emulator.client().project()
    yield made
    made.client.http.delete(made.path.lstrip("/"))


@pytest.fixture
def runner(project: Project, emulator: Emulator, tmp_path: Path) -> Runner:
    """A machine that knows the project."""
    given = {name: emulator.exported[name] for name in ("NEON_API_HOST", "NEON_API_KEY")}
    runner = Runner(tmp_path, {**given, "NEON_PROJECT_ID": project.id})
    runner.run("flask --app questions db upgrade 0001")
    return runner


def _branch(project: Project) -> dict[str, Any]:
    (found,) = (each for each in project.branches() if each["name"] == NAME)
    return found


def _expires_within(branch: dict[str, Any]) -> timedelta:
    return datetime.fromisoformat(branch["expires_at"]) - datetime.now(UTC)


def _ask(project: Project, title: str, branch: str | None = None) -> None:
    project.query(f"INSERT INTO questions (title, description, search) VALUES ('{title}', 'x', 'x')", branch)  # noqa: S608


def _titles(project: Project, branch: str | None = None) -> list[str]:
    return sorted(title for (title,) in project.query("SELECT title FROM questions", branch))


def test_a_pull_request_from_its_first_push_to_its_end(project: Project, runner: Runner) -> None:
    """The branch is made, reset at each push, made anew where it was deleted, and deleted at the close, or by then."""
    _ask(project, "before")
    runner.run(OPEN)
    made = _branch(project)
    assert (made["parent_id"], _titles(project, made["id"])) == (project.main, ["before"])
    assert timedelta(days=13, hours=23) < _expires_within(made) <= timedelta(days=14)

    _ask(project, "of the run", made["id"])
    project.query("CREATE TABLE left_behind (id integer)", made["id"])
    _ask(project, "since then")
    soon = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")
    project.client.patch(f"{project.path}/branches/{made['id']}", {"branch": {"expires_at": soon}})
    project.settle()
    runner.run(OPEN)
    again = _branch(project)
    assert (again["id"], _titles(project, again["id"])) == (made["id"], ["before", "since then"])
    assert project.query("SELECT to_regclass('left_behind')", again["id"]) == [(None,)]
    assert _expires_within(again) > timedelta(days=13, hours=23)

    project.client.delete(f"{project.path}/branches/{again['id']}")
    project.settle()
    runner.run(OPEN)
    anew = _branch(project)
    assert (anew["id"] != made["id"], _titles(project, anew["id"])) == (True, ["before", "since then"])

    assert f"{NAME} is deleted." in runner.run(CLOSE)
    assert [each["id"] for each in project.branches()] == [project.main]
    assert f"{NAME} is gone already." in runner.run(CLOSE)
    assert _titles(project) == ["before", "since then"]


@pytest.mark.slow
def test_the_suite_runs_on_the_branch_and_migrates_it(project: Project, runner: Runner) -> None:
    """No log shows the password; what the migrations have changed is the diff, and production is as it was."""
    runner.program("tox", _TOX)
    runner.run(OPEN)
    assert runner.run(DIFF).count("\n@@") == 0
    assert runner.read("schema.diff") == ""

    log = runner.run(SUITE)

    url = project.uri(_branch(project)["id"])
    assert str(urlsplit(url).port) in log.partition("tox was given ")[2]
    assert str(urlsplit(url).password) in log
    assert str(urlsplit(url).password) not in shown(log)
    assert " passed" in log
    log += runner.run(DIFF)
    diff = runner.read("schema.diff")
    assert diff.startswith(f"--- main\n+++ {NAME}\n")
    assert re.search(rf"^::stop-commands::(\w+)\n{re.escape(diff)}\n?::\1::$", log, re.MULTILINE)
    assert str(urlsplit(url).password) not in shown(log)
    assert not (runner.folder / "GITHUB_OUTPUT").exists()
    assert project.query("SELECT version_num FROM alembic_version") == [("0001",)]


def test_what_is_pending_is_rehearsed_on_a_branch_of_production(project: Project, runner: Runner) -> None:
    """The pull request's own branch is migrated by then; the report is there for the comment, and in the summary."""
    _ask(project, "before")

    log = runner.run(REHEARSE)

    report = runner.read("rehearsal.md")
    assert "Safe to deploy" in log
    assert "0002" in report
    assert runner.read("GITHUB_STEP_SUMMARY") == f"{report}\n"
    assert [each["id"] for each in project.branches()] == [project.main]
    assert project.query("SELECT version_num FROM alembic_version") == [("0001",)]


def test_with_nothing_pending_nothing_is_said(project: Project, runner: Runner) -> None:
    """An empty report leaves no comment behind."""
    runner.run("flask --app questions db upgrade")

    runner.run(REHEARSE)

    assert runner.read("rehearsal.md") == ""


def test_what_cannot_be_rehearsed_fails_the_step(runner: Runner) -> None:
    """With the status that tells it from what is not safe; the comment says that much."""
    assert "401" in runner.run(REHEARSE, status=2, NEON_API_KEY="wrong")

    assert runner.read("rehearsal.md") == "**The migrations could not be rehearsed**: the run says why.\n"


def test_a_suite_that_fails_fails_the_step(runner: Runner) -> None:
    """With its own status, as every command that a step runs; Neon's refusals too are told in their own words."""
    runner.program("tox", "#!/bin/sh\nexit 3\n")
    runner.run(OPEN)

    assert runner.run(SUITE, status=3).endswith("$ tox -e neon\n")
    for each in (OPEN, SUITE):
        assert "401" in runner.run(each, status=2, NEON_API_KEY="wrong")
    assert "PULL_REQUEST is '$(id)'" in runner.run(OPEN, status=1, PULL_REQUEST="$(id)")


@pytest.mark.parametrize(
    ("fork", "key", "project_id", "why"),
    [
        ("false", "true", "true", ""),
        ("false", "false", "true", "NEON_API_KEY is not set, or not for this pull request."),
        ("false", "false", "false", "NEON_API_KEY and NEON_PROJECT_ID are not set, or not for this pull request."),
        ("true", "true", "true", "the pull request is from a fork, which is given no secrets."),
    ],
)
def test_who_has_no_key_has_the_emulator(tmp_path: Path, fork: str, key: str, project_id: str, why: str) -> None:
    """The run says so, on its page and in its summary, and why; nothing is asked of Neon for that."""
    runner = Runner(tmp_path, {"FROM_FORK": fork, "HAS_NEON_API_KEY": key, "HAS_NEON_PROJECT_ID": project_id})

    said = runner.run(WHERE)

    assert runner.read("GITHUB_OUTPUT") == f"database={'emulator' if why else 'neon'}\n"
    assert said == (f"::notice title=Tested on the emulator::{why}\n" if why else "")
    assert (why or NAME) in runner.read("GITHUB_STEP_SUMMARY")


def test_without_a_key_there_is_nothing_to_close(tmp_path: Path) -> None:
    """An empty variable is one that is not set."""
    assert "there was no branch" in Runner(tmp_path, {"NEON_API_KEY": "", "NEON_PROJECT_ID": "x"}).run(CLOSE)


def test_every_line_that_the_workflow_runs_is_run_here() -> None:
    """But the comment's, which has a module to itself, and the emulator's, which is an environment of tox and CI's."""
    assert {WHERE, OPEN, SUITE, DIFF, REHEARSE, CLOSE, INSTALL, COMMENT, ON_THE_EMULATOR} == set(LINES)
    assert len(re.findall(r"\brun:\s", TEXT)) == len(re.findall(r"^ +(?:- )?run: \w", TEXT, re.MULTILINE)) + 1
    assert [SHELL[0], *SHELL[-2:]] == ["bash", "-euo", "pipefail"]
    tox = (CHECKOUT / "tox.ini").read_text("utf-8")
    assert f"[testenv:{ON_THE_EMULATOR.removeprefix('tox -e ')}]" in tox
    assert re.search(r"^commands = pytest tests/questions \{posargs\}$", tox, re.MULTILINE)


def test_nothing_that_others_write_reaches_a_shell() -> None:
    """No expression stands in a line that is run, none has a title or a branch's name, and no fork gets a secret."""
    assert not [each for each in LINES if "${{" in each]
    found = set(re.findall(r"\$\{\{ (.*?) \}\}", TEXT))
    assert not [each for each in found if re.search(r"title|body|head\.(ref|label)|head_ref|user\.", each)]
    assert not re.findall(r"pull_request_target|workflow_run", TEXT)
    assert re.findall(r"^permissions: (.*)$", TEXT, re.MULTILINE) == ["{}"]
    assert re.findall(r"^ +([\w-]+: write)$", TEXT, re.MULTILINE) == ["pull-requests: write"]
    jobs = TEXT.count("runs-on:")
    assert TEXT.count("timeout-minutes:") == TEXT.count("persist-credentials: false") == jobs


def test_every_step_is_given_what_it_reads_and_no_more() -> None:
    """A key of Neon's where a branch is asked for, once that is known to be wanted; GitHub's where it comments."""
    scripts = "".join(
        path.read_text("utf-8") for path in (CHECKOUT / ".github" / "preview").iterdir() if path.is_file()
    )
    read = set(re.findall(r"""environ(?:\.get\(|\[)"(\w+)""", scripts)) | {"HAS_NEON_API_KEY", "HAS_NEON_PROJECT_ID"}
    written = set(re.findall(r"^ +([A-Z_]+): \$\{\{", TEXT, re.MULTILINE))
    steps = TEXT.split("\n      - ")[1:]
    with_key = [each for each in steps if "NEON_API_KEY: ${{ secrets.NEON_API_KEY }}" in each]

    assert read - written == {"GITHUB_API_URL", "GITHUB_REPOSITORY"}
    assert {line for each in with_key for line in LINES if line in each} == {OPEN, SUITE, DIFF, REHEARSE, CLOSE}
    assert [each for each in with_key if "steps.where.outputs.database == 'neon'" not in each] == with_key[-1:]
    even_so = "if: ${{ !cancelled() && steps.where.outputs.database == 'neon' }}"  # where a test has failed
    assert [line for each in steps if even_so in each for line in LINES if line in each] == [DIFF, REHEARSE, COMMENT]
    assert [COMMENT in each for each in steps if "github.token" in each] == [True]
    assert "if: github.event.action == 'closed' && github.event.pull_request.head.repo.full_name == " in TEXT
    assert "  group: pull-request-${{ github.event.number }}\n" in TEXT


def test_the_workflows_use_the_same_actions_and_are_all_checked() -> None:
    """One version of each, and `tox -e lint` names every file."""
    texts = {path.name: path.read_text("utf-8") for path in WORKFLOWS.iterdir()}
    used = {each for text in texts.values() for each in re.findall(r"uses: (\S+)", text)}
    (checked,) = re.findall(r"^ +check-jsonschema .*$", (CHECKOUT / "tox.ini").read_text("utf-8"), re.MULTILINE)

    assert len(used) == len({each.partition("@")[0] for each in used})
    assert {f".github/workflows/{name}" for name in texts} == set(checked.split()[3:])


@pytest.mark.wheel
def test_what_is_installed_is_enough(tmp_path: Path) -> None:
    """To the letter, in an empty environment: tox is there, and so are the commands, and what asks Neon and GitHub."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path], check=True)
    runner = Runner(tmp_path, {"PYTHONPATH": "", "PIP_REQUIRE_VIRTUALENV": "1"})
    assert runner.run("python -c 'import sys; print(sys.prefix)'") == f"{tmp_path}\n"

    runner.run(INSTALL)

    assert "set-expiration" in runner.run("QUESTIONS_CONFIG=sqlite flask --app questions branches --help")
    runner.run("tox --version && python -c 'import flask_branches.neon_client, httpx2'")
