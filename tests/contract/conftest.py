"""The contract suite is collected where schemathesis is installed: `tox -e contract` installs it."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("schemathesis") else ["test_contract.py"]
