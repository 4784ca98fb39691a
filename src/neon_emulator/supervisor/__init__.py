"""The one long-lived process beside the API: it owns the clusters and the endpoints' front."""

from __future__ import annotations
