"""Import and export of files of every size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from questions.extensions import db
from questions.models import Question

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask

pytestmark = pytest.mark.benchmark

FEW, MANY = 100_000, 1_000_000

# Between this process and the command: what is started directly counts its parent's memory as its own.
_MEASURED = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds a row, and the most memory that it held at once, in MB."""

    seconds: float
    memory: float


@pytest.fixture
def cost(environment: str, database_url: str) -> Callable[..., Cost]:
    """Run `flask questions …` in a process of its own, on the test's database, for a number of rows."""

    def run(rows: int, *arguments: str) -> Cost:
        variables = {**os.environ, "QUESTIONS_CONFIG": environment, "DATABASE_URL": database_url}
        began = time.perf_counter()
        command = [sys.executable, "-m", "flask", "--app", "questions", "questions", *arguments]
        ended = subprocess.run(
            [sys.executable, "-c", _MEASURED, *command], env=variables, stdout=subprocess.PIPE, text=True, check=True
        )
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return Cost((time.perf_counter() - began) / rows, int(ended.stdout) / unit)

    return run


@pytest.mark.branches(isolation="branch", data="empty")
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_ten_times_the_rows_take_no_more_memory(
    working_directory: Path, app: Flask, cost: Callable[..., Cost], ratio: Any, suffix: str
) -> None:
    """A file is read and written as a stream, and so is the database."""
    costs: dict[str, list[Cost]] = {"import": [], "export": []}
    for rows in (FEW, MANY):
        file, copy = working_directory / f"{rows}.{suffix}", working_directory / f"copy.{suffix}"
        with file.open("w", newline="") as stream:
            write_rows(stream, suffix, rows)
        costs["import"].append(cost(rows, "import", str(file)))
        costs["export"].append(cost(rows, "export", str(copy)))
        with app.app_context(), db.engine.begin() as connection:
            connection.execute(sa.delete(Question))
        with copy.open(newline="") as stream:
            assert sum(1 for _ in stream) == rows + (suffix == "csv")

    for command, (few, many) in costs.items():
        ratio(f"{command} of {suffix}, {MANY:,} rows to {FEW:,}", few.seconds * 1e6, many.seconds * 1e6, "µs a row")
        assert ratio("the same", few.memory, many.memory, "MB") < 1.5


def write_rows(stream: Any, suffix: str, rows: int) -> None:
    if suffix == "csv":
        stream.write("title,description\r\n")
    for number in range(rows):
        title, description = f"Question {number}", f"What is the square of {number}, and why?"
        if suffix == "csv":
            stream.write(f'{title},"{description}"\r\n')
        else:
            stream.write(json.dumps({"title": title, "description": description}) + "\n")
