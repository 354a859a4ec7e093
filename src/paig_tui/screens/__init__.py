"""One module and one style sheet for each screen."""

from __future__ import annotations
