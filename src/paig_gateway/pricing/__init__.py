"""Pricing: the worst-case cost of a request, and its cost.

In: usage, a model's name, the time of the request. Out: whole nanodollars, and why a cost is not exact.

- `price` reads the price book, `overrides` the operator's prices, `formula` compiles a price for speed.
- `worst_case` bounds a request before it is sent; `fit` finds an output maximum that fits the limits.
- `usage`, `units` and `answer` read the usage of an answer.

A bound must never be lower than the cost that follows; a unit without a price is never counted as free in silence.
"""

from __future__ import annotations
