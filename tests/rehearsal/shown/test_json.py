"""The JSON form, and the schema that it is published with."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from datetime import datetime
from typing import Any

import jsonschema
import pytest
from tests.rehearsal.shown.reports import REPORTS, dangerous

from flask_branches.rehearsal import observed, report
from flask_branches.rehearsal.shown.json import json as as_json
from flask_branches.rehearsal.shown.json import schema

NAMES = vars(observed) | vars(report)
PARTS = sorted(name for name, each in NAMES.items() if dataclasses.is_dataclass(each))


@pytest.fixture
def validator() -> Any:
    jsonschema.Draft202012Validator.check_schema(schema())
    return jsonschema.Draft202012Validator(schema(), format_checker=jsonschema.FormatChecker())


def _described(name: str) -> dict[str, Any]:
    found: dict[str, Any] = schema() if name == "Report" else schema()["$defs"][name]
    return found


def _may_be(described: dict[str, Any]) -> set[str]:
    if "anyOf" in described:
        return {kind for each in described["anyOf"] for kind in _may_be(each)}
    if "$ref" in described:
        return {described["$ref"].rpartition("/")[2]}
    if "enum" in described or "const" in described:
        return {str(each) for each in described.get("enum", [described.get("const")])}
    kinds = described["type"] if isinstance(described["type"], list) else [described["type"]]
    return {f"array of {'/'.join(_may_be(described['items']))}" if each == "array" else each for each in kinds}


def _is(hint: Any) -> set[str]:
    if typing.get_origin(hint) is typing.Literal:
        return {str(each) for each in typing.get_args(hint)}
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return {kind for each in typing.get_args(hint) for kind in _is(each)}
    if typing.get_origin(hint) is tuple:
        return {f"array of {'/'.join(_is(typing.get_args(hint)[0]))}"}
    names = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
    return {names.get(hint, "string" if hint is datetime else hint.__name__)}


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_follows_the_schema(name: str, validator: Any) -> None:
    """Whatever was found, a program that knows the schema can read it."""
    validator.validate(json.loads(as_json(REPORTS[name])))


@pytest.mark.parametrize("name", PARTS)
def test_the_schema_has_every_field(name: str) -> None:
    """A field of a report is described, required and of its type; what is no field is refused."""
    part: Any = NAMES[name]
    hints = typing.get_type_hints(part, NAMES)
    computed = {key: each for key, each in vars(part).items() if isinstance(each, property)}
    hints |= {key: typing.get_type_hints(each.fget, NAMES)["return"] for key, each in computed.items()}
    described = _described(name)
    properties = {key: each for key, each in described["properties"].items() if key != "version"}

    assert properties.keys() == hints.keys()
    for key, each in properties.items():
        expected = {"0", "1", "2"} if key == "status" and name == "Report" else _is(hints[key])
        assert _may_be(each) == expected, key
    assert described["required"] == list(described["properties"])
    assert described["additionalProperties"] is False


@pytest.mark.parametrize("name", PARTS)
def test_every_field_is_explained(name: str) -> None:
    """A reader of the schema is told what a figure means, and in which unit a time or a size is."""
    described = _described(name)
    assert described["description"]
    for key, each in described["properties"].items():
        text = each.get("description") or schema()["$defs"][each["$ref"].rpartition("/")[2]]["description"]
        assert text.endswith(".")
        if each.get("type") == "number":
            assert "milliseconds" in text, key


def test_the_schema_has_nothing_else() -> None:
    """A part of a report that is no more is taken out of the schema."""
    assert sorted(schema()["$defs"]) == [name for name in PARTS if name != "Report"]


def test_figures_that_follow_from_others_are_said() -> None:
    """A reader of the JSON has nothing to add up."""
    found = json.loads(as_json(dangerous()))

    assert (found["version"], found["status"], found["started_at"]) == (1, 1, "2026-10-05T09:30:00Z")
    second = found["revisions"][1]
    assert second["blocking"][0]["longest_read"] == 12_424
    assert second["blocking"][0]["longest_write"] == 16_283
    assert second["locks"][0]["longest"] == second["locks"][0]["spans"][0]["length"] == 16_283
    assert found["revisions"][2]["rows"][0]["lost"] == 1_200


@pytest.mark.parametrize(("key", "value"), [("verdict", "perhaps"), ("took", "1 s"), ("more", 1), ("version", 2)])
def test_what_is_no_report_is_refused(key: str, value: object, validator: Any) -> None:
    """The schema is exact: an unknown key, a wrong type, another version do not pass."""
    assert not validator.is_valid({**json.loads(as_json(dangerous())), key: value})
