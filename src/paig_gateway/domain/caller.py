"""The caller: a key, and everything that decides what it may do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from functools import cached_property
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from paig_client.api.vocabulary import KeyState, Stored, WhenTight
from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.limits import Limit
from paig_gateway.domain.named_limits import LimitRule


@dataclass(frozen=True)
class Caller:
    """A key as one snapshot of the directory has it.

    A field that has the name of a field of `KeySpec` is filled from it, lists as tuples.

    Attributes:
        key_id: The key's stable id (never its secret).
        key: The key's name.
        project_id: The project's id, or None.
        user_id: The user's id, or None.
        routes: Names of the routes it may use; None means all.
        models: Patterns (`gpt-5*`) of the allowed models; None means all.
        formats: Names of the API formats it may use; None means all.
        methods: HTTP methods it may use; None means all.
        networks: Networks it may be used from; None means all.
        project_networks: Networks that the keys of its project may be used from; None means all.
        limits: Every limit that binds it: its own, its user's, its project's, the organisation's.
        named: The named limits that may bind its requests, by what each of them is.
        when_tight: What happens if a request's worst case is more than a limit has left: `refuse`, `fit` (an
            output maximum is filled in), `lower` (one that the request states is lowered, too).
        allow_unmetered: Whether it may use endpoints whose cost the gateway cannot see, even if it has spending limits.
        stored: Which objects stored at providers it may use.
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
    routes: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    formats: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None
    project_networks: tuple[str, ...] | None = None
    limits: tuple[Limit, ...] = field(default=())
    named: tuple[LimitRule, ...] = ()
    when_tight: WhenTight = "fit"
    allow_unmetered: bool = False
    stored: Stored = "project"

    def may_use_model(self, model: str) -> bool:
        """Whether `model`, as the client named it, is among the key's models."""
        return self.models is None or any(fnmatchcase(model, pattern) for pattern in self.models)

    def check_models(self, names: Iterable[str], where: str = "") -> None:
        """Refuse models that the key may not use.

        Args:
            where: What names them, for the message; it begins with a comma.

        Raises:
            GatewayError: `model-not-allowed`, naming those that the key may use.
        """
        for name in names:
            if not self.may_use_model(name):
                raise GatewayError(
                    "model-not-allowed",
                    f"The key '{self.key}' may not use the model '{name}'{where}. It may use: "
                    f"{', '.join(self.models or ())}.",
                    details={"model": name},
                )

    def may_use_route(self, route: str) -> bool:
        return self.routes is None or route in self.routes

    def check_use(self, method: str, address: str | None) -> None:
        """Refuse a method or a client's address that the key is not restricted to.

        Raises:
            GatewayError: `not-allowed`.
        """
        if self.methods is not None and method not in self.methods:
            raise GatewayError(
                "not-allowed",
                f"The key '{self.key}' may not use {method}: it is restricted to {', '.join(self.methods) or 'none'}.",
            )
        if self._networks and not self.may_come_from(address):
            raise GatewayError(
                "not-allowed",
                f"The key '{self.key}' may not be used from {address or 'an unknown address'}: ask an administrator"
                " to add its network.",
            )

    def may_come_from(self, address: str | None) -> bool:
        """Whether a client's address is in the networks that the key is restricted to."""
        return all(_within(address, networks) for networks in self._networks)

    def check_format(self, format: str) -> None:
        """Refuse an API format that the key is not restricted to.

        Raises:
            GatewayError: `not-allowed`.
        """
        if self.formats is not None and format not in self.formats:
            raise GatewayError(
                "not-allowed",
                f"The key '{self.key}' may not use the API format {format}: it is restricted to"
                f" {', '.join(self.formats) or 'none'}.",
            )

    @cached_property
    def is_capped(self) -> bool:
        """Whether a hard limit on money binds all of its requests."""
        return any(limit.unit == "usd" and not limit.soft for limit in self.limits)

    @cached_property
    def has_raises(self) -> bool:
        """Whether the amount of a limit on all of its requests is raised for a while."""
        return any(limit.raises for limit in self.limits)

    @cached_property
    def _networks(self) -> tuple[tuple[_Network, ...], ...]:
        """The lists of networks in each of which the client must be."""
        given = (self.networks, self.project_networks)
        return tuple(tuple(map(ip_network, networks)) for networks in given if networks is not None)


_Network = IPv4Network | IPv6Network


def _within(address: str | None, networks: tuple[_Network, ...]) -> bool:
    try:
        found = ip_address((address or "").partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return any((mapped or found) in network for network in networks)
