"""How times, sizes and the text of others are written."""

from __future__ import annotations

import pytest

from flask_branches.rehearsal.shown import words

MB = 2**20


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"),
        (-1, "0 ms"),
        (0.04, "0.1 ms"),
        (0.44, "0.4 ms"),
        (1, "1 ms"),
        (640.4, "640 ms"),
        (999.4, "999 ms"),
        (999.6, "1.0 s"),
        (1_249, "1.2 s"),
        (9_949, "9.9 s"),
        (9_951, "10 s"),
        (59_400, "59 s"),
        (59_600, "1 min"),
        (61_000, "1 min 1 s"),
        (3_599_400, "59 min 59 s"),
        (3_599_600, "1 h"),
        (9_000_000, "2 h 30 min"),
    ],
)
def test_a_duration_is_in_its_own_unit(milliseconds: float, text: str) -> None:
    """Two digits say enough, and no unit is more than full."""
    assert words.duration(milliseconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1_023, "1,023 bytes"),
        (1_024, "1 kB"),
        (1_536, "1.5 kB"),
        (48 * MB, "48 MB"),
        (1_024 * MB - 1, "1 GB"),
        (3 * 2**50, "3,072 TB"),
    ],
)
def test_a_size_is_as_postgres_says_it(number: int, text: str) -> None:
    """1 kB is 1,024 bytes, and a tenth matters below ten."""
    assert words.size(number) == text


def test_what_is_counted_agrees_with_its_number() -> None:
    """One row, several rows; of many names the first, and how many more."""
    assert [words.count(each, "row") for each in (0, 1, 1_000)] == ["0 rows", "1 row", "1,000 rows"]
    assert words.count(2, "index", "indexes") == "2 indexes"
    names = [list("abcd"[:length]) for length in range(1, 5)]
    assert [words.listed(each) for each in names] == ["a", "a and b", "a, b and c", "a, b and 2 more"]


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("a\x00b\x1bc\x9b", "a\\x00b\\x1bc\\x9b"),
        ("\u202eabc\u2066", "\\u202eabc\\u2066"),
        ("half \ud800", "half \\ud800"),
        ("one\r\ntwo\rthree\n\tfour", "one\ntwo\nthree\n\tfour"),
        ("Grüße, 漢字", "Grüße, 漢字"),
    ],
)
def test_a_text_of_others_commands_nothing(text: str, harmless: str) -> None:
    """Colours go, whatever else a terminal or a browser obeys is spelt out, and what can be read stays."""
    assert words.clean(text) == harmless


def test_a_long_text_says_what_it_lacks() -> None:
    """Nobody takes the beginning of a text for all of it."""
    assert words.clipped("abc", 3) == "abc"
    assert words.clipped("a" * 2_003, 3) == "aaa … (2,000 characters more)"
