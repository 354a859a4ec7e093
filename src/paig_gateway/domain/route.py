"""Providers and routes as the data plane sees them: resolved, immutable, in memory."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b

from paig_client.api.vocabulary import Choice, OnDisconnect

Chance = Callable[[str], float]
"""A number above 0, and at most 1, for a name: which of several comes first hangs on it."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential of a provider.

    Attributes:
        id: What it is called in the ledger, in logs and in metrics: the same on every node and after a restart, another
            once another secret is stored in its place. It tells nothing of the secret.
        secret: The secret itself; None if the provider needs none.
    """

    id: str
    secret: str | None = field(default=None, repr=False)


NO_CREDENTIAL = Credential("none")
"""Used for a provider without credentials, so that every provider has one."""


@dataclass(frozen=True, slots=True)
class ActiveProvider:
    """An upstream account with its decrypted credentials: never log it, never serialise it.

    Attributes:
        name: Its name, which is also that of its own route.
        kind: The row of the kinds table it goes by.
        base_url: Its address, without a trailing slash.
        credentials: Those that could be read, in the order of the settings; at least one.
        inject_cost: Whether costs are spliced into its answers.
        require_price: Whether a model without a price is refused.
        allow_unmetered: Whether endpoints are allowed whose cost the gateway cannot see.
        price_provider: The provider in genai-prices whose prices are used; None for the kind's own.
        price_factor: What the price book's prices are multiplied by: a discount.
        aliases: Names of models at the provider, and the models that they are priced and bounded as.
        provider_cost: Whether the charge that the provider states is the cost; otherwise it is our list price.
        stream_usage: Whether the gateway asks for usage in streams; None for the kind's own way.
        service_tier: The account's default service tier, if it is not the standard one.
        on_disconnect: What happens to the provider's answer if the client disconnects.
        settings: The kind's own settings: `project`, `location`, `token_url`, `storage_url`, `region`, `workspace`,
            `api_version`.
        timeouts: Seconds that a try may take, by phase, if it is not as the server has it.
        upstream_proxy: URL of the proxy through which it is reached, `direct` for none; None for the server's.
        upstream_ca: A PEM file of further certificate authorities; None for the server's.
    """

    name: str
    kind: str
    base_url: str
    credentials: tuple[Credential, ...] = (NO_CREDENTIAL,)
    inject_cost: bool = True
    require_price: bool = True
    allow_unmetered: bool = False
    price_provider: str | None = None
    price_factor: Decimal = Decimal(1)
    aliases: Mapping[str, str] = field(default_factory=dict)
    provider_cost: bool = True
    stream_usage: bool | None = None
    service_tier: str | None = None
    on_disconnect: OnDisconnect = "drain"
    settings: Mapping[str, str] = field(default_factory=dict)
    timeouts: Mapping[str, float] = field(default_factory=dict)
    upstream_proxy: str | None = None
    upstream_ca: str | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A provider's place in a route; see the contract for priority and weight."""

    provider: ActiveProvider
    priority: int = 0
    weight: int = 1
    models: Mapping[str, str] = field(default_factory=dict)

    def model(self, asked: str) -> str:
        """The model's name at this member."""
        return self.models.get(asked, asked)


def even(member: Member) -> float:
    """The pace of members if none is known to be faster."""
    return 0.0


@dataclass(frozen=True, slots=True)
class ActiveRoute:
    """A named group of providers; `members` are the active ones.

    Attributes:
        choice: How one of several members of the same priority is chosen.
        affinity: Whether the requests of one conversation go to the same member.
        timeouts: Seconds that a try may take, by phase, if it is not as the provider has it.
        deadline: Seconds that all tries may take together, if it is not as the server has it.
    """

    name: str
    members: tuple[Member, ...]
    choice: Choice = "weighted"
    affinity: bool = True
    timeouts: Mapping[str, float] = field(default_factory=dict)
    deadline: float | None = None

    def order(self, chance: Chance, pace: Callable[[Member], float] = even) -> list[Member]:
        """The members in the order of tries.

        By priority, those of weight 0 after their equals and as written; then by pace, then by weighted chance. With
        the same chances the order is the same, whatever other members there are: one that goes or comes moves no other.

        Args:
            chance: By provider's name.
            pace: Of a member: a smaller one comes first.
        """
        if len(self.members) == 1:
            return [self.members[0]]
        return sorted(
            self.members,
            key=lambda member: (
                -member.priority,
                member.weight == 0,
                pace(member),
                # Exponential keys give a weighted order without replacement.
                -math.log(chance(member.provider.name)) / member.weight if member.weight else 0.0,
            ),
        )


def by_luck(chance: random.Random) -> Chance:
    """Another chance each time."""
    return lambda name: 1.0 - chance.random()


def by_session(*names: str) -> Chance:
    """The same chance for the same name each time, on every node: rendezvous hashing.

    Args:
        names: The names to hash.
    """
    session = blake2b("\0".join(names).encode("utf-8", "surrogateescape"), digest_size=32).digest()

    def chance(name: str) -> float:
        return (int.from_bytes(blake2b(name.encode(), key=session, digest_size=8).digest()) + 1) / 2**64

    return chance
