"""The HTTP contract of questions, one request story a test."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from questions.extensions import db
from questions.models import Question

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient

    Ask = Callable[..., dict[str, Any]]


def pages(client: FlaskClient, url: str) -> list[list[str]]:
    titles = []
    while url:
        answer = client.get(url)
        assert answer.status_code == 200
        titles.append([question["title"] for question in answer.get_json()])
        link = re.fullmatch(r'<(/questions\?[^>]+)>; rel="next"', answer.headers.get("Link", ""))
        assert (link is None) == ("Link" not in answer.headers)
        url = link[1] if link else ""
    return titles


def test_a_question_added_to_the_session_is_in_the_list(client: FlaskClient, word: str) -> None:
    """GET /questions is an array of objects with id, title and description."""
    question = Question(title=f"What is {word}?", description="A word.")
    db.session.add(question)
    db.session.commit()

    answer = client.get("/questions", query_string={"q": word})

    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert answer.get_json() == [{"id": question.id, "title": f"What is {word}?", "description": "A word."}]


@pytest.mark.branches(isolation="branch")
def test_a_question_that_is_not_committed_is_not_in_the_list(client: FlaskClient, word: str) -> None:
    """A request sees what is committed, nothing of the test's own session."""
    db.session.add(Question(title=word, description="Not yet."))
    db.session.flush()
    if db.engine.dialect.name == "postgresql":
        assert client.get("/questions", query_string={"q": word}).get_json() == []
    db.session.rollback()
    assert client.get("/questions", query_string={"q": word}).get_json() == []


def test_an_asked_question_is_stored_and_can_be_got(client: FlaskClient) -> None:
    """POST answers 201 with the object, its place and its ETag; GET there answers the same."""
    answer = client.post("/questions", json={"title": "  Why?\n", "description": " Because.\n"})

    assert answer.status_code == 201
    body = answer.get_json()
    assert body == {"id": body["id"], "title": "Why?", "description": " Because.\n"}
    assert answer.headers["Location"] == f"/questions/{body['id']}"
    again = client.get(answer.headers["Location"])
    assert again.status_code == 200
    assert again.get_json() == body
    assert again.headers["ETag"] == answer.headers["ETag"]


@pytest.mark.parametrize(
    ("title", "description"),
    [
        ("x" * 100, "y"),
        (" " * 90 + "x" * 100 + " " * 90, "y"),
        ("x", "y" * 20_000),
        ("\U0001f40d" * 100, "\U0001f40d" * 20_000),
        ("e\u0301 'quoted' \"twice\" \\ % _ ; -- \u2028", "tab\tline\r\nend\r"),
    ],
    ids=["longest title", "trimmed to the longest", "longest description", "four bytes each", "odd characters"],
)
def test_what_fits_is_stored_character_for_character(
    client: FlaskClient, ask: Ask, title: str, description: str
) -> None:
    """Lengths count characters, on every database, and nothing is changed but the title's ends."""
    asked = ask(title, description)

    stored = client.get(asked["url"]).get_json()

    assert stored == {"id": asked["id"], "title": title.strip(), "description": description}


def test_if_none_match_answers_304_until_the_question_changes(client: FlaskClient, ask: Ask) -> None:
    """A question that still has the ETag is not sent again; a weak ETag compares equal (RFC 9110, 13.1.2)."""
    asked = ask()

    for etag in (asked["etag"], f"W/{asked['etag']}", f'"other", {asked["etag"]}', "*"):
        answer = client.get(asked["url"], headers={"If-None-Match": etag})
        assert (answer.status_code, answer.data) == (304, b"")
        assert answer.headers["ETag"] == asked["etag"]

    client.patch(asked["url"], json={"title": "How?"})
    answer = client.get(asked["url"], headers={"If-None-Match": asked["etag"]})
    assert answer.status_code == 200
    assert answer.get_json()["title"] == "How?"


def test_patch_changes_what_it_names_and_nothing_else(client: FlaskClient, ask: Ask, word: str) -> None:
    """PATCH answers 200 with the whole question and a new ETag, and the search follows."""
    asked = ask("Before", "Stays")

    answer = client.patch(asked["url"], json={"title": f" {word} "})

    assert answer.status_code == 200
    assert answer.get_json() == {"id": asked["id"], "title": word, "description": "Stays"}
    assert answer.headers["ETag"] != asked["etag"]
    assert client.get(asked["url"]).headers["ETag"] == answer.headers["ETag"]
    assert [each["id"] for each in client.get("/questions", query_string={"q": word}).get_json()] == [asked["id"]]


def test_patch_of_nothing_changes_nothing(client: FlaskClient, ask: Ask) -> None:
    """An empty object is a change of no field: 200, the same ETag."""
    asked = ask()

    answer = client.patch(asked["url"], json={})

    assert answer.status_code == 200
    assert answer.get_json()["title"] == "Why?"
    assert answer.headers["ETag"] == asked["etag"]


def test_if_match_lets_the_holder_of_the_etag_write(client: FlaskClient, ask: Ask) -> None:
    """PATCH and DELETE go through with the current ETag, in a list, or with *."""
    asked = ask()

    first = client.patch(asked["url"], json={"title": "One"}, headers={"If-Match": asked["etag"]})
    second = client.patch(asked["url"], json={"title": "Two"}, headers={"If-Match": f'"x", {first.headers["ETag"]}'})
    third = client.patch(asked["url"], json={"title": "Three"}, headers={"If-Match": "*"})
    last = client.delete(asked["url"], headers={"If-Match": third.headers["ETag"]})

    assert [first.status_code, second.status_code, third.status_code, last.status_code] == [200, 200, 200, 204]
    assert client.get(asked["url"]).status_code == 404


@pytest.mark.parametrize("etag", ["stale", "weak", "padded", '"nonsense"', f'"{"9" * 5000}"', '"-1"', '""'])
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_another_etag_is_412_and_nothing_is_written(client: FlaskClient, ask: Ask, method: str, etag: str) -> None:
    """If-Match compares strongly: a stale, weak or unknown ETag is refused."""
    asked = ask()
    client.patch(asked["url"], json={"title": "Newer"})
    current = client.get(asked["url"]).headers["ETag"]
    sent = {"stale": asked["etag"], "weak": f"W/{current}", "padded": f'"0{current[1:]}'}.get(etag, etag)

    answer = client.open(asked["url"], method=method, json={"title": "Mine"}, headers={"If-Match": sent})

    assert answer.status_code == 412
    assert answer.content_type == "application/problem+json"
    assert answer.get_json()["detail"] == (
        f"Question {asked['id']} has changed since; get it again and repeat with its new ETag."
    )
    assert client.get(asked["url"]).get_json()["title"] == "Newer"


def test_a_deleted_question_is_gone_and_its_id_is_not_used_again(client: FlaskClient, ask: Ask) -> None:
    """DELETE answers 204 without a body; the next question has another id, since somebody may hold a link."""
    asked = ask()

    answer = client.delete(asked["url"])

    assert (answer.status_code, answer.data) == (204, b"")
    assert client.get(asked["url"]).status_code == 404
    assert client.delete(asked["url"]).status_code == 404
    assert ask()["id"] > asked["id"]


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("question_id", [2**63 - 1, 2**63, 10**19, 10**30, "9" * 5000, 0, "01", "-1", "x", "1.0"])
def test_an_unknown_id_is_404(client: FlaskClient, method: str, question_id: int | str) -> None:
    """An id that no question has, or that no column could hold, is simply not found."""
    answer = client.open(f"/questions/{question_id}", method=method, json={})

    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"
    assert answer.get_json()["title"] == "Not Found"


def test_pages_follow_each_other_by_their_link(client: FlaskClient, ask: Ask, word: str) -> None:
    """Each page but the last links to the next by a relative URI, which keeps q and limit."""
    for number in range(7):
        ask(f"{word} {number}")

    found = pages(client, f"/questions?limit=3&q={word}")

    assert found == [[f"{word} {n}" for n in numbers] for numbers in ([0, 1, 2], [3, 4, 5], [6])]
    assert pages(client, f"/questions?limit=7&q={word}") == [[f"{word} {n}" for n in range(7)]]


def test_a_page_holds_fifty_unless_asked(client: FlaskClient, ask: Ask, word: str) -> None:
    """Without a limit a page holds 50 questions."""
    for number in range(51):
        ask(f"{word} {number}")

    assert [len(page) for page in pages(client, f"/questions?q={word}")] == [50, 1]
    assert [len(page) for page in pages(client, f"/questions?q={word}&limit=200")] == [51]


def test_paging_stays_right_while_questions_come_and_go(client: FlaskClient, ask: Ask, word: str) -> None:
    """A keyset page begins after the last id seen, so nothing is shown twice or left out."""
    asked = [ask(f"{word} {number}") for number in range(4)]
    first = client.get("/questions", query_string={"q": word, "limit": 2})

    client.delete(asked[0]["url"])
    ask(f"{word} 4")

    following = first.headers["Link"].partition(">")[0][1:]
    assert pages(client, following) == [[f"{word} 2", f"{word} 3"], [f"{word} 4"]]


def test_after_the_end_there_is_an_empty_array(client: FlaskClient, ask: Ask) -> None:
    """An `after` beyond the last id is a page without questions, up to the largest id there can be."""
    for after in (ask()["id"], 2**63 - 1):
        answer = client.get("/questions", query_string={"after": after})
        assert (answer.status_code, answer.get_json()) == (200, [])
        assert "Link" not in answer.headers


def test_an_answer_shows_what_its_request_stored(app: Flask, client: FlaskClient, ask: Ask) -> None:
    """Not what somebody else has stored since: the body belongs to the ETag that is sent with it."""
    asked = ask()

    def another_writes(_session: object) -> None:
        with db.engine.begin() as connection:
            connection.execute(sa.update(Question).where(Question.id == asked["id"]).values(title="Theirs", version=9))

    with app.app_context():
        session = db.session
    sa.event.listen(session, "after_commit", another_writes, once=True)

    answer = client.patch(asked["url"], json={"title": "Mine"})

    assert (answer.get_json()["title"], answer.headers["ETag"]) == ("Mine", '"2"')
    assert client.get(asked["url"]).get_json()["title"] == "Theirs"


def test_a_page_reads_no_more_rows_than_it_needs(app: Flask, client: FlaskClient, ask: Ask) -> None:
    """Those of the page and one to know whether there is a next."""
    for _ in range(5):
        ask()
    loaded: list[object] = []

    def load(question: Question, _context: object) -> None:
        loaded.append(question)

    sa.event.listen(Question, "load", load)
    try:
        answer = client.get("/questions?limit=2")
    finally:
        sa.event.remove(Question, "load", load)

    assert len(answer.get_json()) == 2
    assert len(loaded) == 3
