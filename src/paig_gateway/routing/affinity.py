"""Finds the account that has a stored object, such as a response or a cached content: each is at one account only.

An object's id does not name the account, and the gateway changes no byte of an answer. So this process remembers which
account answered. For answers relayed by another process, or before this one started, it looks in the ledger by the
answer's id. If neither knows the account, the candidates are tried in turn until one has the object.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from paig_gateway.domain.route import ActiveRoute
from paig_gateway.routing.candidates import Candidate

Holder = tuple[str, str | None]
"""A provider's name, and the id of its credential if that is known."""
MOST_REMEMBERED = 20_000
LONGEST = 256
"""The most characters of an id that is remembered."""
_ELSEWHERE = re.compile(rb"not.?found|no such|does(?:n't| not) exist|PERMISSION_DENIED", re.IGNORECASE)
"""Matches the body of a 400 or 403 that means that an object does not exist."""


def has_not(status: int, body: bytes) -> bool:
    """Whether an answer means that the requested object is not stored at this account."""
    return status == 404 or (status in (400, 403) and _ELSEWHERE.search(body) is not None)


def has_several(route: ActiveRoute) -> bool:
    """Whether a route's requests may go to more than one account."""
    return len(route.members) > 1 or any(len(member.provider.credentials) > 1 for member in route.members)


async def unknown(stored: str) -> Holder | None:
    """The account is unknown."""
    return None


@dataclass(slots=True)
class Affinity:
    """Remembers which account answered: a stored object, such as a response, is at one account only.

    An object's id does not name the account, and the gateway changes no byte of an answer. For answers relayed by
    another process, or before this one started, the ledger is asked by the answer's id. If neither knows the account,
    the candidates are tried in turn until one has the object.

    Attributes:
        recall: Looks in the ledger for the account that gave an answer.
    """

    recall: Callable[[str], Awaitable[Holder | None]] = unknown
    _known: OrderedDict[str, Holder] = field(default_factory=OrderedDict)

    async def first(self, stored: str | None, order: list[Candidate]) -> list[Candidate]:
        """The candidates at the account that has the object of a request; all if the account is unknown.

        No other account has the object, and its answer, that the object does not exist, would mislead.
        """
        if stored is None or len(order) < 2 or len(stored) > LONGEST:
            return order
        holder = self._known.get(stored) or await self.recall(stored)
        if holder is None:
            return order
        provider, credential = holder
        of_provider = [one for one in order if one.provider.name == provider]
        return [one for one in of_provider if one.credential.id == credential] or of_provider or order

    def learn(self, route: ActiveRoute, candidate: Candidate, ids: Iterable[str | None]) -> None:
        """Remember which account answered, by the answer's id and by the object that the request continued."""
        if not has_several(route):
            return
        for stored in ids:
            if stored and len(stored) <= LONGEST:
                self._known[stored] = candidate.provider.name, candidate.credential.id
                self._known.move_to_end(stored)
        while len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
