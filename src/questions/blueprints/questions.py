"""The JSON API of questions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from flask import Response, request, url_for
from werkzeug.routing import IntegerConverter

from questions import services
from questions.blueprints.access import check_writes
from questions.blueprints.api import JSON, Blueprint
from questions.schemas import ListQuery, QuestionChanges, QuestionInput, QuestionOutput

if TYPE_CHECKING:
    from collections.abc import Collection

    from questions.models import Question

blueprint = Blueprint("questions", __name__, url_prefix="/questions", description="Questions: list, search, ask, mend.")
blueprint.before_request(check_writes)

_ONE = "/<id(min=1):question_id>"
_VERSION = re.compile("[1-9][0-9]{0,9}")
_NEEDS_TOKEN: dict[str, Any] = {"security": [{"token": []}]}
_ETAG = {"ETag": {"description": "The version, for If-Match and If-None-Match.", "schema": {"type": "string"}}}
_LINK = {"Link": {"description": 'The next page, as rel="next"; absent on the last.', "schema": {"type": "string"}}}
_LOCATION = {"Location": {"description": "The new question.", "schema": {"type": "string", "format": "uri-reference"}}}
_IF_MATCH: dict[str, Any] = {
    "name": "If-Match",
    "in": "header",
    "description": "Only if the question still has this ETag.",
    "schema": {"type": "string"},
}


class Id(IntegerConverter):
    """An id in a path; more digits than any id has are no id, and no number that Python would refuse to read."""

    regex = "[1-9][0-9]{0,18}"


@blueprint.route("")
@blueprint.arguments(ListQuery, location="query")
@blueprint.response(200, QuestionOutput(many=True), content_type=JSON, headers=_LINK)
@blueprint.problems(422, 503)
def list_questions(query: dict[str, Any]) -> tuple[Any, int, dict[str, str]]:
    """List questions in the order they were asked, a page at a time."""
    page = services.list_questions(**query)
    return page.questions, 200, _next_page(page.next_after)


@blueprint.route("", methods=["POST"])
@blueprint.arguments(QuestionInput)
@blueprint.response(201, QuestionOutput, content_type=JSON, headers=_LOCATION | _ETAG)
@blueprint.problems(400, 401, 403, 413, 415, 422, 503)
@blueprint.doc(**_NEEDS_TOKEN)
def ask_question(given: dict[str, str]) -> tuple[Question, int, dict[str, str]]:
    """Ask a question."""
    question = services.ask_question(**given)
    return question, 201, {"Location": url_for(".get_question", question_id=question.id), "ETag": _etag(question)}


@blueprint.route(_ONE)
@blueprint.response(200, QuestionOutput, content_type=JSON, headers=_ETAG)
@blueprint.alt_response(304, description="It still has the ETag that If-None-Match names.")
@blueprint.problems(404, 503)
def get_question(question_id: int) -> tuple[Question, int, dict[str, str]] | Response:
    """Get one question."""
    question = services.get_question(question_id)
    if request.if_none_match.contains_weak(str(question.version)):
        return Response(status=304, headers={"ETag": _etag(question)})
    return question, 200, {"ETag": _etag(question)}


@blueprint.route(_ONE, methods=["PATCH"])
@blueprint.arguments(QuestionChanges)
@blueprint.response(200, QuestionOutput, content_type=JSON, headers=_ETAG)
@blueprint.problems(400, 401, 403, 404, 412, 413, 415, 422, 503)
@blueprint.doc(**_NEEDS_TOKEN, parameters=[_IF_MATCH])
def change_question(changes: dict[str, str], question_id: int) -> tuple[Question, int, dict[str, str]]:
    """Change the title, the description, or both."""
    question = services.change_question(question_id, changes, versions=_expected())
    return question, 200, {"ETag": _etag(question)}


@blueprint.route(_ONE, methods=["DELETE"])
@blueprint.response(204)
@blueprint.problems(401, 403, 404, 412, 503)
@blueprint.doc(**_NEEDS_TOKEN, parameters=[_IF_MATCH])
def delete_question(question_id: int) -> None:
    """Delete a question."""
    services.delete_question(question_id, versions=_expected())


def _etag(question: Question) -> str:
    return f'"{question.version}"'


def _expected() -> Collection[int] | None:
    """The versions that If-Match accepts, None for any. It compares strongly (RFC 9110, 13.1.1), weak ones never."""
    if "If-Match" not in request.headers or request.if_match.star_tag:
        return None
    return {int(tag) for tag in request.if_match.as_set() if tag and _VERSION.fullmatch(tag)}


def _next_page(after: int | None) -> dict[str, str]:
    if after is None:
        return {}
    kept = {name: request.args[name] for name in ("q", "limit") if name in request.args}
    return {"Link": f'<{url_for(".list_questions")}?{urlencode({**kept, "after": after})}>; rel="next"'}
