"""What a page of the list costs, wherever it stands and however many questions there are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from questions import bulk
from questions.extensions import db
from questions.models import Question

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient

pytestmark = [pytest.mark.benchmark, pytest.mark.branches(isolation="branch")]

ROWS = 200_000


def word(number: int) -> str:
    """A word that one question alone has."""
    return f"{number * 2_654_435_761 % 2**32:08x}"


@pytest.fixture
def many(app: Flask) -> int:
    """A database with many questions; gives the id in the middle of the last page."""
    with app.app_context():
        bulk.store_questions((f"Question {number}", f"About {word(number)}.") for number in range(ROWS))
        if db.engine.dialect.name == "postgresql":
            with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(sa.text("VACUUM ANALYZE questions"))
        return int(db.session.scalar(sa.select(sa.func.max(Question.id))) or 0) - 25


@pytest.fixture
def seconds(client: FlaskClient) -> Callable[[str], float]:
    """The fastest of several answers."""

    def measure(url: str) -> float:
        took = []
        for _ in range(15):
            began = time.perf_counter()
            assert client.get(url).status_code == 200
            took.append(time.perf_counter() - began)
        return min(took)

    return measure


def test_the_last_page_costs_what_the_first_one_costs(many: int, seconds: Callable[[str], float], ratio: Any) -> None:
    """Pages are found by key, not by counting rows."""
    first, last = seconds("/questions?limit=25"), seconds(f"/questions?limit=25&after={many}")

    ratio(f"the last page of {ROWS:,} rows to the first", first * 1e3, last * 1e3, "ms")


def test_the_index_carries_the_search(
    postgres_only: None, app: Flask, many: int, seconds: Callable[[str], float], ratio: Any
) -> None:
    """A rare word is found by trigrams; a search for two characters has none, and reads the rows."""
    rare = f"/questions?q={word(77_777)}"
    with_index, short = seconds(rare), seconds("/questions?q=%23%23")
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.text("DROP INDEX ix_questions_search_trgm"))
    without = seconds(rare)

    ratio(f"a search in {ROWS:,} rows without the index to one with it", with_index * 1e3, without * 1e3, "ms")
    ratio("a search for two characters to that with the index", with_index * 1e3, short * 1e3, "ms")
