"""Whom to try next, as transcripts: what happened, and what is to be done. No sockets, no waiting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from paig_gateway.domain.route import ActiveProvider, ActiveRoute, Credential, Member
from paig_gateway.formats.openai_chat import CHAT
from paig_gateway.pricing.overrides import PriceSources
from paig_gateway.pricing.price import PriceBook
from paig_gateway.routing.breaker import BreakerSpec
from paig_gateway.routing.candidates import Candidate, MemberOrder, candidates
from paig_gateway.routing.deadlines import Deadlines, Timeouts
from paig_gateway.routing.decisions import (
    Answered,
    Cover,
    Decisions,
    Leave,
    RelayResponse,
    Result,
    Step,
    Stop,
    TryCandidate,
    Unanswered,
    Unsigned,
)
from paig_gateway.routing.failures import UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from paig_gateway.routing.health import HealthTracker
from paig_gateway.routing.latency import Latencies
from paig_gateway.routing.retry_budget import RetriesSpec

NOW = datetime(2026, 11, 30, tzinfo=UTC)
BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hi"}],"max_completion_tokens":50}'
PRICES = PriceSources(PriceBook())


@dataclass
class Exchange:
    """A request, as far as deadlines need to know it."""

    route: ActiveRoute
    started: float = 0.0


class Play:
    """Decisions, played by words."""

    def __init__(self, members: str, deadline: float | None = None, retries: float = 100, stored: str | None = None):
        self.now = 0.0
        providers = [self._provider(word) for word in members.split()]
        self.route = ActiveRoute("both", tuple(Member(one, priority=-place) for place, one in enumerate(providers)))
        retry_rule = RetriesSpec(share=0.001, per_second=0, burst=retries)
        self.health = HealthTracker(lambda: self.now, lambda: NOW, BreakerSpec(), retry_rule)
        call = CHAT.read(None, BODY)
        order = candidates(
            self.route, CHAT, call, "/chat/completions", NOW, PRICES, MemberOrder(Latencies(lambda: self.now)), None,
            capped=False,
        )  # fmt: skip
        self.ceiling = order[0].ceiling
        deadlines = Deadlines(Timeouts(deadline=deadline))
        self.left_out: dict[str, str] = {}
        self.decisions = Decisions(Exchange(self.route), stored, order, deadlines, self.health, self._leave_out)
        self.spent = 0
        self.begun = False

    def _leave_out(self, left: Iterable[Candidate], why: str) -> None:
        for candidate in left:
            self.left_out.setdefault(candidate.provider.name, why)

    @staticmethod
    def _provider(word: str) -> ActiveProvider:
        name, _, credentials = word.partition("*")
        keys = tuple(Credential(f"{name}-{number}", "k") for number in range(int(credentials or "1")))
        return ActiveProvider(name=name, kind="openai", base_url="http://x/v1", credentials=keys)

    def play(self, script: str) -> list[str]:
        """What is done, word by word; what the ledger is asked for is granted unless the next word is `full`."""
        words = script.split()
        done = [self._said(self._covered(self.decisions.begin(self.now), words))]
        while words:
            word = words.pop(0)
            if word == "later":
                self.now += 10
                continue
            if word == "leaves":
                self.decisions.client_left()
                continue
            step = self.decisions.report(self._result(word), self.now, self.spent)
            done.append(self._said(self._covered(step, words)))
        return done

    def _covered(self, step: Step, words: list[str]) -> Step:
        while isinstance(step, Cover):
            assert step.total == self.spent + self.ceiling
            is_full = words[:1] == ["full"]
            if is_full:
                words.pop(0)
            elif words[:1] == ["leaves"]:
                self.decisions.client_left()
                words.pop(0)
            step = self.decisions.covered("no room" if is_full else None)
        return step

    def _result(self, word: str) -> Result:
        match word:
            case "ok":
                return Answered(None)
            case "fails":
                return Answered("member")
            case "rejects":
                return Answered("credential")
            case "has-not":
                return Answered("elsewhere")
            case "unsigned":
                return Unsigned("No token.")
        error = {
            "silent": UpstreamTimeout("no answer in time", sent=True),
            "refused": UpstreamUnreachable("connection refused", sent=False),
            "breaks": UpstreamBroken("body cut short", sent=True),
        }[word]
        failure = self.decisions.failure(error, self.now, begun=self.begun)
        self.spent += self.ceiling if failure.may_be_billed else 0
        return Unanswered(failure)

    @staticmethod
    def _said(step: Step) -> str:
        match step:
            case TryCandidate(candidate=candidate, last=last):
                return f"try {candidate.credential.id}{' (last)' if last else ''}"
            case RelayResponse(after_all=after_all):
                return "relay after all" if after_all else "relay"
            case Stop(error=error):
                return f"stop {error.code}"
            case Leave():
                return "leave"
        raise AssertionError(step)


@pytest.mark.parametrize(
    ("members", "script", "done"),
    [
        ("a", "ok", ["try a-0 (last)", "relay"]),
        ("a", "fails", ["try a-0 (last)", "relay after all"]),
        ("a", "silent", ["try a-0 (last)", "stop upstream-timeout"]),
        ("a", "refused", ["try a-0 (last)", "stop upstream-unreachable"]),
        ("a", "unsigned", ["try a-0 (last)", "stop upstream-unreachable"]),
        # The next member makes good what the first one failed at.
        ("a b", "fails ok", ["try a-0", "try b-0 (last)", "relay"]),
        ("a b", "silent ok", ["try a-0", "try b-0 (last)", "relay"]),
        ("a b", "refused ok", ["try a-0", "try b-0 (last)", "relay"]),
        ("a b", "unsigned ok", ["try a-0", "try b-0 (last)", "relay"]),
        ("a b", "breaks ok", ["try a-0", "try b-0 (last)", "relay"]),
        # A credential that is rejected is followed by the provider's next one, a member that fails by the next member.
        ("a*2 b", "rejects ok", ["try a-0", "try a-1", "relay"]),
        ("a*2 b", "unsigned rejects ok", ["try a-0", "try a-1", "try b-0 (last)", "relay"]),
        ("a*2 b", "fails ok", ["try a-0", "try b-0 (last)", "relay"]),
        # The last one's word is the client's; without an answer it is the gateway's.
        ("a b", "fails fails", ["try a-0", "try b-0 (last)", "relay after all"]),
        ("a b", "fails refused", ["try a-0", "try b-0 (last)", "stop upstream-unreachable"]),
        ("a b", "silent silent", ["try a-0", "try b-0 (last)", "stop upstream-timeout"]),
        # A cap that is full: nothing more is tried than it covers.
        ("a b", "fails full", ["try a-0", "relay after all"]),
        ("a b c", "fails full ok", ["try a-0", "try c-0 (last)", "relay"]),
        ("a b", "silent full", ["try a-0", "stop upstream-timeout"]),
        # A client that leaves.
        ("a b", "leaves", ["leave"]),
        ("a b", "full leaves", ["leave"]),
        ("a b", "full ok", ["try b-0 (last)", "relay"]),
        ("a b", "fails leaves", ["try a-0", "relay after all"]),
    ],
)
def test_a_transcript(members: str, script: str, done: list[str]) -> None:
    """What happens, word by word, and what is done."""
    assert Play(members).play(script) == done


@pytest.mark.parametrize(
    ("script", "done"),
    [
        ("later silent", ["try a-0", "stop upstream-timeout"]),
        ("later fails", ["try a-0", "relay after all"]),
        ("fails later silent", ["try a-0", "try b-0 (last)", "stop upstream-timeout"]),
    ],
)
def test_a_deadline_that_has_passed_ends_the_tries(script: str, done: list[str]) -> None:
    """What is at hand then is the client's."""
    assert Play("a b", deadline=5).play(script) == done


def test_a_deadline_that_has_passed_before_the_first_try() -> None:
    """Nobody is asked."""
    play = Play("a b", deadline=5)
    play.now = 6
    assert play.play("") == ["stop upstream-timeout"]


def test_retries_are_bounded() -> None:
    """Once the budget is spent, the first answer is the client's; to look for what is stored is no retry."""
    assert Play("a b c", retries=1.5).play("fails fails") == ["try a-0", "try b-0", "relay after all"]
    assert Play("a b", retries=1, stored="resp_1").play("has-not ok") == ["try a-0", "try b-0 (last)", "relay"]


@pytest.mark.parametrize(
    ("script", "done"),
    [
        ("has-not has-not", ["try a-0", "try b-0 (last)", "relay after all"]),
        # Who may have it did not answer, so nobody can say that it is not there.
        ("silent has-not", ["try a-0", "try b-0 (last)", "stop upstream-unreachable"]),
        ("has-not full", ["try a-0", "relay after all"]),
    ],
)
def test_what_is_stored_is_looked_for(script: str, done: list[str]) -> None:
    """Each account is asked once; that it is nowhere is only said when all have said so."""
    assert Play("a b", stored="resp_1").play(script) == done


def test_what_a_failure_says_of_the_provider() -> None:
    """A try that had only what others had left of the deadline, or whose answer was on its way, says nothing."""
    late = UpstreamTimeout("no end in time", sent=True)
    play = Play("a b", deadline=5)
    play.play("fails")
    play.now = 6
    assert not play.decisions.failure(late, play.now, begun=False).is_providers
    first = Play("a", deadline=5)
    first.play("")
    first.now = 6
    assert first.decisions.failure(late, first.now, begun=False).is_providers
    assert not first.decisions.failure(late, first.now, begun=True).is_providers
    refused = UpstreamUnreachable("connection refused", sent=False)
    assert not first.decisions.failure(refused, 1.0, begun=False).may_be_billed
    assert first.decisions.failure(refused, 1.0, begun=False, answered=True).may_be_billed


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("fails full", {"b": "no room"}),
        ("later fails", {"b": "the deadline of all tries was over"}),
        ("ok", {}),
    ],
)
def test_why_members_are_not_tried_is_told(script: str, why: dict[str, str]) -> None:
    """For the row, so that a reader need not guess."""
    play = Play("a b", deadline=5)
    play.play(script)
    assert play.left_out == why
