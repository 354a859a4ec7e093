"""How large an output maximum may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from paig_gateway.pricing.fit import FLOOR, SHARE, HoldSize, Room, largest, least_output


def test_a_fitted_request_takes_a_quarter_of_what_is_left() -> None:
    assert (
        largest(lambda most: HoldSize(10_000 * most, most), Room(1_000_000_000, None), FLOOR, 128_000, SHARE) == 25_000
    )


def test_tokens_bind_as_money_does() -> None:
    assert largest(lambda most: HoldSize(0, 100 + most), Room(None, 20_000), FLOOR, 128_000, SHARE) == 4_900


def test_what_does_not_fit_is_not_fitted() -> None:
    assert largest(lambda most: HoldSize(10 * most, most), Room(10_239, None), FLOOR, 128_000) is None
    assert largest(lambda most: HoldSize(10 * most, most), Room(10_240, None), FLOOR, 128_000) == FLOOR


def test_a_maximum_is_never_above_the_largest_that_may_be_set() -> None:
    assert largest(lambda most: HoldSize(most, most), Room(10**12, None), FLOOR, 16_384) == 16_384
    assert largest(lambda most: HoldSize(most, most), Room(10**12, None), FLOOR, FLOOR - 1) is None


def test_the_floor_leaves_room_for_thinking() -> None:
    assert least_output(None, reasoning=False) == 1_024
    assert least_output(None, reasoning=True) == 4_096
    assert least_output(10_000, reasoning=True) == 11_024


@given(
    base=st.integers(0, 10**6),
    each=st.integers(0, 10**5),
    money=st.integers(0, 10**10),
    tokens=st.none() | st.integers(0, 10**6),
    most=st.integers(16, 10**6),
    share=st.integers(1, 4),
)
def test_the_largest_maximum_is_the_largest_that_fits(
    base: int, each: int, money: int, tokens: int | None, most: int, share: int
) -> None:
    def need(maximum: int) -> HoldSize:
        return HoldSize(base + each * maximum, 50 + maximum)

    room = Room(money, tokens)
    found = largest(need, room, FLOOR, most, share)
    if found is None:
        assert most < FLOOR or not room.holds(need(FLOOR), share)
        return
    assert FLOOR <= found <= most
    assert room.holds(need(found), share)
    assert found == most or not room.holds(need(found + 1), share)
