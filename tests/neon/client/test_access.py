"""The access: what is refused before a key is sent anywhere, and that the key is never shown."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from tests.neon.client.stubs import KEY, PROJECT

from flask_branches import ConfigurationError
from flask_branches.neon_client import Access


def _access(**changed: Any) -> Access:
    settings: dict[str, Any] = {"api_key": SecretStr(KEY), "project_id": PROJECT}
    return Access(**(settings | changed))


@pytest.mark.parametrize(
    "host",
    [
        "https://console.neon.tech/api/v2",
        "https://neon.example.com:8443/api/v2",
        "http://127.0.0.1:5000/api/v2",
        "http://localhost:5000/api/v2",
        "http://[::1]:5000/api/v2",
        "HTTP://127.1.2.3/api/v2",
    ],
)
def test_a_host_may_be_https_or_this_machine(host: str) -> None:
    """A trailing slash is dropped, so that paths can follow."""
    assert _access(api_host=host).api_host == _access(api_host=f"{host}/").api_host == host
    assert _access(api_host=host).is_local is host.lower().startswith("http:")


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("http://console.neon.tech/api/v2", "in the clear"),
        ("http://127.0.0.1.example.com/api/v2", "in the clear"),
        ("http://0.0.0.0/api/v2", "in the clear"),
        ("http://127.1/api/v2", "in the clear"),
        ("https://user:secret@console.neon.tech/api/v2", "names a user"),
        ("http://127.0.0.1:secret@example.com/api/v2", "names a user"),
        ("console.neon.tech/api/v2", "no URL of an API"),
        ("ftp://console.neon.tech/api/v2", "no URL of an API"),
        ("https:///api/v2", "no URL of an API"),
        ("https://a..b/api/v2", "no URL of an API"),
        ("https://console.neon.tech:99999/api/v2", "no URL of an API"),
        ("https://console.neon.tech/api/v2?key=1", "no URL of an API"),
        ("https://console.neon.tech\\.example.com", "no URL of an API"),
        ("https://console.neon.tech/api/v2\n", "no URL of an API"),
        ("", "no URL of an API"),
    ],
)
def test_a_host_that_the_key_must_not_go_to_is_refused(host: str, said: str) -> None:
    """The variable is named, and what may be a password is not repeated."""
    with pytest.raises(ConfigurationError, match=rf"NEON_API_HOST.*{said}") as caught:
        _access(api_host=host)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("project", ["", "Old-Violet", "a/b", "..", "a" * 61, "old-violet-32930710\n"])
def test_a_project_that_cannot_be_is_refused(project: str) -> None:
    """It becomes a part of every path."""
    with pytest.raises(ConfigurationError, match=r"NEON_PROJECT_ID"):
        _access(project_id=project)


@pytest.mark.parametrize("key", ["", "napi_secret\n", "napi secret", "napi_sécret", "napi_secret\r\nHost: example.com"])
def test_a_key_that_no_header_can_have_is_refused(key: str) -> None:
    """Its text is not repeated."""
    with pytest.raises(ConfigurationError, match=r"NEON_API_KEY") as caught:
        _access(api_key=SecretStr(key))
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["timeout", "patience"])
def test_no_time_at_all_is_refused(name: str) -> None:
    """Nothing could be asked in it."""
    with pytest.raises(ConfigurationError, match=name):
        _access(**{name: timedelta(0)})


def test_an_access_does_not_show_its_key() -> None:
    """Neither as a text, nor as a value."""
    assert KEY not in f"{_access()!r} {_access()}"


@pytest.mark.parametrize("package", ["flask_branches", "flask_branches.neon_client"])
def test_importing_needs_no_http(package: str) -> None:
    """Neither by the extension nor by the client: who does not use Neon need not have it, nor wait for it."""
    program = f"import sys, {package}; print({{'httpx2', 'stamina'}} & sys.modules.keys())"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ended.stdout.strip() == "set()"
