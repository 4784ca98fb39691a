"""The commands of the README, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parent.parent
PROGRAMS = Path(sys.executable).parent
BLOCKS = re.findall(r"```sh\n(.*?)```", (CHECKOUT / "README.md").read_text("utf-8"), re.DOTALL)
SERVE, TEST, USE, EMBEDDED, DEPLOY, BRANCHES, _ACCOUNT, _OFFLINE, REHEARSE, TOX = (block.strip() for block in BLOCKS)


def answer(url: str, deadline: float = 60) -> object:
    """What the URL answers, once it does."""
    end = time.monotonic() + deadline
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                return json.load(response)
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)  # until the server listens


@contextmanager
def running(command: str, cwd: Path, programs: Path = PROGRAMS, **variables: str) -> Iterator[None]:
    """A server of the README's, ended with everything that it started."""
    environ = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", **variables}
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=cwd,
        env=environ,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        print(output.decode())


def run(command: str, cwd: Path, programs: Path = PROGRAMS) -> str:
    environ = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    ended = subprocess.run(["bash", "-ec", command], cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.usefixtures("sqlite_only")
@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's examples of HTTP use curl")
def test_the_first_look(working_directory: Path) -> None:
    """Run, import the sample, search, ask, export, branch: each line does what the README says."""
    port = free_port()
    serve = SERVE.rpartition(".venv/bin/")[2]

    with running(f"exec {serve} --port {port}", working_directory):
        assert answer(f"http://127.0.0.1:{port}/questions") == []
        shown = run(USE.replace("127.0.0.1:5000", f"127.0.0.1:{port}"), working_directory)
        branched = run(BRANCHES, working_directory)
        assert len(answer(f"http://127.0.0.1:{port}/questions")) == 25  # type: ignore[arg-type]

    assert branched.splitlines()[2].split()[0] == "try-it"
    assert "24 questions imported." in branched
    first, found, asked = shown.splitlines()[0], shown.splitlines()[1], shown.splitlines()[2]
    assert first == "24 questions imported."
    assert len(json.loads(found)) == 2
    assert json.loads(asked)["title"] == "Why?"
    assert (working_directory / "questions.csv").read_text("utf-8").startswith("title,description\n")


@pytest.mark.usefixtures("postgres_only", "own_cluster")
def test_a_postgres_of_its_own(working_directory: Path) -> None:
    """Named by nothing, the postgres environment brings its own server, made and migrated."""
    port = free_port()

    with running(f"exec {EMBEDDED} --port {port}", working_directory):
        assert answer(f"http://127.0.0.1:{port}/questions") == []
        assert answer(f"http://127.0.0.1:{port}/readyz") == {"status": "ok"}


@pytest.mark.usefixtures("postgres_only")
def test_deployment(working_directory: Path, bare_url: str) -> None:
    """On a database that is named: migrate, then serve under gunicorn."""
    export, upgrade, serve = DEPLOY.splitlines()
    named = bare_url.replace("postgresql+psycopg:", "postgresql:")
    export = re.sub(r"DATABASE_URL=\S+", f"DATABASE_URL='{named}'", export)
    serve = serve.replace("config/", f"{CHECKOUT}/config/")
    port = free_port()

    run(f"{export}\n{upgrade}", working_directory)
    with running(f"{export}\nexec {serve}", working_directory, PORT=str(port)):
        assert answer(f"http://127.0.0.1:{port}/readyz") == {"status": "ok"}


def test_the_test_command_is_what_ci_runs() -> None:
    """CI runs the README's second command to the letter, the workflow runs that too, and tox knows what both name."""
    ci = (CHECKOUT / ".ci" / "run").read_text("utf-8")
    workflow = (CHECKOUT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    assert TEST in ci
    assert "run: .ci/run" in workflow
    asked = [TOX.split()[2], *re.findall(r"tox -e (\S+)", ci), *re.findall(r"\benv: [^\w]?([\w, -]+)", workflow)]
    named = {name.strip() for names in asked for name in names.split(",")}
    assert len(named) >= 8
    assert named <= tox_environments()


def test_what_the_readme_names_is_there() -> None:
    """It names every environment of tox, and its links lead somewhere."""
    readme = (CHECKOUT / "README.md").read_text("utf-8")

    for name in tox_environments():
        assert f"`{name}`" in readme, name
    for link in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (CHECKOUT / link).exists(), link


def tox_environments() -> set[str]:
    """Every environment of tox.ini; a header with {a,b} is two of them."""
    tox = (CHECKOUT / "tox.ini").read_text("utf-8")
    headers = re.findall(r"^\[testenv:([\w-]+)(?:\{([^}]*)\})?\]", tox, re.MULTILINE)
    return {name + factor for name, factors in headers for factor in factors.split(",")}


@pytest.mark.wheel
def test_the_first_command_from_a_fresh_clone(working_directory: Path) -> None:
    """To the letter, in a clone of what is committed: it ends with the service answering on port 5000."""
    subprocess.run(["git", "clone", "-q", str(CHECKOUT), "clone"], cwd=working_directory, check=True)

    with running(SERVE, working_directory / "clone"):
        assert answer("http://127.0.0.1:5000/questions", deadline=600) == []
    assert (working_directory / "clone" / "instance" / "questions.sqlite").is_file()


@pytest.mark.wheel
def test_deployment_from_the_wheel(working_directory: Path) -> None:
    """Built, installed in an empty environment in another folder: it migrates and serves with what it brings along."""
    run(f"pip wheel -q --no-deps --wheel-dir dist {CHECKOUT}", working_directory)
    run("python3 -m venv empty && empty/bin/pip install -q dist/*.whl", working_directory)
    programs = working_directory / "empty" / "bin"
    config = run(
        "python -c 'from questions.shipped import shipped; print(shipped(\"config\"))'", working_directory, programs
    )
    assert config.startswith(str(working_directory))
    _, upgrade, serve = DEPLOY.splitlines()
    export = f"export DATABASE_URL=sqlite:///{working_directory}/wheel.sqlite"
    port = free_port()

    run(f"{export}\n{upgrade}", working_directory, programs)
    with running(
        f"{export}\nexec {serve.replace('config/', f'{config.strip()}/')}", working_directory, programs, PORT=str(port)
    ):
        assert answer(f"http://127.0.0.1:{port}/readyz") == {"status": "ok"}
        assert answer(f"http://127.0.0.1:{port}/questions") == []


@pytest.mark.usefixtures("sqlite_only")
def test_migrations_are_rehearsed(working_directory: Path) -> None:
    """The page is there, and the database is where it was."""
    run("flask --app questions db upgrade 0001", working_directory)

    said = run(REHEARSE, working_directory)

    assert said.startswith("Safe to deploy")
    assert "0002" in (working_directory / "rehearsal.html").read_text("utf-8")
    assert "0001" in run("flask --app questions db current", working_directory)
