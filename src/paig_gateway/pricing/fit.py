"""Finds the output maximum with which a request fits its limits (`when_tight`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

FLOOR = 1_024
"""The fewest output tokens that a request gets: a shorter answer is of little use."""

REASONING_FLOOR = 4_096
"""The same for models that think before they answer, if the request sets no budget for thinking."""

SHARE = 4
"""A fitted request takes at most one part in this many of the remaining amount, so that others have room."""


@dataclass(frozen=True, slots=True)
class Room:
    """The remaining amounts of the limits that bind a request.

    Attributes:
        money: Nanodollars left of the tightest limit on money; None if none binds.
        tokens: Tokens left of the tightest limit on tokens; None if none binds.
    """

    money: int | None
    tokens: int | None

    def holds(self, need: HoldSize, share: int = 1) -> bool:
        """Whether a request fits into a part of the room."""
        money = self.money is None or need.money * share <= self.money
        return money and (self.tokens is None or need.tokens * share <= self.tokens)


@dataclass(frozen=True, slots=True)
class HoldSize:
    """The hold of a request, in nanodollars and tokens."""

    money: int
    tokens: int


def least_output(thinking: int | None, reasoning: bool) -> int:
    """The smallest output maximum that a request is given.

    Args:
        thinking: The budget for thinking that it states, or None.
        reasoning: Whether the model may reason before it answers.
    """
    if thinking:
        return thinking + FLOOR
    return REASONING_FLOOR if reasoning else FLOOR


def largest(need: Callable[[int], HoldSize], room: Room, least: int, most: int, share: int = 1) -> int | None:
    """The largest output maximum with which a request takes at most one part in `share` of the room.

    Args:
        need: Returns the hold with an output maximum; it grows with the maximum.
        room: The remaining amounts.
        least: The smallest maximum to consider.
        most: The largest maximum to consider.
        share: See above.

    Returns:
        The maximum, or None if even `least` takes more.
    """
    if least > most or not room.holds(need(least), share):
        return None
    low, high = least, most
    while low < high:
        middle = (low + high + 1) // 2
        if room.holds(need(middle), share):
            low = middle
        else:
            high = middle - 1
    return low
