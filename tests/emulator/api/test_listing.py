"""Lists of branches and of operations: search, order, pages."""

from __future__ import annotations

import base64
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from tests.emulator.api.support import message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.emulator.running import Client, Project

_NAMES = ["Beta", "alpha", "gamma/x"]


@pytest.fixture(scope="module")
def tree(emulator: Any) -> Iterator[Project]:
    """A project with the branches of _NAMES, in that order, none of them changed."""
    client: Client = emulator.client()
    project = client.project()
    for name in _NAMES:
        project.client.post(f"{project.path}/branches", {"branch": {"name": name}, "annotation_value": {"n": name}})
    yield project
    client.delete(project.path)


def _pages(project: Project, path: str, key: str, cursor: str, **query: Any) -> list[list[dict[str, Any]]]:
    pages: list[list[dict[str, Any]]] = []
    while True:
        answer = project.client.get(f"{project.path}/{path}", params=query)
        assert answer["pagination"][cursor]
        if not answer[key]:
            return pages
        pages.append(answer[key])
        assert len(pages) < 20, "the pages do not end"
        query["cursor"] = answer["pagination"][cursor]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["gamma/x", "alpha", "Beta", "main"]),
        ({"sort_by": "created_at", "sort_order": "asc"}, ["main", "Beta", "alpha", "gamma/x"]),
        ({"sort_by": "name", "sort_order": "asc"}, ["Beta", "alpha", "gamma/x", "main"]),
        ({"sort_by": "name"}, ["main", "gamma/x", "alpha", "Beta"]),
        ({"search": "A/"}, ["gamma/x"]),
        ({"search": "ALPHA"}, ["alpha"]),
        ({"search": "none such"}, []),
    ],
)
def test_order_and_search(tree: Project, query: dict[str, str], names: list[str]) -> None:
    """Branches are found by a part of their name, and sorted as asked, by default the last changed first."""
    answer = tree.client.get(f"{tree.path}/branches", params=query)
    assert [one["name"] for one in answer["branches"]] == names
    search = {"search": query["search"]} if "search" in query else {}
    assert tree.client.get(f"{tree.path}/branches/count", params=search) == {"count": len(names)}


def test_search_by_id(tree: Project) -> None:
    """Branches are found by a part of their id."""
    answer = tree.client.get(f"{tree.path}/branches", params={"search": tree.main[-8:]})
    assert [one["id"] for one in answer["branches"]] == [tree.main]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("sort_by", ["name", "created_at", "updated_at"])
@pytest.mark.parametrize("sort_order", ["asc", "desc"])
def test_pages(tree: Project, limit: int, sort_by: str, sort_order: str) -> None:
    """The pages together are the whole list, in its order."""
    query = {"sort_by": sort_by, "sort_order": sort_order}
    whole = tree.client.get(f"{tree.path}/branches", params=query)["branches"]
    pages = _pages(tree, "branches", "branches", "next", limit=limit, **query)
    assert [one for page in pages for one in page] == whole
    assert all(len(page) == limit for page in pages[:-1])


def test_last_cursor(tree: Project) -> None:
    """The last page has a cursor too, which says what it stands for."""
    answer = tree.client.get(f"{tree.path}/branches", params={"sort_by": "name"})
    place = json.loads(base64.b64decode(answer["pagination"]["next"]))
    assert place == {
        "branch_id": answer["branches"][-1]["id"],
        "sort_by": "name",
        "sort_by_value": "Beta",
        "sort_order": "DESC",
    }
    assert (answer["pagination"]["sort_by"], answer["pagination"]["sort_order"]) == ("name", "DESC")


def test_cursor_of_another_order(tree: Project) -> None:
    """A cursor is refused where the order is another one."""
    cursor = tree.client.get(f"{tree.path}/branches", params={"limit": 1})["pagination"]["next"]
    query = {"cursor": cursor, "sort_by": "name"}
    assert "cursor" in message(tree.client, "GET", f"{tree.path}/branches", 400, params=query)


def test_annotations(tree: Project) -> None:
    """Each branch of a list has its annotation there, as when it is asked for alone."""
    answer = tree.client.get(f"{tree.path}/branches", params={"limit": 2})
    assert answer["annotations"].keys() == {one["id"] for one in answer["branches"]}
    first = answer["branches"][0]
    annotation = tree.client.get(f"{tree.path}/branches/{first['id']}")["annotation"]
    assert answer["annotations"][first["id"]] == annotation
    assert annotation["object"] == {"type": "console/branch", "id": first["id"]}
    assert annotation["value"] == {"n": "gamma/x"}


def test_deleted(project: Project) -> None:
    """Deleted branches are in the list only when they are asked for, with the end of their life."""
    branch = project.branch(name="gone", compute=False)["branch"]
    project.client.delete(f"{project.path}/branches/{branch['id']}")
    project.branch(name="gone", compute=False)
    assert len(project.branches()) == 2
    listed = project.client.get(f"{project.path}/branches", params={"include_deleted": "true"})["branches"]
    (gone,) = [one for one in listed if one["id"] == branch["id"]]
    assert gone["recovery"]["deletion_method"] == "user"
    assert gone["recovery"]["recoverable_until"] == gone["recovery"]["deleted_at"]
    assert all("recovery" not in one for one in listed if one["id"] != branch["id"])
    message(project.client, "GET", f"{project.path}/branches/{branch['id']}", 404)


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_operations(tree: Project, limit: int) -> None:
    """Operations come in pages, the newest first, and each can be asked for by its id."""
    whole = tree.client.get(f"{tree.path}/operations")["operations"]
    pages = _pages(tree, "operations", "operations", "cursor", limit=limit)
    assert [one for page in pages for one in page] == whole
    assert [one["action"] for one in whole] == ["create_branch"] * 3 + ["start_compute", "create_timeline"]
    assert uuid.UUID(whole[0]["id"])
    assert tree.client.get(f"{tree.path}/operations/{whole[0]['id']}") == {"operation": whole[0]}


def test_cursor_as_it_is(tree: Project) -> None:
    """A cursor of operations can stand in a URL as it is."""
    first = tree.client.get(f"{tree.path}/operations", params={"limit": 1})
    second = tree.client.get(f"{tree.path}/operations?limit=1&cursor={first['pagination']['cursor']}")
    assert second["operations"][0]["id"] != first["operations"][0]["id"]
