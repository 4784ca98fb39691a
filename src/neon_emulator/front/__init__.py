"""The endpoints' front: it ends TLS, checks passwords, wakes what sleeps, and passes a session's bytes on."""

from __future__ import annotations
