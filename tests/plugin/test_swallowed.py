"""What cannot be isolated fails its test, whoever has caught the error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.plugin.projects import on_files

if TYPE_CHECKING:
    from tests.plugin.projects import Project

SERVICE = """
    import sqlalchemy as sa
    from shop import Product, db

    class ServiceError(Exception):
        pass

    def count():
        try:
            with db.engine.connect() as connection:
                return connection.scalar(sa.select(sa.func.count(Product.id)))
        except Exception:
            return 0

    def count_or_complain():
        try:
            with db.engine.connect() as connection:
                return connection.scalar(sa.select(sa.func.count(Product.id)))
        except Exception as error:
            raise ServiceError from error
"""
SWALLOWED = """
    from concurrent.futures import ThreadPoolExecutor

    import pytest
    import service
    import sqlalchemy as sa
    from flask_branches import IsolationError
    from shop import Product, db

    @pytest.fixture
    def unfinished(app):
        db.session.add(Product(name="pen"))
        db.session.flush()

    def test_by_a_service(unfinished):
        assert service.count() == 0

    def test_in_a_thread(app, unfinished):
        def store():
            with app.app_context():
                db.session.add(Product(name="ink"))
                db.session.commit()

        with ThreadPoolExecutor(1) as threads:
            threads.submit(store)

    def test_as_another_error(unfinished):
        with pytest.raises(service.ServiceError):
            service.count_or_complain()
"""
MET = """
    import unittest

    import pytest
    import service
    from flask_branches import IsolationError
    from shop import Product, db
    from test_swallowed import unfinished

    @pytest.fixture
    def counted(unfinished):
        with db.engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")

    def test_that_fails_with_it(unfinished):
        with db.engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")

    def test_that_fails_with_what_was_made_of_it(unfinished):
        service.count_or_complain()

    @pytest.mark.usefixtures("unfinished")
    class TestOfUnittest(unittest.TestCase):
        def test_that_fails_with_it(self):
            with db.engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1")

    def test_whose_fixture_fails_with_it(counted):
        pass

    def test_that_expects_it(client, unfinished):
        with pytest.raises(IsolationError):
            client.get("/count")
        with db.engine.connect() as connection, pytest.raises(IsolationError):
            connection.exec_driver_sql("SELECT 1")
        db.session.commit()
        assert client.get("/count").status_code == 200
"""


@on_files
def test_what_an_application_swallows_is_an_error_in_the_end(shop: Project) -> None:
    """Caught by a service, left in a thread, or turned into another error: a test that passes is not believed."""
    shop.files(service=SERVICE, test_swallowed=SWALLOWED)
    result = shop.run("-n0")

    result.assert_outcomes(passed=3, errors=3)
    result.stdout.fnmatch_lines(["E *IsolationError: A connection is used while another one has changes *"])


@on_files
def test_what_a_test_has_met_is_not_told_twice(shop: Project) -> None:
    """It fails once with it, or has expected it."""
    shop.files(service=SERVICE, test_swallowed=SWALLOWED, test_met=MET)
    result = shop.run("-n0", "test_met.py")

    result.assert_outcomes(passed=1, failed=3, errors=1)
