"""The isolation as a test sees it, with pytest-flask and without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.plugin.production import ROWS
from tests.plugin.projects import CLIENT, POSTGRES, SHOP_APP, on_files

if TYPE_CHECKING:
    from tests.plugin.production import Production
    from tests.plugin.projects import Project

SEEN = """
    import pytest
    import sqlalchemy as sa
    from flask import g, url_for
    from flask_branches import IsolationError
    from shop import Event, Product, db

    @pytest.fixture
    def pen():
        db.session.add(Product(name="pen"))
        db.session.commit()

    def test_the_session_works_in_fixtures_and_in_the_body(app, pen):
        assert db.session.scalar(sa.select(Product.name).order_by(Product.id.desc())) == "pen"

    def test_requests_see_what_was_committed_and_share_no_g(client, pen):
        before = client.get("/count").text
        g.seen = 7
        client.post("/products/ink")
        assert client.get("/count").text == "{products} products, {events} events, g seen 1 times"
        assert before != client.get("/count").text

    def test_a_view_that_forgets_to_commit(client):
        client.post("/forgotten/pen")
        assert db.session.query(Product).filter_by(name="pen").count() == 1, "forgotten"

    def test_with_client(app):
        client = app.test_client()
        with client:
            client.get("/visits")
            from flask import session

            assert session["visits"] == 1
        with client.session_transaction() as session:
            session["visits"] = 41
        assert client.get("/visits").text == "42"

    def test_url_for(app):
        with app.test_request_context():
            assert url_for("count") == "/count"

    def test_a_streamed_answer(client, pen):
        answer = client.get("/stream")
        assert answer.text.endswith("pen;")
        assert "".join(part.decode() for part in client.get("/stream", buffered=False).iter_encoded()).endswith("pen;")

    def test_what_cannot_be_isolated_is_not_swallowed(client):
        client.post("/own-way")

    def test_it_can_be_expected(client):
        with pytest.raises(IsolationError, match="isolation=.branch."):
            client.post("/own-way")

    @pytest.mark.branches(isolation="branch")
    def test_it_works_on_a_branch(client):
        assert client.post("/own-way").text == "done"

    def test_a_commit_that_fails(app, pen):
        db.session.add(Product(name="pen"))
        with pytest.raises(sa.exc.IntegrityError):
            db.session.commit()
        db.session.rollback()
        assert db.session.query(Product).filter_by(name="pen").count() == 1

    def test_nothing_of_the_others_is_left(app):
        assert db.session.query(Product).filter(Product.name.in_(["pen", "ink"])).count() == 0
        assert db.session.query(Event).filter_by(text="ink is sold").count() == 0
"""
URL_FOR = """
    from flask import url_for

    def test_url_for_in_the_body(client):
        assert client.get(url_for("count")).status_code == 200
"""


@pytest.mark.parametrize("plugin", ["flask", "no:flask"])
def test_what_a_test_sees(shop: Project, request: pytest.FixtureRequest, plugin: str) -> None:
    """The same with pytest-flask and without; of all of them two fail, rightly."""
    products, events = 2, 1
    if POSTGRES:
        request.getfixturevalue("production")
        products, events = products + ROWS, events + ROWS
    if plugin == "no:flask":
        shop.files(conftest=SHOP_APP + CLIENT)
    shop.files(test_seen=SEEN.replace("{products}", str(products)).replace("{events}", str(events)))
    if plugin == "flask":
        shop.files(test_url_for=URL_FOR)
    result = shop.run(plugins=(plugin,))

    result.assert_outcomes(passed=9 + (plugin == "flask"), failed=2)
    result.stdout.fnmatch_lines_random(
        [
            "*AssertionError: forgotten",
            "E *IsolationError: A connection's * Rolling back cannot isolate that. Mark the test *",
            "FAILED test_seen.py::test_a_view_that_forgets_to_commit*",
            "FAILED test_seen.py::test_what_cannot_be_isolated_is_not_swallowed*",
        ]
    )
    assert shop.left() == []


LIVE = """
    import urllib.request

    import pytest
    from shop import Event, Product, db

    def test_rolled_back(live_server): pass

    @pytest.mark.branches(isolation="branch")
    @pytest.mark.parametrize("time", ["first", "second"])
    def test_on_a_branch_of_its_own(live_server, app, time):
        rows = db.session.query(Product).count()
        db.session.rollback()
        db.session.add_all([Product(name="pen"), Event(text="pen")])
        db.session.commit()
        assert get(live_server, "/count").startswith(f"{rows + 1} products, {rows + 1} events")
        request = urllib.request.Request(live_server.url("/products/ink"), method="POST")
        assert urllib.request.urlopen(request).status == 201
        assert db.session.query(Product).count() == rows + 2

    @pytest.mark.branches(isolation="none")
    def test_on_the_session_s(live_server, app):
        db.session.add(Product(name="kept"))
        db.session.commit()
        assert get(live_server, "/count").startswith(f"{db.session.query(Product).count()} products")

    def get(server, path):
        return urllib.request.urlopen(server.url(path)).read().decode()
"""


@pytest.mark.parametrize("first", ["branches", "flask"])
def test_a_live_server(shop: Project, production: Production, first: str) -> None:
    """Refused under rollback, with the remedy; on a branch, the other process and the test see what either commits."""
    shop.ini("branches_app = shop:create_app", "live_server_scope = function")
    shop.files(test_live=LIVE)
    shop.variable("PYTEST_ADDOPTS", f"-p{first}")  # whichever plugin is loaded before the other
    before = production.content()
    result = shop.run()

    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines("live_server answers from another process, * @pytest.mark.branches(isolation=*")
    assert production.content() == before
    assert shop.left() == []


@on_files
def test_a_live_server_of_the_whole_session(shop: Project) -> None:
    """It serves one database, so a test that is to have a branch of its own is told what to set."""
    shop.files(test_live=LIVE)
    result = shop.run("-k", "on_a_branch_of_its_own and first")

    result.assert_outcomes(errors=1, deselected=3)
    result.stdout.fnmatch_lines("*set live_server_scope = function in pytest's ini file.")


OWN_SERVER = """
    import pytest

    @pytest.fixture
    def live_server(app):
        return app

    @pytest.mark.branches(isolation="branch")
    def test_a(live_server): pass

    def test_b(live_server): pass
"""


@on_files
def test_a_project_s_own_live_server(shop: Project) -> None:
    """Without pytest-flask there is no setting to ask for; what rollback cannot isolate is refused all the same."""
    shop.files(test_own=OWN_SERVER)
    shop.run(plugins=()).assert_outcomes(passed=1, errors=1)
