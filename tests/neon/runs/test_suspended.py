"""A compute that is suspended under whoever uses it: what is in flight is lost, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.neon.runs.guests import ROWS

if TYPE_CHECKING:
    from tests.neon.runs.guests import Production
    from tests.plugin.projects import Project

TESTS = f"""
    import json
    import os
    import time
    import urllib.request

    import pytest
    import sqlalchemy as sa
    from guests import Guest, db

    ROWS = {ROWS}

    def ask(method, path):
        url = f"{{os.environ['NEON_API_HOST']}}/projects/{{os.environ['NEON_PROJECT_ID']}}/{{path}}"
        headers = {{"Authorization": f"Bearer {{os.environ['NEON_API_KEY']}}"}}
        with urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers)) as answer:
            return json.load(answer)

    def suspend(branch):
        (endpoint,) = ask("GET", f"branches/{{branch.id}}/endpoints")["endpoints"]
        ask("POST", f"endpoints/{{endpoint['id']}}/suspend")
        limit = time.monotonic() + 60
        while ask("GET", f"endpoints/{{endpoint['id']}}")["endpoint"]["current_state"] != "idle":
            assert time.monotonic() < limit
            time.sleep(0.05)

    def add(app):
        answer = app.test_client().post("/guests", json={{"name": "new"}})
        assert answer.json == {{"guests": ROWS + 1}}

    def test_a(app):
        add(app)

    def test_b_it_sleeps_when_the_test_has_done_nothing_yet(app, branch):
        suspend(branch)
        add(app)

    def test_c_it_goes_to_sleep_in_a_transaction(app, branch):
        add(app)
        suspend(branch)
        with pytest.raises(sa.exc.DBAPIError):
            db.session.execute(sa.select(1))

    def test_d_the_next_one_knows_nothing_of_it(app):
        add(app)

    @pytest.mark.branches(isolation="none")
    def test_e_not_rolled_back(app, branch):
        db.session.add(Guest(name="stays"))
        db.session.commit()
        suspend(branch)
        assert db.session.query(Guest).count() == ROWS + 1
"""


def test_the_tests_go_on(guests: Project, production: Production) -> None:
    """But for the one whose transaction it was; the application's engine replaces what has died."""
    guests.files(test_guests=TESTS)

    result = guests.run("-n0", "-p", "no:randomly", "-v")

    result.assert_outcomes(passed=5)
    assert production.branches() == []
