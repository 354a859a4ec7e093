"""Providers and routes as the data plane sees them: resolved, immutable, in memory."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

OnDisconnect = Literal["drain", "cancel"]


@dataclass(frozen=True, slots=True)
class Credential:
    """What a provider is asked with.

    Attributes:
        id: What it is called in the ledger, in logs and in metrics: the same on every node and after a restart, another
            once another secret is stored in its place. It tells nothing of the secret.
        secret: The secret itself; None where the provider needs none.
    """

    id: str
    secret: str | None = field(default=None, repr=False)


NO_CREDENTIAL = Credential("none")
"""Stands in where a provider has none, so that every provider has something to be asked with."""


@dataclass(frozen=True, slots=True)
class Provider:
    """An upstream account, its credentials in the clear: never log, never serialise.

    Attributes:
        name: Its name, which is also that of its own route.
        kind: The row of the kinds table it goes by.
        base_url: Where it answers, without a trailing slash.
        credentials: Those that could be had, in the order in which they are written; at least one.
        inject_cost: Whether costs are spliced into its answers.
        require_price: Whether a model without a price is refused.
        price_provider: Whose prices in genai-prices; None for the kind's own.
        price_factor: What the price book's prices are multiplied by: a discount.
        service_tier: The account's default service tier, where it is not the standard one.
        on_disconnect: What becomes of the upstream answer when the client leaves.
        settings: The kind's own settings: `project`, `location`, `token_url`, `region`, `api_version`.
    """

    name: str
    kind: str
    base_url: str
    credentials: tuple[Credential, ...] = (NO_CREDENTIAL,)
    inject_cost: bool = True
    require_price: bool = True
    price_provider: str | None = None
    price_factor: Decimal = Decimal(1)
    service_tier: str | None = None
    on_disconnect: OnDisconnect = "drain"
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Member:
    """A provider's place in a route; see the contract for priority and weight."""

    provider: Provider
    priority: int = 0
    weight: int = 1
    models: Mapping[str, str] = field(default_factory=dict)

    def model(self, asked: str) -> str:
        """The model's name at this member."""
        return self.models.get(asked, asked)


@dataclass(frozen=True, slots=True)
class Route:
    """A named group of providers; `members` are the active ones."""

    name: str
    members: tuple[Member, ...]

    def order(self, draw: random.Random) -> list[Member]:
        """The members in the order in which they are to be tried: by priority, then by weighted chance."""
        if len(self.members) == 1:
            return [self.members[0]]
        # Exponential keys give a weighted order without replacement; weight 0 means only after the others.
        return sorted(
            self.members,
            key=lambda member: (
                -member.priority,
                draw.expovariate(member.weight) if member.weight > 0 else float("inf"),
            ),
        )
