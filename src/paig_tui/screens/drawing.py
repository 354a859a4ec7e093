"""Drawing a screen a little later, when it may be closed already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.screen import Screen


def draw_later(screen: Screen[Any], draw: Callable[[], None]) -> None:
    """Draw after the next refresh, unless the screen is not open by then: a closed one has no widgets."""

    def draw_if_open() -> None:
        if screen in screen.app.screen_stack:
            draw()

    screen.call_after_refresh(draw_if_open)
