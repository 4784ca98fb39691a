"""The emulator's page: its commands work, and nothing that there is is missing in it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from flask import Flask
from tests.emulator.running import clean_environment, start_command

import neon_emulator
from neon_emulator.app import SECTIONS
from neon_emulator.cli import main
from neon_emulator.faults.schemas import ClockSchema, FaultSchema, SinceSchema
from neon_emulator.routes import control

PAGE = (Path(neon_emulator.__file__).parent / "README.md").read_text("utf-8")
EXEC, SERVE, NEONCTL = (block.strip() for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))

_ROW = re.compile(r"^\| (`/.*?) \| ([A-Z, ]+) \|$", re.MULTILINE)


def test_exec_as_the_page_has_it(tmp_path: Path) -> None:
    """The first command answers with the branches of the project that it was given."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "-c", EXEC]
    environment = clean_environment() | {"PATH": path}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert '"name":"main"' in ended.stdout


def test_serve_as_the_page_has_it(tmp_path: Path) -> None:
    """The second command keeps its data in the folder that it names."""
    program, *arguments = shlex.split(SERVE)
    assert program == "neon-emulator"
    process = start_command(*arguments, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("export NEON_API_HOST=")
    process.terminate()
    assert process.wait(60) == 0
    process.stdout.close()
    assert (tmp_path / ".neon-emulator" / "state.db").exists()


def test_every_operation_is_listed() -> None:
    """The page's table has the operations that the emulator answers, and no other."""
    app = Flask("listed", static_folder=None)
    for section in SECTIONS:
        app.register_blueprint(section.bp)
    there = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert _listed() == there


def _listed() -> set[tuple[str, str]]:
    found = set()
    for paths, methods in _ROW.findall(PAGE):
        first, *others = re.findall(r"`([^`]+)`", paths)
        base = first.rsplit("/", 1)[0]
        for path in [first, *others]:
            found |= {(path.replace("…", base), method) for method in methods.split(", ")}
    return found


def _controls() -> set[str]:
    app = Flask("controlled", static_folder=None)
    app.register_blueprint(control.bp)
    return {one.rule.removeprefix("/_emulator/") for one in app.url_map.iter_rules()}


@pytest.mark.parametrize("rule", sorted(_controls()))
def test_every_control_is_explained(rule: str) -> None:
    """The page names each request below `/_emulator`."""
    assert re.search(rf"`(GET|POST) {rule}`", PAGE)


@pytest.mark.parametrize("field", sorted(FaultSchema().fields | ClockSchema().fields | SinceSchema().fields))
def test_every_key_of_the_control_is_explained(field: str) -> None:
    """The page names each key of a fault, of a move of the clock, and of the list of requests."""
    assert re.search(rf"`{field}`|\"{field}\"", PAGE)


@pytest.mark.parametrize("command", ["serve", "exec"])
def test_every_option_has_a_help(command: str) -> None:
    """Each option says what it does, and the page names the commands."""
    found = main.commands[command]
    assert all(option.help for option in found.params if isinstance(option, click.Option))
    assert f"neon-emulator {command}" in PAGE
