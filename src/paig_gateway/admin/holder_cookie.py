"""The cookie of the page `/me`: sealed, it names keys by their hashes, or a person who came by single sign-on.

The page's forms carry a proof that only the page contains, so that the cookie alone cannot change anything.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
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
MOST_KEYS = 10
"""Keys that a browser may look at together."""


@dataclass(frozen=True, slots=True)
class HolderCookie:
    """What a browser has shown.

    Attributes:
        keys: The SHA-256 of each key's secret, in hex; empty for a person.
        user: The id of a person's user; empty for a key.
        proof: What the page's forms must carry.
    """

    keys: tuple[str, ...]
    user: str
    proof: str

    def is_proof(self, given: str) -> bool:
        """Whether a form carries the proof of this cookie."""
        return hmac.compare_digest(given.encode(), self.proof.encode())


def keep_holder(
    services: AdminServices,
    request: Request,
    response: Response,
    until: datetime,
    *,
    keys: Sequence[str] = (),
    user: str = "",
) -> None:
    """Have the browser keep the cookie of keys or of a person.

    Args:
        until: When the cookie ends; it never lasts longer than `HOLDER_SECONDS`.
        keys: The SHA-256 of each key's secret; of more than `MOST_KEYS` the last ones.
        user: The id of the person's user.
    """
    now = services.clock().timestamp()
    seconds = round(min(until.timestamp() - now, HOLDER_SECONDS))
    note = json.dumps({"keys": list(keys)[-MOST_KEYS:], "user": user, "until": now + seconds})
    sealed = services.catalog.secrets.vault.seal(note.encode(), PURPOSE).decode()
    services.site.set_cookie(response, request, HOLDER, sealed, seconds)


def read_holder(services: AdminServices, request: Request) -> HolderCookie | None:
    """What a browser has shown; None without a valid cookie."""
    try:
        cookie = services.site.cookie(request, HOLDER)
        note = json.loads(services.catalog.secrets.vault.open(cookie.encode(), PURPOSE)) if cookie else None
    except (SecretKeyError, SQLAlchemyError, ValueError):
        return None
    if not isinstance(note, dict) or note["until"] <= services.clock().timestamp():
        return None
    proof = sha256(f"proof of {cookie}".encode()).hexdigest()
    keys = note.get("keys") or filter(None, [note.get("key", "")])  # one key: as earlier releases wrote it
    return HolderCookie(tuple(keys), note.get("user", ""), proof)
