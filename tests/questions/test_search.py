"""What `?q=` finds, the same on every database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient

    Ask = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("title", "q"),
    [
        ("{} Straße", "{} STRASSE"),
        ("{} ΟΔΥΣΣΕΥΣ", "{} οδυσσευς"),
        ("{} İstanbul", "{} i̇STANBUL"),
        ("{} ﬁne", "{} FINE"),
        ("{} 100%", "{} 100%"),
        ("{} a_b", "{} a_b"),
        (r"{} a\b", r"{} a\b"),
        ("{} it's", "{} it's"),
        ("{} x", "{}"),
        ("{} \U0001f40d", "{} \U0001f40d"),
    ],
)
def test_search_folds_case_as_unicode_does_and_takes_the_rest_literally(
    client: FlaskClient, ask: Ask, word: str, title: str, q: str
) -> None:
    """A question is found by a casefolded substring of its title or of its description."""
    by_title = ask(title.format(word))
    by_description = ask("Other", f"before {title.format(word)} after")

    found = client.get("/questions", query_string={"q": q.format(word)}).get_json()

    assert [each["id"] for each in found] == [by_title["id"], by_description["id"]]


@pytest.mark.parametrize(
    ("title", "q"),
    [
        ("{} 100 cows", "{} 100%"),
        ("{} axb", "{} a_b"),
        (r"{} ab", r"{} a\b"),
        ("{} resume", "{} résumé"),
        ("{} ends", "ends begins"),
        ("{} ends", "ends\nA\nbegins"),
        ("{} ends", "ends\na\nbegins"),
    ],
)
def test_search_does_not_find_what_is_not_there(client: FlaskClient, ask: Ask, word: str, title: str, q: str) -> None:
    """Wildcards are characters, accents count, and no match spans title and description."""
    ask(title.format(word), f"begins {word}")

    assert client.get("/questions", query_string={"q": q.format(word)}).get_json() == []


@pytest.mark.branches(data="empty")
def test_an_empty_search_finds_everything(client: FlaskClient, ask: Ask) -> None:
    """`q=` is a form that was sent empty."""
    asked = ask()

    assert [each["id"] for each in client.get("/questions?q=").get_json()] == [asked["id"]]
