"""How long is waited: by the client's own measure, and by what an answer asks."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from flask_branches.neon_client import deadlines
from flask_branches.neon_client.deadlines import Deadline, retry_after

THEIR_NOW = datetime(2020, 1, 1, tzinfo=UTC)
MANY = 200


@pytest.fixture(autouse=True)
def long_waits(short_waits: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits as they are outside of tests."""
    monkeypatch.setattr(deadlines, "_FIRST", 0.25)


@pytest.mark.parametrize(
    ("patience", "tries", "longest"),
    [
        (120, 1, 0.25),
        (120, 2, 0.5),
        (120, 5, 4),
        (120, 6, 8),
        (120, 7, 10),
        (120, 10**6, 10),
        (6, 100, 1),
        (0.6, 1, 0.1),
    ],
)
def test_a_wait_is_anything_up_to_a_bound_that_doubles(patience: float, tries: int, longest: float) -> None:
    """Up to ten seconds, and a sixth of all patience: so that there are several tries in any case."""
    waits = [Deadline(patience).back_off(tries) for _ in range(MANY)]

    assert 0 <= min(waits) < longest / 2 < max(waits) <= longest


def test_the_seed_of_a_test_run_does_not_make_waits_alike() -> None:
    """Workers of one run have the same seed, and would all ask at the same moments."""
    waits = []
    for _ in range(2):
        random.seed(1)
        waits.append(Deadline(120).back_off(9))
    assert waits[0] != waits[1]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("17", 17),
        (format_datetime(THEIR_NOW + timedelta(seconds=9), usegmt=True), 9),
        (format_datetime(THEIR_NOW - timedelta(seconds=9), usegmt=True), 0),
        ("Wed, 01 Jan 2020 00:00:09 -0000", 9),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
    ],
)
def test_a_wait_that_is_asked_for_is_read(text: str, seconds: float | None) -> None:
    """As a number of seconds, or as a date by the clock of who asks."""
    assert retry_after({"retry-after": text, "date": format_datetime(THEIR_NOW, usegmt=True)}) == seconds


def test_a_date_without_their_clock_is_one_by_ours() -> None:
    """There is no other."""
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)

    assert retry_after({"retry-after": later}) == pytest.approx(3600, abs=60)
