"""Passwords kept out of what pytest shows of a failure: the values of variables, captured output, messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_branches import redaction

if TYPE_CHECKING:
    import pytest

_OURS = "_pytest."


class Redaction(redaction.Redaction):
    """Hides them in reports too."""

    def report(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Take them out of a report."""
        if self.hides:
            report.longrepr = self._value(report.longrepr)
            report.sections = self._value(report.sections)

    def _value(self, value: Any) -> Any:  # noqa: ANN401  a report is made of whatever pytest likes
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, (list, tuple)):
            return type(value)(self._value(each) for each in value)
        if type(value).__module__.startswith(_OURS):
            for name, each in list(vars(value).items()):
                setattr(value, name, self._value(each))
        return value
