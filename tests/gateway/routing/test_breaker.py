"""The circuit breaker, over time that only the tests move."""

from __future__ import annotations

import random
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from paig_client.api.vocabulary import BreakerState
from paig_gateway.routing.breaker import JITTER, MOST_WAITS, NEXT, PROBES, Breaker, BreakerSpec

RULE = BreakerSpec(failures=5, share=0.25, tries=20, rest=5, longest=60)
MODEL = "gpt-5"


class Circuit:
    """A breaker and its clock."""

    def __init__(self, rule: BreakerSpec = RULE, seed: int = 0) -> None:
        self.now = 1000.0
        self.breaker = Breaker(rule, random.Random(seed), self.now)

    @property
    def state(self) -> BreakerState:
        return self.breaker.state

    def ready(self, model: str = MODEL) -> str:
        return self.breaker.readiness(model, self.now)[0]

    def ok(self, count: int = 1) -> None:
        for _ in range(count):
            self.breaker.ok(self.breaker.begin(self.now), MODEL, self.now, 0.5)

    def fail(self, count: int = 1, reason: str = "500") -> None:
        for _ in range(count):
            self.breaker.provider_failure(self.breaker.begin(self.now), self.now, reason)

    def rest(self) -> None:
        """Wait until the rest is over."""
        self.now = self.breaker.until

    @property
    def rests(self) -> float:
        """How long it rests."""
        return self.breaker.until - self.breaker.since


def test_a_row_of_failures_opens_it() -> None:
    """The fifth failure in a row opens; any good answer begins the row again."""
    circuit = Circuit()
    circuit.fail(4)
    circuit.ok()
    circuit.fail(4)
    assert (circuit.state, circuit.ready()) == ("closed", "ready")
    circuit.fail()
    assert (circuit.state, circuit.ready(), circuit.breaker.reason) == ("open", "failing", "500")


def test_a_share_of_failures_opens_it() -> None:
    """One in four fails: after twenty tries that is too much. One in ten never is."""
    circuit = Circuit()
    for _ in range(5):
        circuit.ok(3)
        circuit.fail()
    assert circuit.state == "open"
    steady = Circuit()
    for _ in range(300):
        steady.ok(9)
        steady.fail()
        steady.now += 1
    assert steady.state == "closed"


def test_old_failures_are_forgotten() -> None:
    """What failed more than half a minute ago does not count."""
    circuit = Circuit()
    for _ in range(4):
        circuit.ok(3)
        circuit.fail()
    circuit.now += 31
    circuit.fail()
    assert circuit.state == "closed"


def test_quick_failures_do_not_hide_slow_successes() -> None:
    """Of a thousand tries on their way ten fail at once: the others are still good until they are not."""
    circuit = Circuit()
    numbers = [circuit.breaker.begin(circuit.now) for _ in range(1000)]
    for number in numbers[:10]:
        circuit.breaker.provider_failure(number, circuit.now, "500")
        circuit.breaker.ok(circuit.breaker.begin(circuit.now), MODEL, circuit.now, 0.1)
    assert circuit.state == "closed"


def test_an_outage_shows_in_the_tries_that_began_in_it() -> None:
    """A provider that refuses connections is known by five of them, though slow answers from before still come in."""
    circuit = Circuit()
    before = [circuit.breaker.begin(circuit.now) for _ in range(1000)]
    for number in before[:5]:
        circuit.fail()
        circuit.breaker.ok(number, MODEL, circuit.now, 3.0)
    assert circuit.state == "open"


def test_a_provider_that_fell_silent_is_known_by_the_first_timeouts() -> None:
    """A hundred tries a second run into a timeout of ten seconds: the first few are enough."""
    circuit = Circuit()
    waiting: list[tuple[float, int]] = []
    failures = 0
    while circuit.state == "closed":
        circuit.now += 0.01
        waiting.append((circuit.now, circuit.breaker.begin(circuit.now)))
        if waiting[0][0] <= circuit.now - 10:
            circuit.breaker.provider_failure(waiting.pop(0)[1], circuit.now, "upstream-timeout")
            failures += 1
    assert failures == RULE.failures


def test_half_open_takes_few_and_closes_when_they_go_well() -> None:
    """After its rest two tries at once go through; when both are answered, all do."""
    circuit = Circuit()
    circuit.fail(5)
    circuit.now = circuit.breaker.until - 0.001
    assert circuit.ready() == "failing"
    circuit.rest()
    assert circuit.ready() == "ready"
    assert circuit.state == "half-open"
    first, second = (circuit.breaker.begin(circuit.now) for _ in range(PROBES))
    assert circuit.ready() == "failing"
    circuit.breaker.ok(first, MODEL, circuit.now, 0.5)
    assert (circuit.ready(), circuit.state) == ("ready", "half-open")
    circuit.breaker.ok(second, MODEL, circuit.now, 0.5)
    assert (circuit.ready(), circuit.state) == ("ready", "closed")


def test_a_failed_probe_doubles_the_rest_up_to_the_longest() -> None:
    """5, 10, 20, 40, 60, 60 seconds, each a fifth more or less, never above the longest."""
    circuit, rests = Circuit(), []
    circuit.fail(5)
    for _ in range(6):
        rests.append(circuit.rests)
        circuit.rest()
        assert circuit.ready() == "ready"
        circuit.fail()
        assert circuit.state == "open"
    for rest, nominal in zip(rests, (5, 10, 20, 40, 80, 160), strict=True):
        assert min(nominal * (1 - JITTER), 60) <= rest <= min(nominal * (1 + JITTER), 60)


def test_a_relapse_rests_longer_and_a_recovery_resets_the_rest() -> None:
    """Opening again soon after closing doubles the rest; after a long while in health it is the first again."""
    circuit = Circuit()
    circuit.fail(5)
    circuit.rest()
    assert circuit.ready() == "ready"
    circuit.ok(PROBES)
    circuit.fail(5)
    assert circuit.rests > 5 * (1 + JITTER)
    circuit.rest()
    assert circuit.ready() == "ready"
    circuit.ok(PROBES)
    circuit.now += 60
    circuit.fail(5)
    assert circuit.rests <= 5 * (1 + JITTER)


def test_a_refused_credential_cools_at_once() -> None:
    """One 401 is enough, and it is tried again after a rest."""
    circuit = Circuit()
    circuit.ok(100)
    circuit.breaker.credential_rejected(circuit.breaker.begin(circuit.now), circuit.now, "401")
    assert (circuit.state, circuit.ready(), circuit.breaker.reason) == ("cooling", "waiting", "401")
    circuit.rest()
    assert (circuit.ready(), circuit.state) == ("ready", "half-open")


def test_a_try_in_spite_of_an_open_breaker_counts_as_a_probe() -> None:
    """Without another member an open circuit is asked too: as many good answers as a probe needs close it."""
    circuit = Circuit()
    circuit.fail(5)
    until = circuit.breaker.until
    circuit.fail(20)
    assert (circuit.state, circuit.breaker.until) == ("open", until)
    circuit.ok(PROBES)
    assert circuit.state == "closed"


def test_a_lost_probe_does_not_block_for_ever() -> None:
    """Probes that never come back hold their places for one rest."""
    circuit = Circuit()
    circuit.fail(5)
    rest = circuit.rests
    circuit.rest()
    assert circuit.ready() == "ready"
    for _ in range(PROBES):
        circuit.breaker.begin(circuit.now)
    assert circuit.ready() == "failing"
    circuit.now += rest
    assert circuit.ready() == "ready"


def test_a_wait_holds_for_its_model_and_as_long_as_told() -> None:
    """Told to wait for 20 seconds, a credential waits for that model, and is no worse a credential for it."""
    circuit = Circuit()
    breaker = circuit.breaker
    breaker.rate_limited(breaker.begin(circuit.now), MODEL, circuit.now, "429", 20)
    assert breaker.readiness(MODEL, circuit.now) == ("waiting", circuit.now + 20)
    assert (circuit.state, circuit.ready("other")) == ("closed", "ready")
    circuit.now += 20
    assert circuit.ready() == "ready"


def test_a_wait_is_bounded() -> None:
    """Whoever asks for a day gets the longest rest."""
    circuit = Circuit()
    circuit.breaker.wait(MODEL, circuit.now, "429", 86_400)
    assert circuit.breaker.readiness(MODEL, circuit.now) == ("waiting", circuit.now + RULE.longest)


def test_a_wait_without_retry_after_is_guessed_and_grows() -> None:
    """Without a word of how long, it is the first rest, doubled while it was too short, and the first after a pause."""
    circuit, waits = Circuit(), []
    for pause in (0, 0, 0, 100):
        circuit.now += pause
        breaker = circuit.breaker
        breaker.rate_limited(breaker.begin(circuit.now), MODEL, circuit.now, "429", None)
        waits.append(breaker.waits[MODEL].seconds)
        circuit.now = breaker.waits[MODEL].until
    for wait, nominal in zip(waits, (5, 10, 20, 5), strict=True):
        assert nominal * (1 - JITTER) <= wait <= nominal * (1 + JITTER)


def test_a_good_answer_ends_a_wait_unless_it_was_on_its_way() -> None:
    """What was sent before the refusal proves nothing against it."""
    circuit = Circuit()
    breaker = circuit.breaker
    early = breaker.begin(circuit.now)
    breaker.rate_limited(breaker.begin(circuit.now), MODEL, circuit.now, "429", 20)
    breaker.ok(early, MODEL, circuit.now, 0.5)
    assert circuit.ready() == "waiting"
    circuit.ok()
    assert circuit.ready() == "ready"


def test_models_cannot_be_made_up_to_fill_the_memory() -> None:
    """A client that asks for ever new models leaves no more than so many waits."""
    circuit = Circuit()
    for number in range(10 * MOST_WAITS):
        circuit.breaker.wait(f"model-{number}", circuit.now, "429", 20)
    assert len(circuit.breaker.waits) == MOST_WAITS
    circuit.breaker.wait(MODEL, circuit.now, "429", 20)
    assert circuit.ready() == "waiting"  # though all of them are still running
    assert len(circuit.breaker.waits) == MOST_WAITS
    circuit.now += 21
    circuit.breaker.wait("late", circuit.now, "429", 20)
    assert set(circuit.breaker.waits) == {"late"}


def test_another_nodes_finding_is_believed_unless_we_know_better() -> None:
    """It opens a circuit that has heard nothing since; one that was answered, or closed, after it does not budge."""
    quiet = Circuit()
    quiet.now += 10
    quiet.breaker.peer_opened("open", quiet.now - 1, quiet.now + 4, "500", quiet.now)
    assert (quiet.state, quiet.breaker.own, quiet.breaker.until) == ("open", False, quiet.now + 4)
    quiet.rest()
    assert quiet.ready() == "ready"
    quiet.ok(PROBES)
    quiet.breaker.peer_opened("open", quiet.now - 1, quiet.now + 4, "500", quiet.now)
    assert quiet.state == "closed"
    busy = Circuit()
    busy.now += 10
    busy.ok()
    busy.breaker.peer_opened("open", busy.now - 1, busy.now + 4, "500", busy.now)
    busy.breaker.peer_waits(MODEL, busy.now - 1, busy.now + 4, "429", busy.now)
    assert (busy.state, busy.ready()) == ("closed", "ready")
    busy.breaker.peer_waits(MODEL, busy.now + 1, busy.now + 4, "429", busy.now)
    assert (busy.state, busy.ready()) == ("closed", "waiting")


def test_unused_entries_are_forgotten() -> None:
    """A half-open circuit is closed after the longest rest without a request, whatever became of the last one."""
    for probing in (False, True):
        circuit = Circuit()
        circuit.fail(5)
        rest = circuit.rests
        circuit.rest()
        assert circuit.breaker.look(circuit.now) == "half-open"
        if probing:
            circuit.now += 10
            circuit.breaker.begin(circuit.now)
        circuit.now += RULE.longest - 1
        assert circuit.breaker.look(circuit.now) == "half-open"
        circuit.now += 1 + (rest if probing else 0)
        assert circuit.breaker.look(circuit.now) == "closed"


def test_another_nodes_good_answers_close_an_idle_breaker() -> None:
    """An answer from before the failures proves nothing, nor does one while the circuit rests or tries by itself."""
    circuit = Circuit()
    before = circuit.now
    circuit.now += 1
    circuit.fail(5)
    circuit.breaker.peer_recovered(circuit.now + 1, circuit.now + 2)
    assert circuit.state == "open"
    circuit.rest()
    assert circuit.ready() == "ready"
    circuit.breaker.peer_recovered(before, circuit.now)
    assert circuit.state == "half-open"
    circuit.breaker.peer_recovered(circuit.now - 1, circuit.now)
    assert (circuit.state, circuit.ready()) == ("closed", "ready")
    trying = Circuit()
    trying.fail(5)
    trying.rest()
    assert trying.ready() == "ready"
    trying.breaker.begin(trying.now)
    trying.breaker.peer_recovered(trying.now, trying.now)
    assert trying.state == "half-open"


def test_switched_off_it_only_counts() -> None:
    """Whatever happens, everything is sent; and people still see what came of it."""
    circuit = Circuit(BreakerSpec(enabled=False))
    breaker = circuit.breaker
    circuit.fail(50)
    breaker.credential_rejected(breaker.begin(circuit.now), circuit.now, "401")
    breaker.rate_limited(breaker.begin(circuit.now), MODEL, circuit.now, "429", 20)
    breaker.peer_opened("open", circuit.now, circuit.now + 5, "500", circuit.now)
    breaker.peer_waits(MODEL, circuit.now, circuit.now + 5, "429", circuit.now)
    assert (circuit.state, circuit.ready(), breaker.outcomes.sums(circuit.now).tries) == ("closed", "ready", 52)


def test_the_tally_tells_of_five_minutes() -> None:
    """Counts, reasons and times; what is older is forgotten."""
    circuit = Circuit()
    tally = circuit.breaker.outcomes
    for tenth in range(1, 101):
        circuit.breaker.ok(circuit.breaker.begin(circuit.now), MODEL, circuit.now, tenth / 10)
    circuit.fail(2)
    circuit.breaker.rate_limited(circuit.breaker.begin(circuit.now), MODEL, circuit.now, "429", 1)
    sums = tally.sums(circuit.now)
    assert (sums.tries, sums.ok, sums.rate_limited, sums.failures) == (103, 100, 1, {"500": 2, "429": 1})
    assert sums.ok_share == pytest.approx(100 / 103)
    p95 = sums.quantile(0.95)
    assert p95 is not None
    assert 9.5 <= p95 <= 9.5 * 1.2
    assert (tally.last_error, tally.last_error_at) == ("429", circuit.now)
    circuit.now += 301
    assert (tally.sums(circuit.now).tries, tally.sums(circuit.now).quantile(0.95)) == (0, None)


def test_the_table_is_whole() -> None:
    """Every state has its row, leads to states, and is reached."""
    states = set(get_args(BreakerState))
    assert set(NEXT) == states
    assert {state for row in NEXT.values() for state in row.values()} == states


times = st.floats(0, 100)
outcomes = st.sampled_from(
    ["ok", "provider_failure", "credential_rejected", "rate_limited", "client_error", "broke_off"]
)


class AnyLife(RuleBasedStateMachine):
    """Whatever happens in whatever order, what the module promises holds."""

    @initialize(seed=st.integers(0, 1000))
    def start(self, seed: int) -> None:
        self.circuit = Circuit(seed=seed)
        self.pending: list[int] = []
        self.admitted: set[int] = set()

    @rule(seconds=times)
    def pass_time(self, seconds: float) -> None:
        self.circuit.now += seconds

    @rule(forced=st.booleans())
    def begin(self, forced: bool) -> None:
        """A request is sent if it may be, or all the same."""
        ready = self.circuit.ready() == "ready"
        if ready or forced:
            self.pending.append(self.circuit.breaker.begin(self.circuit.now))

    @precondition(lambda self: self.pending)
    @rule(outcome=outcomes, which=st.integers(0, 100), seconds=st.none() | times)
    def end(self, outcome: str, which: int, seconds: float | None) -> None:
        circuit, number = self.circuit, self.pending.pop(which % len(self.pending))
        breaker, now, before = circuit.breaker, circuit.now, circuit.state
        match outcome:
            case "ok":
                breaker.ok(number, MODEL, now, 1.0)
                assert circuit.state in (before, "closed")
            case "broke_off":
                breaker.ok(number, MODEL, now, 1.0)
                breaker.broke_off(number, now, "broken")
            case "provider_failure":
                breaker.provider_failure(number, now, "500")
                assert circuit.state in (before, "open")
            case "credential_rejected":
                breaker.credential_rejected(number, now, "401")
                assert circuit.state in (before, "cooling")
            case "rate_limited":
                breaker.rate_limited(number, MODEL, now, "429", seconds)
                assert circuit.state == before
            case "client_error":
                breaker.client_error(number, now)
                assert circuit.state == before

    @rule(state=st.sampled_from(["open", "cooling", "closed", "half-open"]), ago=times, ahead=times)
    def hear(self, state: BreakerState, ago: float, ahead: float) -> None:
        """Another node says so."""
        now = self.circuit.now
        self.circuit.breaker.peer_opened(state, now - ago, now + ahead, "another", now)
        self.circuit.breaker.peer_waits(MODEL, now - ago, now + ahead, "another", now)
        if state == "closed":
            self.circuit.breaker.peer_recovered(now - ago, now)

    @rule()
    def look(self) -> None:
        """Somebody looks."""
        assert self.circuit.breaker.look(self.circuit.now) in get_args(BreakerState)

    @invariant()
    def never_longer_than_the_longest(self) -> None:
        """No rest and no wait is longer, and a member that is not ready knows until when."""
        now = self.circuit.now
        readiness, until = self.circuit.breaker.readiness(MODEL, now)
        assert until <= now + RULE.longest + 1e-6
        assert (readiness == "ready") == (until <= now)
        if self.circuit.state == "closed" and readiness != "ready":
            assert readiness == "waiting"

    @invariant()
    def half_open_is_narrow(self) -> None:
        """A half-open circuit lets no more through at once than its probes."""
        if self.circuit.state != "half-open":
            return
        breaker = self.circuit.breaker
        taken = 0
        while breaker.readiness("another", self.circuit.now)[0] == "ready" and taken <= PROBES:
            self.pending.append(breaker.begin(self.circuit.now))
            taken += 1
        assert taken <= PROBES

    def teardown(self) -> None:
        """However it went, a rest and good answers close it."""
        if not hasattr(self, "circuit"):
            return
        circuit = self.circuit
        circuit.now += RULE.longest
        for _ in range(PROBES):
            circuit.ready()
            circuit.ok()
        assert circuit.state == "closed"


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.sampled_from(["ok", "client_error"]), max_size=200))
@settings(max_examples=30, deadline=None)
def test_clients_faults_never_open_it(outcomes: list[str]) -> None:
    """However many requests are their clients' own fault, nothing changes."""
    circuit = Circuit()
    for outcome in outcomes:
        number = circuit.breaker.begin(circuit.now)
        if outcome == "ok":
            circuit.breaker.ok(number, MODEL, circuit.now, 0.1)
        else:
            circuit.breaker.client_error(number, circuit.now, "403")
    assert (circuit.state, circuit.ready()) == ("closed", "ready")
