"""Which endpoint of Neon's a URL leads to, by all the ways in which such URLs are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flask_branches import neon_address, urls

if TYPE_CHECKING:
    import sqlalchemy as sa

_HOST = "ep-cool-darkness-a1b2c3d4.us-east-2.aws.neon.tech"
_ID = "ep-cool-darkness-a1b2c3d4"
_OTHER = "ep-old-river-123456"
_OWN = "ep-x-123"


def _url(text: str) -> sa.URL:
    return urls.parsed(text)


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://u:p@{_HOST}/d",
        f"postgresql://u:p@{_HOST}:5432/d?sslmode=require&channel_binding=require",
        f"postgresql://u:p@{_ID}-pooler.us-east-2.aws.neon.tech/d",
        f"postgresql://u:p@{_ID}.c-5.us-east-1.aws.neon.tech/d",
        f"postgresql://u:p@{_ID}-pooler.c-2.eu-central-1.aws.neon.tech/d",
        f"postgresql://u:p@{_ID}.eastus2.azure.neon.tech/d",
        f"postgresql://u:p@{_HOST.upper()}/d",
        f"postgresql://u:p@{_ID.upper()}-POOLER.us-east-2.aws.neon.tech/d",
        f"postgresql://u:p@/d?host={_HOST}",
        f"postgresql://u:p@example.org/d?host={_HOST}",
        f"postgresql://u:p@{_HOST}/d?hostaddr=203.0.113.7",
        f"postgresql://u:p@203.0.113.7/d?options=endpoint%3D{_ID}",
        f"postgresql://u:p@203.0.113.7/d?options=project%3D{_ID}",
        f"postgresql://u:p@203.0.113.7/d?options=endpoint%3D{_ID}-pooler",
        f"postgresql://u:p@203.0.113.7/d?options=-c%20geqo%3Doff%20endpoint%3D{_ID}",
        f"postgresql://u:p@{_HOST}/d?options=endpoint%3D{_ID}",
        f"postgresql://u:endpoint%3D{_ID}%3Bp@203.0.113.7/d",
        f"postgresql://u:endpoint%3D{_ID}%24p@203.0.113.7/d",
    ],
)
def test_every_way_to_name_an_endpoint_leads_to_it(text: str) -> None:
    """By its host, its pooler's, the options, the password; and to no other one."""
    url = _url(text)

    assert neon_address.named(url) == {_ID}
    assert neon_address.is_neon(url)
    assert neon_address.leads_to(url, _ID, _HOST)
    assert not neon_address.leads_to(url, _OTHER, f"{_OTHER}.us-east-2.aws.neon.tech")


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://u:p@/d?host={_HOST},{_OTHER}.us-east-2.aws.neon.tech",
        f"postgresql://u:p@/d?host={_HOST}&host={_OTHER}.us-east-2.aws.neon.tech",
        f"postgresql://u:p@{_HOST}/d?options=endpoint%3D{_OTHER}",
        f"postgresql://u:p@1.2.3.4/d?options=endpoint%3D{_ID}%20endpoint%3D{_OTHER}",
        f"postgresql://u:endpoint%3D{_OTHER}%3Bp@{_HOST}/d",
    ],
)
def test_who_names_two_endpoints_leads_to_neither_for_certain(text: str) -> None:
    """Which of them it is is libpq's, the proxy's or chance's to say."""
    url = _url(text)

    assert neon_address.is_neon(url)
    assert not neon_address.leads_to(url, _ID, _HOST)
    assert not neon_address.leads_to(url, _OTHER, f"{_OTHER}.us-east-2.aws.neon.tech")


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://u:p@/d?host={_HOST},example.org",
        f"postgresql://u:p@/d?host={_HOST},127.0.0.1&port=5432,5433",
    ],
)
def test_an_endpoint_beside_another_server_is_not_led_to_for_certain(text: str) -> None:
    """Who cannot reach the first one goes to the second."""
    assert not neon_address.leads_to(_url(text), _ID, _HOST)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:p@example.org/d",
        "postgresql://u:p@/d",
        "postgresql://u:p@/d?host=/var/run/postgresql",
        "postgresql://u:p@203.0.113.7/d?hostaddr=203.0.113.7",
        "postgresql://u:p@epic.example.org/d?options=-c%20search_path%3Dendpoint",
        "postgresql://u:not-endpoint%3Dep-x-1@example.org/d",
    ],
)
def test_other_servers_name_no_endpoint(text: str) -> None:
    """Nor does a password that only looks a little like one."""
    assert neon_address.named(_url(text)) == frozenset()
    assert not neon_address.is_neon(_url(text))
    assert not neon_address.leads_to(_url(text), _ID, _HOST)


def test_neon_s_domain_is_neon_s_whatever_stands_before_it() -> None:
    """A branch's id as host names no endpoint, and is nobody else's database either."""
    url = _url("postgresql://u:p@br-cold-sun-a1b2c3.us-east-2.aws.neon.tech/d")

    assert neon_address.is_neon(url)
    assert neon_address.named(url) == frozenset()
    assert not neon_address.leads_to(url, _ID, _HOST)


@pytest.mark.parametrize(
    ("text", "leads"),
    [
        ("postgresql://u:p@127.0.0.1:26769/d", True),
        ("postgresql://u:p@localhost:26769/other", True),
        ("postgresql://u:p@[::1]:26769/d", True),
        ("postgresql://u:p@LOCALHOST:26769/d", True),
        ("postgresql://u:p@/d?host=localhost&port=26769", True),
        ("postgresql://u:p@/d?host=127.0.0.1,localhost&port=26769,26769", True),
        ("postgresql://u:p@/d?host=127.0.0.1,localhost&port=26769", True),
        ("postgresql://u:p@/d?host=127.0.0.1:26769", True),
        ("postgresql://u:p@127.0.0.1:26770/d", False),
        ("postgresql://u:p@127.0.0.1/d", False),
        ("postgresql://u:p@/d?host=127.0.0.1,localhost&port=26769,26770", False),
        ("postgresql://u:p@/d?host=127.0.0.1,example.org&port=26769,26769", False),
        ("postgresql://u:p@203.0.113.7:26769/d", False),
        ("postgresql://u:p@/d", False),
        ("postgresql://u:p@localhost:26769/d?port=26770", False),
        ("postgresql://u:p@localhost:26769/d?hostaddr=203.0.113.7", False),
    ],
)
def test_on_this_machine_host_and_port_count(text: str, *, leads: bool) -> None:
    """There an emulator's endpoints are; a URL has to lead to one of them with all its hosts and ports."""
    assert neon_address.leads_to(_url(text), _OWN, "127.0.0.1:26769") is leads


def test_a_url_is_led_to_another_endpoint() -> None:
    """Directly, with the role, the database and what else it has; its own endpoint is named nowhere any more."""
    url = _url(
        f"postgresql+psycopg://u:p@{_ID}-pooler.us-east-2.aws.neon.tech/d"
        f"?hostaddr=203.0.113.7&application_name=x&options=-c%20geqo%3Doff%20endpoint%3D{_ID}"
    )

    led = neon_address.led(url, _OTHER, f"{_OTHER}.c-5.us-east-1.aws.neon.tech", "q")

    assert (led.drivername, led.username, led.password, led.database) == ("postgresql+psycopg", "u", "q", "d")
    assert (led.host, led.port) == (f"{_OTHER}.c-5.us-east-1.aws.neon.tech", None)
    assert led.query == {"application_name": "x", "options": f"-c geqo=off endpoint={_OTHER}", "sslmode": "require"}
    assert neon_address.named(led) == {_OTHER}


def test_a_password_that_names_an_endpoint_is_not_taken_along() -> None:
    """The other endpoint's password is the one that is given; without one there is none."""
    url = _url(f"postgresql://u:endpoint%3D{_ID}%3Bp@203.0.113.7/d")

    led = neon_address.led(url, _OTHER, "127.0.0.1:26770", None)

    assert (led.host, led.port, led.password) == ("127.0.0.1", 26770, None)
    assert "sslmode" not in led.query
    assert neon_address.named(led) == frozenset()
    assert neon_address.leads_to(led, _OTHER, "127.0.0.1:26770")
