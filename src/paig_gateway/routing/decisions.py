"""Which candidate to try next, when to give up, and what the client receives: a state machine without I/O.

`proxy.failover` drives it: it sends, reads and asks the ledger, and reports the results:

    begin ──► Cover ──covered──► Try ──report──► Relay    an answer that is the client's
                ▲ └──► no candidate is left, or no time, money or retries: Relay or Stop
                └──────────────────────────────────┘      one more try, for which the ledger must hold enough

A client that disconnects (`leave`), a deadline that has passed and a full cap are events like any other. Each event
brings its time. `HealthTracker`, in memory, knows the health of the members.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from paig_client.api.errors import ErrorCode
from paig_gateway.domain.errors import GatewayError
from paig_gateway.routing.candidates import Candidate
from paig_gateway.routing.deadlines import Deadlines, TimedRequest
from paig_gateway.routing.failures import UpstreamError, UpstreamTimeout
from paig_gateway.routing.health import HealthTracker
from paig_gateway.routing.verdicts import Reach

# What to do


@dataclass(frozen=True, slots=True)
class TryCandidate:
    """Send the request to a candidate.

    Attributes:
        last: Whether no other candidate is left, so that the client gets its answer in any case.
    """

    candidate: Candidate
    last: bool


@dataclass(frozen=True, slots=True)
class Cover:
    """Make the ledger hold `total` nanodollars for a try, and report by `covered` whether it does."""

    candidate: Candidate
    total: int


@dataclass(frozen=True, slots=True)
class RelayResponse:
    """Relay the present answer to the client.

    Attributes:
        after_all: Whether it is a failure that is relayed because no other candidate succeeded; the try's charge is
            undone.
    """

    after_all: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """Answer with an error."""

    error: GatewayError


@dataclass(frozen=True, slots=True)
class Leave:
    """Stop: the client has disconnected."""


Step = TryCandidate | Cover | RelayResponse | Stop | Leave

# Results of a try


@dataclass(frozen=True, slots=True)
class Answered:
    """The provider answered.

    Attributes:
        reach: Which other candidates may succeed; None if the client gets this answer.
    """

    reach: Reach | None


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No complete answer came."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Unsigned:
    """The candidate's credential cannot be used.

    Attributes:
        reason: The reason, in a sentence without the credential.
    """

    reason: str


Result = Answered | Unanswered | Unsigned


@dataclass(frozen=True, slots=True)
class Failure:
    """The result of a try without an answer.

    Attributes:
        error: The error for the client if no other candidate is tried.
        is_providers: Whether it counts against the provider's health. It does not if earlier tries had used up part
            of the deadline, or if an answer was arriving when the deadline passed.
        may_be_billed: Whether the provider may continue the work, so that it is charged at its ceiling.
    """

    error: GatewayError
    is_providers: bool
    may_be_billed: bool


class Decisions:
    """The tries of one request.

    Attributes:
        order: The remaining candidates, the next one first.
        tries: The number of tries so far.
    """

    def __init__(
        self,
        exchange: TimedRequest,
        stored: str | None,
        order: Iterable[Candidate],
        deadlines: Deadlines,
        health: HealthTracker,
        leave_out: Callable[[Iterable[Candidate], str], None],
    ) -> None:
        """Decide for one request.

        Args:
            exchange: The request, with its route and its time.
            stored: The stored object that it needs, which only one account has, or None.
            order: The candidates, in the order of the route.
            deadlines: How long it may take.
            leave_out: Receives the reason why a candidate is not tried.
        """
        self.order = deque(order)
        self.tries = 0
        self._exchange = exchange
        self._stored = stored
        self._deadlines = deadlines
        self._health = health
        self._leave_out = leave_out
        self._present: Candidate | None = None
        self._chosen: Candidate | None = None
        self._spent = 0
        self._failure: GatewayError | None = None
        self._has_answer = self._seeks = False
        self._unknown_holder = False
        """Whether a candidate failed without saying if it stores the object."""

    def begin(self, now: float) -> Step:
        """The first step, at that moment of the monotonic clock."""
        if self._deadlines.is_over(self._exchange, now):
            return Stop(self._deadlines.ran_out(self._exchange, 0, None))
        self._health.request(self._exchange.route.name)
        return self._look_for_another()

    def report(self, result: Result, now: float, spent: int) -> Step:
        """What to do after a try.

        Args:
            now: The present moment of the monotonic clock.
            spent: What the request has cost so far, this try included, in nanodollars.
        """
        self._spent = spent
        self._seeks, reach = False, "member"
        match result:
            case Answered(reach=None):
                return RelayResponse(after_all=False)
            case Answered(reach=found):
                self._failure, self._has_answer = None, True
                self._seeks, reach = found == "elsewhere", found or "member"
            case Unsigned(reason=reason):
                self._failure = GatewayError("upstream-unreachable", f"{reason} Ask an administrator to fix it.")
                self._has_answer, reach = False, "credential"
            case Unanswered(failure=failure):
                self._failure, self._has_answer = failure.error, False
        if reach == "member":
            self._pass_over(self._present)
        if self._deadlines.is_over(self._exchange, now):
            self._leave_out(self.order, "the deadline of all tries was over")
            return self._end()
        return self._look_for_another()

    def covered(self, short: str | None) -> Step:
        """The next step, after the ledger was asked to hold enough for the next try.

        Args:
            short: Why it does not; None if it does.
        """
        assert self._chosen is not None
        if short is not None:
            # One that costs less may have room.
            if self.order:
                self._leave_out([self._chosen], short)
                self._pass_over(self.order.popleft())
            return self._look_for_another()
        if not self.tries:
            return self._try()
        # After the client has disconnected, nothing is tried; or another request may have taken the probe.
        if self.order and not (self._pick() and self.order[0] is self._chosen):
            return self._look_for_another()
        # Searching for the provider that stores an object is not a retry: no try failed, and each provider gets one.
        if self.order and (self._seeks or self._health.retry(self._exchange.route.name)):
            self._unknown_holder = self._unknown_holder or not self._seeks
            return self._try()
        self._leave_out(self.order, "the route had made as many retries as it may")
        return self._end()

    def client_left(self) -> None:
        """Note that the client has disconnected: the running try is charged, and no other one begins."""
        self.order.clear()

    def failure(self, error: UpstreamError, now: float, *, begun: bool, answered: bool = False) -> Failure:
        """Classify a try without a complete answer.

        Args:
            now: The present moment of the monotonic clock.
            begun: Whether the answer's first byte had arrived.
            answered: Whether the answer's head had arrived.
        """
        assert self._present is not None
        provider = self._present.provider
        late = isinstance(error, UpstreamTimeout)
        over = late and self._deadlines.is_over(self._exchange, now)
        happened = "did not answer in time" if late else "could not be reached"
        code: ErrorCode = "upstream-timeout" if late else "upstream-unreachable"
        failure = GatewayError(code, f"The provider '{provider.name}' {happened} ({error.reason}).")
        if over:
            failure = self._deadlines.ran_out(self._exchange, self.tries, provider)
        return Failure(failure, not over or (self.tries == 1 and not begun), (error.sent and late) or answered)

    def _try(self) -> Step:
        if not self.order:
            return Leave()
        self._present = self.order.popleft()
        self.tries += 1
        return TryCandidate(self._present, last=not self.order)

    def _look_for_another(self) -> Step:
        if not self._pick():
            self._leave_out(self.order, "its circuit breaker is open, or it asked to wait")
            return self._end()
        self._chosen = self.order[0]
        return Cover(self._chosen, self._spent + self._chosen.ceiling)

    def _pick(self) -> bool:
        # "Not stored here" is not the answer as long as another candidate may have the object.
        return self._health.pick(self.order, answered=self._has_answer and self._stored is None)

    def _end(self) -> Step:
        if not self._has_answer:
            return Stop(self._failure) if self._failure is not None else Leave()
        if self._seeks and (self._unknown_holder or self.order):
            assert self._present is not None
            return Stop(
                GatewayError(
                    "upstream-unreachable",
                    f"'{self._stored}' is unknown to '{self._present.provider.name}', and the one that may have it "
                    "did not answer: try again.",
                )
            )
        return RelayResponse(after_all=True)

    def _pass_over(self, candidate: Candidate | None) -> None:
        """Do not try that member again, even with other credentials."""
        if candidate is not None:
            left = [other for other in self.order if other.member is not candidate.member]
            if len(left) < len(self.order):
                self.order.clear()
                self.order.extend(left)
