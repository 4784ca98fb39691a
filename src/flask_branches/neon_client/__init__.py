"""Neon's management API, as far as branches need it."""

from __future__ import annotations

from flask_branches.neon_client.access import Access
from flask_branches.neon_client.client import UNSET, NeonClient, Unset
from flask_branches.neon_client.objects import BranchInfo, CreatedBranch, EndpointInfo, ProjectInfo

__all__ = [
    "UNSET",
    "Access",
    "BranchInfo",
    "CreatedBranch",
    "EndpointInfo",
    "NeonClient",
    "ProjectInfo",
    "Unset",
]
