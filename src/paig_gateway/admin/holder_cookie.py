"""The sealed cookie of the page `/me`: it names a key by its hash, or a person after single sign-on.

The page's forms carry a proof that only the page contains, so that the cookie alone cannot change anything.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from paig_gateway.admin.services import AdminServices
from paig_gateway.admin.site import HOLDER
from paig_gateway.secrets.errors import SecretKeyError

HOLDER_SECONDS = 12 * 3600
"""How long a browser may look at the page at most."""
PURPOSE = "holder"


@dataclass(frozen=True, slots=True)
class HolderCookie:
    """What a browser has shown.

    Attributes:
        key: The SHA-256 of a key's secret, in hex; empty for a person.
        user: The id of a person's user; empty for a key.
        proof: What the page's forms must carry.
    """

    key: str
    user: str
    proof: str

    def is_proof(self, given: str) -> bool:
        """Whether a form carries the proof of this cookie."""
        return hmac.compare_digest(given.encode(), self.proof.encode())


def keep_holder(
    services: AdminServices, request: Request, response: Response, until: datetime, *, key: str = "", user: str = ""
) -> None:
    """Have the browser keep the cookie of a key or a person.

    Args:
        services: The gateway's.
        request: The request.
        response: The answer.
        until: When the cookie ends; it never lasts longer than `HOLDER_SECONDS`.
        key: The SHA-256 of the key's secret.
        user: The id of the person's user.
    """
    now = services.clock().timestamp()
    seconds = round(min(until.timestamp() - now, HOLDER_SECONDS))
    note = json.dumps({"key": key, "user": user, "until": now + seconds})
    sealed = services.catalog.secrets.vault.seal(note.encode(), PURPOSE).decode()
    services.site.set_cookie(response, request, HOLDER, sealed, seconds)


def read_holder(services: AdminServices, request: Request) -> HolderCookie | None:
    """What a browser has shown; None if it is nothing, or not of use any more."""
    try:
        cookie = services.site.cookie(request, HOLDER)
        note = json.loads(services.catalog.secrets.vault.open(cookie.encode(), PURPOSE)) if cookie else None
    except (SecretKeyError, SQLAlchemyError, ValueError):
        return None
    if not isinstance(note, dict) or note["until"] <= services.clock().timestamp():
        return None
    proof = sha256(f"proof of {cookie}".encode()).hexdigest()
    return HolderCookie(note["key"], note.get("user", ""), proof)
