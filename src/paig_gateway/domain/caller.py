"""Who is asking: a key, resolved against one snapshot of the directory."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Literal

from paig_gateway.domain.limits import Limit

WhenTight = Literal["refuse", "fit", "lower"]
KeyState = Literal["active", "disabled", "blocked"]


@dataclass(frozen=True, slots=True)
class Caller:
    """A key and everything that decides what it may do.

    Attributes:
        key_id: The key's stable id (never its secret).
        key: The key's name.
        project_id: The project's id, or None.
        user_id: The user's id, or None.
        routes: Names of the routes it may use; None means all.
        models: Patterns (`gpt-5*`) of the models it may ask for; None means all.
        limits: Every limit that binds it: its own, its user's, its project's, the organisation's.
        when_tight: What becomes of a request whose worst case does not fit what is left of a limit: `refuse`, `fit` (an
            output maximum is filled in), `lower` (one that the request states is lowered, too).
        expires_at: When it stops working, or None.
    """

    key_id: str
    key: str
    project_id: str | None = None
    project: str | None = None
    user_id: str | None = None
    user: str | None = None
    state: KeyState = "active"
    expires_at: datetime | None = None
    routes: frozenset[str] | None = None
    models: tuple[str, ...] | None = None
    limits: tuple[Limit, ...] = field(default=())
    when_tight: WhenTight = "fit"

    def may_use_model(self, model: str) -> bool:
        """Whether `model`, as the client named it, is among the key's models."""
        return self.models is None or any(fnmatchcase(model, pattern) for pattern in self.models)

    def may_use_route(self, route: str) -> bool:
        """Whether the route of that name is open to the key."""
        return self.routes is None or route in self.routes
