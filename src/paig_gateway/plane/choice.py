"""Whom a request is sent to: in which order the members of its route, and each with which of its credentials."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Protocol

from paig_gateway.domain.routing import Credential, Member, Provider, Route


class Usable(Protocol):
    """Whether a provider may be asked with a credential at all, at this moment.

    The seam towards whatever knows how they fare. It is asked once for each credential while the order of tries is
    made, by names alone (`Provider.name`, `Credential.id`), must not wait, and changes nothing. Members that have no
    usable credential are left out of the order, unless all of them are: then the order is as if all were usable.
    """

    def __call__(self, provider: str, credential: str) -> bool: ...


def always(provider: str, credential: str) -> bool:
    """A `Usable` that knows nothing."""
    return True


@dataclass(slots=True)
class Choice:
    """Orders what could be tried. It belongs to one event loop, so that nothing in it is locked.

    Attributes:
        draw: Where chance comes from.
        usable: Who may be asked.
    """

    draw: random.Random = field(default_factory=random.Random)
    usable: Usable = always
    _turns: dict[str, int] = field(default_factory=dict)

    def order(self, route: Route) -> list[tuple[Member, tuple[Credential, ...]]]:
        """The members in the order in which they are to be tried, each with its credentials in theirs."""
        found = [(member, self._credentials(member.provider)) for member in route.order(self.draw)]
        usable = [
            (member, open_to_use)
            for member, credentials in found
            if (open_to_use := tuple(one for one in credentials if self.usable(member.provider.name, one.id)))
        ]
        return usable or found

    def _credentials(self, provider: Provider) -> tuple[Credential, ...]:
        """In turn: each is the first one as often as any other."""
        credentials = provider.credentials
        if len(credentials) == 1:
            return credentials
        turn = self._turns[provider.name] = (self._turns.get(provider.name, -1) + 1) % len(credentials)
        return credentials[turn:] + credentials[:turn]
