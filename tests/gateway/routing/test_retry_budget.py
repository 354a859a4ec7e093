"""The budget for retries."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from paig_gateway.routing.retry_budget import RetriesSpec, RetryBudget


def test_a_member_that_fails_a_fifth_never_spends_it() -> None:
    """With a thousand requests a second, a fifth of which need a retry, no retry is refused for an hour."""
    budget, draw = RetryBudget(RetriesSpec(), 0.0), random.Random(1)
    for number in range(200_000):
        budget.request()
        if draw.random() < 0.2:
            assert budget.take(number / 1000)


def test_a_silent_provider_is_outlived() -> None:
    """A thousand requests that wait for a provider which fell silent may all go elsewhere at once."""
    budget = RetryBudget(RetriesSpec(), 0.0)
    assert all(budget.take(0.0) for _ in range(1000))
    assert not budget.take(0.0)
    assert budget.refused == 1


def test_it_comes_back_with_time() -> None:
    """Spent, there are ten a second."""
    budget = RetryBudget(RetriesSpec(burst=1), 0.0)
    assert budget.take(0.0)
    assert not budget.take(0.05)
    assert budget.take(0.11)


@given(
    rule=st.builds(RetriesSpec, share=st.floats(0.001, 1), per_second=st.floats(0, 50), burst=st.floats(0, 100)),
    steps=st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=300),
)
@settings(max_examples=60, deadline=None)
def test_retries_are_bounded(rule: RetriesSpec, steps: list[tuple[float, bool]]) -> None:
    """Never more than the burst, the share of the requests, and the trickle."""
    budget, now, requests, taken = RetryBudget(rule, 0.0), 0.0, 0, 0
    for seconds, is_request in steps:
        now += seconds
        if is_request:
            requests += 1
            budget.request()
        else:
            taken += budget.take(now)
        assert taken <= rule.burst + rule.share * requests + rule.per_second * now + 1e-6
