"""The health of providers: a circuit breaker for each credential, a retry budget for each route; all in memory."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from paig_gateway.domain.http import Headers
from paig_gateway.domain.route import ActiveProvider, Credential
from paig_gateway.routing import verdicts
from paig_gateway.routing.breaker import Breaker, BreakerSpec
from paig_gateway.routing.candidates import Candidate
from paig_gateway.routing.failures import Unsendable, UpstreamError, UpstreamTimeout
from paig_gateway.routing.retry_budget import RetriesSpec, RetryBudget
from paig_gateway.routing.verdicts import Verdict, retry_after, retry_after_in_body, until_refilled

CredentialName = tuple[str, str]
"""A credential: its provider's name, and its own id."""


@dataclass(slots=True)
class Entry:
    """A credential's breaker; another secret or another address gets a new one.

    Attributes:
        place: The provider's address and the secret: never log, never serialise.
    """

    breaker: Breaker
    place: tuple[str, str | None]

    def __repr__(self) -> str:
        return f"Entry({self.breaker.state})"


class Try:
    """One try at one candidate; its result is reported once.

    A try without a result says nothing about the provider.
    """

    __slots__ = ("_began", "_breaker", "_health", "_model", "_number", "_reported")

    def __init__(self, health: HealthTracker, candidate: Candidate) -> None:
        self._health = health
        self._breaker = health.entry(candidate.provider, candidate.credential).breaker
        self._model = candidate.model
        self._began = health.clock()
        self._number = self._breaker.begin(self._began)
        self._reported = False

    def answered(self, status: int, headers: Headers, body: bytes = b"") -> Verdict:
        """An answer came; its body is given if the status alone does not decide."""
        if status >= 400:
            # Words about the account must be the provider's own, not part of a model name that the client sent.
            text = body.replace(self._model.encode("utf-8", "replace"), b"") if body and self._model else body
            verdict = verdicts.of_status(status, text, dict(headers).get(b"x-amzn-errortype", b""))
            return self._report(
                verdict, str(status), retry_after(headers, self._health.now()) or retry_after_in_body(body)
            )
        now = self._health.clock()
        self._reported = True
        self._breaker.ok(self._number, self._model, now, now - self._began)
        if b"0" in [value for _, value in headers] and (
            (seconds := until_refilled(headers, self._health.now())) is not None
        ):
            self._breaker.wait(self._model, now, "used up", seconds)
        return "ok"

    def stream_error(self, error: str) -> Verdict:
        """A stream reported an error, as its first event or later."""
        return self._report(verdicts.of_error(error), verdicts.named(error), None)

    def failed(self, error: UpstreamError) -> Verdict:
        """No answer came, or it broke off."""
        if isinstance(error, Unsendable):
            return self._report("client_error", "", None)
        timeout = isinstance(error, UpstreamTimeout)
        return self._report("provider_failure", "upstream-timeout" if timeout else "upstream-unreachable", None)

    def credential_rejected(self, reason: str) -> None:
        self._report("credential_rejected", reason, None)

    def end(self) -> None:
        """End the try; without a result it is ignored."""
        if not self._reported:
            self._report("client_error", "", None)

    def _report(self, verdict: Verdict, reason: str, seconds: float | None) -> Verdict:
        breaker, number, now = self._breaker, self._number, self._health.clock()
        if self._reported:
            if verdict == "provider_failure":
                breaker.broke_off(number, now, reason)
            return verdict
        self._reported = True
        match verdict:
            case "provider_failure":
                breaker.provider_failure(number, now, reason)
                if seconds is not None:
                    breaker.wait(self._model, now, reason, seconds)
            case "credential_rejected":
                breaker.credential_rejected(number, now, reason)
            case "rate_limited":
                breaker.rate_limited(number, self._model, now, reason, seconds)
            case _:
                breaker.client_error(number, now, reason if reason == "403" else "")
        return verdict


class HealthTracker:
    """This process's record of the health of all providers."""

    def __init__(
        self,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        rule: BreakerSpec,
        retries: RetriesSpec,
        chance: random.Random | None = None,
    ) -> None:
        """Start without any observation.

        Args:
            clock: Monotonic seconds.
            rule: When breakers open.
            retries: How many retries there may be.
            chance: Returns a random number from 0 to 1.
        """
        self.clock = clock
        self.now = now
        self._rule = rule
        self._retries = retries
        self._random = chance or random.Random()
        self._entries: dict[CredentialName, Entry] = {}
        self._budgets: dict[str, RetryBudget] = {}

    def entry(self, provider: ActiveProvider, credential: Credential) -> Entry:
        name = provider.name, credential.id
        place = provider.base_url, credential.secret
        found = self._entries.get(name)
        if found is None or found.place != place:
            found = self._entries[name] = Entry(Breaker(self._rule, self._random, self.clock()), place)
        return found

    def breakers(self) -> Iterator[tuple[CredentialName, Breaker]]:
        for name, entry in list(self._entries.items()):
            yield name, entry.breaker

    def if_not_closed(self, provider: str, credential: str) -> Breaker | None:
        found = self._entries.get((provider, credential))
        return None if found is None or found.breaker.state == "closed" else found.breaker

    def forget(self, name: CredentialName) -> None:
        """Drop a credential whose provider was removed."""
        self._entries.pop(name, None)

    def pick(self, order: deque[Candidate], *, answered: bool = False) -> bool:
        """Move the next candidate to the front: the first that is ready, else the failing one that is due soonest.

        A candidate whose provider asked to wait comes last, and is not tried if another provider has answered already:
        its certain refusal would be worse than that answer. Without any answer it is tried, because the provider's own
        refusal is better than the gateway's.

        Returns:
            Whether a candidate is left to try.
        """
        if len(order) <= 1 and not answered:
            return bool(order)
        now = self.clock()
        best, best_rank = -1, (3, 0.0)
        for place, candidate in enumerate(order):
            breaker = self.entry(candidate.provider, candidate.credential).breaker
            readiness, until = breaker.readiness(candidate.model, now)
            if readiness == "ready":
                best, best_rank = place, (0, 0.0)
                break
            rank = (1 if readiness == "failing" else 2, until)
            if rank < best_rank:
                best, best_rank = place, rank
        if best < 0 or (answered and best_rank[0] == 2):
            return False
        if best:
            candidate = order[best]
            del order[best]
            order.appendleft(candidate)
        return True

    def begin(self, candidate: Candidate) -> Try:
        return Try(self, candidate)

    def request(self, route: str) -> None:
        self._budget(route).request()

    def retry(self, route: str) -> bool:
        """Whether a request of a route may be tried again; it is then counted."""
        return self._budget(route).take(self.clock())

    def refused_retries(self) -> dict[str, int]:
        return {route: budget.refused for route, budget in self._budgets.items()}

    def _budget(self, route: str) -> RetryBudget:
        found = self._budgets.get(route)
        if found is None:
            found = self._budgets[route] = RetryBudget(self._retries, self.clock())
        return found
