"""The published description of Neon's API, which a client of it brings along, and answers held against it."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    import httpx2
    from tests.emulator.neonctl.command import Node

_FILE = "node_modules/@neondatabase/api-client/public-v2-for-users.gen.yaml"
_READ = (
    "process.stdout.write(JSON.stringify(require('yaml').parse(require('fs').readFileSync(process.argv[1], 'utf8'))))"
)


@dataclass
class Description:
    """The operations that are described, and those whose answers have been checked.

    Attributes:
        seen: the operations, each with the statuses that it was seen to answer.
    """

    document: dict[str, Any]
    seen: dict[str, set[int]] = field(default_factory=dict)

    @classmethod
    def read(cls, node: Node) -> Description:
        """Read the file that was installed; nothing of it is kept."""
        result = node.run("-e", _READ, _FILE, env={})
        assert result.returncode == 0, result.stderr
        return cls(_with_null(json.loads(result.stdout)))

    def check(self, answer: httpx2.Response) -> None:
        """Fail where an answer is not as described."""
        answer.read()
        path = answer.request.url.path.removeprefix("/api/v2")
        operation = self._operation(answer.request.method.lower(), path)
        responses = operation["responses"]
        described = self._resolved(responses.get(str(answer.status_code), responses["default"]))
        self.seen.setdefault(operation["operationId"], set()).add(answer.status_code)
        where = f"{operation['operationId']} answers {answer.status_code}"
        if "content" not in described:
            assert answer.content == b"", f"{where}: with a body"
            return
        assert answer.headers["content-type"].startswith("application/json"), where
        schema = {"allOf": [described["content"]["application/json"]["schema"]]}
        problems = [
            f"{where}: {'.'.join(map(str, problem.absolute_path))}: {problem.message}"
            for problem in self._validator(schema).iter_errors(answer.json())
        ]
        assert not problems, "\n".join(problems)

    def _operation(self, method: str, path: str) -> dict[str, Any]:
        fitting = [
            (template.count("{"), operations[method])
            for template, operations in self.document["paths"].items()
            if method in operations and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
        ]
        assert fitting, f"{method} {path} is not described"
        found: dict[str, Any] = min(fitting, key=lambda one: one[0])[1]
        return found

    def _resolved(self, part: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in part:
            for name in part["$ref"].removeprefix("#/").split("/"):
                part = self.document[name] if name == "components" else part[name]
        return part

    def _validator(self, schema: dict[str, Any]) -> Any:
        library = importlib.import_module("jsonschema")
        formats = library.FormatChecker(formats=())
        formats.checks("date-time", raises=ValueError)(_is_time)
        formats.checks("uuid", raises=ValueError)(lambda value: bool(UUID(value)))
        document = schema | {"components": self.document["components"]}
        return library.Draft4Validator(document, format_checker=formats)


def _is_time(value: object) -> bool:
    return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None


def _with_null(part: Any) -> Any:
    """A schema of OpenAPI 3.0 in the words of JSON Schema: what may be null says so by its type."""
    if isinstance(part, list):
        return [_with_null(one) for one in part]
    if not isinstance(part, dict):
        return part
    inner = {key: _with_null(value) for key, value in part.items()}
    return {"anyOf": [inner, {"type": "null"}]} if part.get("nullable") is True else inner
