"""What a request may cost at most, and what it did cost.

Enters: usage, a model's name, the time of the request. Leaves: whole nanodollars, with what is not certain about them.

- `price` reads the price book, `overrides` the operator's prices, `formula` compiles a price for speed.
- `worst_case` bounds a request before it is sent; `fit` finds the output maximum that fits what is left.
- `usage`, `units` and `answer` read what was used from an answer.

A bound must never be lower than the cost that follows; a unit without a price is never counted as free in silence.
"""

from __future__ import annotations
