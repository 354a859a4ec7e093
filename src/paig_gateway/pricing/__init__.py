"""What a request may cost at most, and what it did cost.

Usage and a model's name go in; whole nanodollars come out. `price` reads the price book, `overrides` the operator's own
prices, `worst_case` bounds a request before it is sent. Prices are those at the time of the request.
A bound must never be lower than the cost that follows.
"""

from __future__ import annotations
