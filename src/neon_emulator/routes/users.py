"""Who asks, their organisation, and the regions: one of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint

from neon_emulator.errors import NotFound
from neon_emulator.http import emulation
from neon_emulator.schemas.answers import EMAIL, NAME, ORGANIZATION, OWNER, SUBSCRIPTIONS
from neon_emulator.service.limits import PLANS
from neon_emulator.service.projects import REGION

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

bp = Blueprint("users", __name__)

_SINCE = "2024-01-01T00:00:00Z"
_BILLING_TEXTS = ("address_city", "address_country", "address_line1", "address_line2")
_BILLING_MORE = ("address_postal_code", "address_state")


@bp.get("/users/me")
def show_user() -> ResponseReturnValue:
    """Tell who asks."""
    plan = emulation().settings.plan
    account = {"provider": "github", "email": EMAIL, "login": EMAIL, "name": NAME, "image": ""}
    return {
        "id": OWNER,
        "email": EMAIL,
        "login": EMAIL,
        "name": NAME,
        "last_name": "",
        "image": "",
        "auth_accounts": [account],
        "billing_account": _billing(plan),
        "active_seconds_limit": 0,
        "compute_seconds_limit": 0,
        "projects_limit": 1000,
        "branches_limit": PLANS[plan].branches,
        "max_autoscaling_limit": 8,
        "plan": SUBSCRIPTIONS[plan],
    }


@bp.get("/users/me/organizations")
def list_organizations() -> ResponseReturnValue:
    """List the organisations of who asks."""
    return {"organizations": [_organization()]}


@bp.get("/organizations/<org_id>")
def show_organization(org_id: str) -> ResponseReturnValue:
    """Tell about an organisation."""
    if org_id != ORGANIZATION:
        raise NotFound(f'organization not found; org_id:"{org_id}"')
    return _organization()


@bp.get("/regions")
def list_regions() -> ResponseReturnValue:
    """List the regions."""
    region = {"region_id": REGION, "name": "This machine", "default": True, "geo_lat": "", "geo_long": ""}
    return {"regions": [region]}


@bp.get("/auth")
def show_auth() -> ResponseReturnValue:
    """Tell how the request was authenticated."""
    return {"account_id": OWNER, "auth_method": "api_key_user"}


def _organization() -> dict[str, Any]:
    return {
        "id": ORGANIZATION,
        "name": NAME,
        "handle": "local-emulator",
        "plan": emulation().settings.plan,
        "created_at": _SINCE,
        "updated_at": _SINCE,
        "managed_by": "console",
    }


def _billing(plan: str) -> dict[str, Any]:
    return {
        **dict.fromkeys((*_BILLING_TEXTS, *_BILLING_MORE), ""),
        "state": "active",
        "payment_source": {"type": ""},
        "subscription_type": SUBSCRIPTIONS[plan],
        "payment_method": "none",
        "quota_reset_at_last": _SINCE,
        "name": NAME,
        "email": EMAIL,
    }
