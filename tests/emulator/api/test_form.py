"""The form of requests and errors: who may ask, what is malformed, what the emulator does not have."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from tests.emulator.api.support import message, refused

if TYPE_CHECKING:
    from tests.emulator.running import Client, Emulator, Project

_UNKNOWN = "/projects/no-such-00000000"


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Bearer", "Basic eDp5", "napi"])
def test_key(emulator: Emulator, authorization: str | None) -> None:
    """Without the key, or with another one, everything is answered with 401."""
    client = emulator.client(key="")
    headers = {"Authorization": authorization} if authorization else {}
    for path in ("/projects", "/no/such/path"):
        assert "authentication" in message(client, "GET", path, 401, headers=headers)


def test_key_word(emulator: Emulator) -> None:
    """The word Bearer may be written in any case, as HTTP has it."""
    headers = {"Authorization": f"bearer {emulator.exported['NEON_API_KEY']}"}
    emulator.client(key="").get("/projects", headers=headers)


@pytest.mark.parametrize(
    "host", ["neon.example", "127.0.0.1.example:80", "192.0.2.1", "[2001:db8::1]:80", "localhost.example"]
)
def test_foreign_host(api: Client, host: str) -> None:
    """A request that a foreign name has led here is refused, with the key too."""
    assert host in message(api, "GET", "/projects", 403, headers={"Host": host})


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "127.1.2.3:80", "[::1]:80"])
def test_loopback_host(api: Client, host: str) -> None:
    """Every name of this machine's loopback interface is let in."""
    api.get("/projects", headers={"Host": host})


def test_request_id(api: Client) -> None:
    """An answer carries the client's request id, in its header, and in the body of an error too."""
    answer = api.http.get(_UNKNOWN.lstrip("/"), headers={"X-Request-ID": "my-request.1"})
    assert (answer.headers["x-neon-ret-request-id"], answer.json()["request_id"]) == ("my-request.1", "my-request.1")


@pytest.mark.parametrize("given", [None, "a b", "<script>", "x" * 200])
def test_request_id_made(api: Client, given: str | None) -> None:
    """A request without a sane id of its own gets a UUID."""
    answer = api.http.get("projects", headers={"X-Request-ID": given} if given else {})
    assert uuid.UUID(answer.headers["x-neon-ret-request-id"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{_UNKNOWN}/snapshots"),
        ("POST", f"{_UNKNOWN}/branch_anonymized"),
        ("GET", "/consumption_history/projects"),
        ("PUT", "/projects"),
        ("OPTIONS", "/projects"),
        ("GET", ""),
    ],
)
def test_not_emulated(api: Client, method: str, path: str) -> None:
    """An operation that the emulator lacks is answered with 501, and named."""
    said = message(api, method, path, 501)
    assert "no such operation" in said
    assert f"{method} /api/v2{path}" in said


def test_empty_segment(api: Client, project: Project) -> None:
    """A path with an empty segment, as a name that was forgotten leaves it, leads to the one without."""
    answer = api.http.get(f"{project.path.lstrip('/')}//branches")
    assert (answer.status_code, answer.headers["Location"]) == (308, f"{api.http.base_url}{project.path[1:]}/branches")


def test_outside_of_the_api(emulator: Emulator) -> None:
    """A path outside of the API is not found."""
    client = emulator.client(key="")
    answer = client.http.get(emulator.exported["NEON_API_HOST"].removesuffix("/api/v2") + "/no/such/path")
    assert answer.status_code == 404
    assert set(answer.json()) == {"request_id", "code", "message"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{}", "invalid request: decode application/json: invalid: project (field required)"),
        ('{"project": null}', "project (must not be null)"),
        ('{"project": []}', "project (Invalid input type)"),
        ('{"project": {"name": 7}}', "project.name (Not a valid string)"),
        ('{"project": {"name": ""}}', "project.name (must be 1 to 256 characters long)"),
        ('{"project": {"name": "a\\u0000"}}', "project.name (holds a NUL character"),
        ('{"project": {"name": "\\ud800"}}', "project.name (holds a NUL character or a lone surrogate"),
        ('{"project": {"store_passwords": "yes"}}', "project.store_passwords (must be true or false)"),
        ('{"project": {"history_retention_seconds": "1"}}', "history_retention_seconds (must be a whole number)"),
        ('{"project": {"history_retention_seconds": 2592001}}', "history_retention_seconds (must be 0 to 2592000)"),
        ('{"project": {"pg_version": 13}}', "project.pg_version (must be 14 to 18)"),
        ('{"project": {"branch": {"annotations": 1}}}', "project.branch.annotations (must be an object)"),
        ("{", "invalid request: decode application/json: "),
        ("[]", "the body must be an object"),
        ('{"project": {"branch": {"annotations": {"a": NaN}}}}', "NaN is not a number that JSON can have"),
        ('{"project": {"branch": {"annotations": {"a": 1e999}}}}', "1e999 is not a number that JSON can have"),
        ("[" * 100_000, "invalid request: decode application/json: "),
        ("", "body required"),
    ],
)
def test_malformed(api: Client, body: str, said: str) -> None:
    """A body of another form is answered with 400, which names the field."""
    assert said in message(api, "POST", "/projects", 400, content=body)


def test_unknown_fields(api: Client) -> None:
    """Fields that the emulator does not know are left aside, in bodies and in queries."""
    made = api.post("/projects", {"project": {"name": "x", "color": "red"}, "more": 1})
    api.get("/projects", params={"color": "red"})
    api.delete(f"/projects/{made['project']['id']}")


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/projects", {"limit": "0"}),
        ("/projects", {"limit": "401"}),
        ("/projects", {"limit": "1_0"}),
        ("/projects", {"cursor": "nonsense"}),
        ("/projects", {"timeout": "1"}),
        ("/branches", {"limit": "0"}),
        ("/branches", {"limit": "10001"}),
        ("/branches", {"sort_by": "color"}),
        ("/branches", {"sort_order": "up"}),
        ("/branches", {"include_deleted": "perhaps"}),
        ("/branches", {"cursor": "bm9uc2Vuc2U="}),
        ("/operations", {"limit": "0"}),
        ("/operations", {"limit": "1001"}),
        ("/operations", {"cursor": "nonsense"}),
        ("/operations", {"cursor": "2026-01-01T00:00:00"}),
        ("/connection_uri", {"role_name": "neondb_owner"}),
    ],
)
def test_malformed_query(api: Client, project: Project, path: str, query: dict[str, str]) -> None:
    """A query parameter that is out of range, or missing, is answered with 400."""
    whole = path if path == "/projects" else f"{project.path}{path}"
    assert message(api, "GET", whole, 400, params=query).startswith("invalid request: ")


def test_large_body(api: Client) -> None:
    """A body beyond a mebibyte is refused."""
    refused(api, "POST", "/projects", 413, content=b" " * (1024 * 1024 + 1))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"project": {}}),
        ("DELETE", "", None),
        ("GET", "/branches", None),
        ("POST", "/branches", None),
        ("GET", "/branches/count", None),
        ("GET", "/endpoints", None),
        ("GET", "/operations", None),
        ("GET", "/connection_uri?role_name=r&database_name=d", None),
        ("DELETE", "/branches/br-no-such-00000000", None),
        ("DELETE", "/endpoints/ep-no-such-00000000", None),
    ],
)
def test_unknown_project(api: Client, method: str, path: str, body: Any) -> None:
    """Nothing is found in a project that is not there."""
    assert "no-such-00000000" in message(api, method, _UNKNOWN + path, 404, body)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/branches/{id}", None),
        ("PATCH", "/branches/{id}", {"branch": {}}),
        ("POST", "/branches/{id}/restore", {"source_branch_id": "x"}),
        ("POST", "/branches/{id}/set_as_default", None),
        ("GET", "/branches/{id}/schema?db_name=d", None),
        ("GET", "/branches/{id}/compare_schema?db_name=d", None),
        ("GET", "/branches/{id}/endpoints", None),
        ("GET", "/branches/{id}/roles", None),
        ("GET", "/branches/{id}/databases", None),
        ("POST", "/branches", {"branch": {"parent_id": "br-no-such-00000000"}}),
        ("GET", "/endpoints/{id}", None),
        ("POST", "/endpoints/{id}/start", None),
        ("POST", "/endpoints", {"endpoint": {"branch_id": "br-no-such-00000000", "type": "read_only"}}),
        ("GET", "/operations/{id}", None),
    ],
)
def test_unknown_id(api: Client, project: Project, method: str, path: str, body: Any) -> None:
    """An id that nothing has, and one that nothing could have, is not found."""
    for unknown in ("br-no-such-00000000", "UPPER_case"):
        message(api, method, project.path + path.format(id=unknown), 404, body)


def test_another_projects_branch(api: Client, project: Project) -> None:
    """A project does not show another one's branches and endpoints."""
    other = api.project()
    endpoint = other.made["endpoints"][0]["id"]
    message(api, "GET", f"{project.path}/branches/{other.main}", 404)
    message(api, "GET", f"{project.path}/endpoints/{endpoint}", 404)
    api.delete(f"{project.path}/branches/{other.main}", 204)
    api.get(f"{other.path}/branches/{other.main}")
    api.delete(other.path)


@pytest.mark.parametrize("path", ["/users/me", "/users/me/organizations", "/regions", "/auth"])
def test_static(api: Client, path: str) -> None:
    """Who asks, their organisations and the regions are told."""
    assert api.get(path)


def test_organization(api: Client) -> None:
    """There is one organisation, which its id leads to."""
    (organization,) = api.get("/users/me/organizations")["organizations"]
    assert api.get(f"/organizations/{organization['id']}") == organization
    message(api, "GET", "/organizations/org-other", 404)
