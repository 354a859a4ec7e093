"""Whom a request is sent to: in which order the members of its route, and each with which of its credentials.

The order says who comes before whom as far as the route, the request and what was measured go. How providers fare at
the moment is not looked at here: who knows that takes the first who may be asked, and the others stay in order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from paig_gateway.domain.latency import Latencies
from paig_gateway.domain.routing import Chance, Credential, Member, Provider, Route, by_luck, by_session, even
from paig_gateway.formats.base import Call, Format
from paig_gateway.plane.exchange import Exchange, Outcome, Session


@dataclass(slots=True)
class Choice:
    """Orders what could be tried. It belongs to one event loop, so that nothing in it is locked.

    Attributes:
        latencies: How fast members were of late.
        draw: Where chance comes from.
    """

    latencies: Latencies
    draw: random.Random = field(default_factory=random.Random)
    _turns: dict[str, int] = field(default_factory=dict)

    def order(
        self, route: Route, fmt: Format, call: Call, session: Session | None
    ) -> list[tuple[Member, Sequence[Credential]]]:
        """The members in the order in which they are to be tried, each with its credentials in theirs.

        Args:
            route: Whose members.
            fmt: The request's format.
            call: The request.
            session: What is to stay with the same member, and there with the same credential; None where nothing is.
        """
        chance = by_session(*session) if session is not None and route.affinity else None
        if chance is not None or route.choice == "weighted":
            members = route.order(chance or by_luck(self.draw))
        else:
            members = route.order(by_luck(self.draw), self._pace(route, fmt, call))
        return [(member, self._credentials(member.provider, chance)) for member in members]

    def learn(self, exchange: Exchange, outcome: Outcome) -> None:
        """Take in how long each member that was tried took to the first byte of its answer, or to be given up on."""
        if exchange.route.choice != "latency":
            return
        for attempt in outcome.attempts:
            place = (str(attempt["provider"]), exchange.fmt.name, str(attempt["model"]), exchange.call.stream)
            if attempt.get("status") is None and attempt.get("error") == "upstream-timeout":
                self.latencies.measured(place, float(str(attempt["ms"])) / 1000)
            elif attempt is outcome.attempts[-1] and outcome.first_byte is not None and (outcome.status or 500) < 400:
                began = exchange.started + float(str(attempt["began_ms"])) / 1000
                self.latencies.measured(place, outcome.first_byte - began)

    def _pace(self, route: Route, fmt: Format, call: Call) -> Callable[[Member], float]:
        """Ranks by latency, among equals alone; who stands by is not tried out."""
        if len(route.members) == 1:
            return even
        ranks: dict[int, float] = {}
        weighty = sorted((member for member in route.members if member.weight), key=lambda member: -member.priority)
        for number, (_, found) in enumerate(groupby(weighty, key=lambda member: member.priority)):
            equals = list(found)
            places = [(one.provider.name, fmt.name, one.model(call.model), call.stream) for one in equals]
            if len(equals) > 1:
                found_ranks = self.latencies.ranks(places, explore=number == 0)
                ranks.update(zip(map(id, equals), found_ranks, strict=True))
        return lambda member: ranks.get(id(member), 0.0)

    def _credentials(self, provider: Provider, chance: Chance | None) -> Sequence[Credential]:
        """In turn, so that each is the first one as often as any other; of a session, always in the same order."""
        credentials = provider.credentials
        if len(credentials) == 1:
            return credentials
        if chance is not None:
            return sorted(credentials, key=lambda credential: chance(f"{provider.name}\0{credential.id}"))
        turn = self._turns[provider.name] = (self._turns.get(provider.name, -1) + 1) % len(credentials)
        return credentials[turn:] + credentials[:turn]
