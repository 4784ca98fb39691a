"""What the OpenAPI description promises, held against the service: schemathesis asks, and checks each answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from questions import SQLiteConfig, create_app
from questions.extensions import db
from questions.models import Question

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from flask import Flask

pytestmark = pytest.mark.contract

AUTHORIZATION = {"Authorization": "Bearer a-token-for-tests"}


class _Current:
    """The application of the test at hand: the description is the same for all, and read before there is a database."""

    app: Flask = create_app(SQLiteConfig(database_url="sqlite://"))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self.app(environ, start_response)


# A valid If-Match that is not the question's is rightly refused; the other statuses are schemathesis' own.
TAKEN = {"positive_data_acceptance": {"expected-statuses": ["2xx", "3xx", 401, 403, 404, 412]}}

current = _Current()
described = schemathesis.openapi.from_wsgi(
    "/openapi.json", current, config=schemathesis.Config.from_dict({"checks": TAKEN})
)


@pytest.fixture(autouse=True)
def served(app: Flask) -> None:
    """Send the requests to the application on the test's own database."""
    current.app = app


@pytest.fixture
def question_id(app: Flask) -> int:
    """A question that is there."""
    with app.app_context():
        question = Question(title="There", description="There.")
        db.session.add(question)
        db.session.commit()
        return question.id


@described.parametrize()
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_every_answer_is_as_described(case: schemathesis.Case[Any], question_id: int) -> None:
    """No server error, no undescribed status, header, type or shape; what is valid is taken, what is not is refused."""
    # A number drawn blindly is nearly never a question's: let every other request meet one.
    drawn = case.path_parameters.get("question_id")
    if isinstance(drawn, int) and drawn > 0 and drawn % 2:
        case.path_parameters["question_id"] = question_id
    case.call_and_validate(headers=AUTHORIZATION)
