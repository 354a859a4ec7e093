"""The widgets of the screens: they draw what they are given, and fetch nothing.

`table` draws only the visible rows, `plot` draws charts, `chrome` has header, footer, messages, frames and tabs.
"""

from __future__ import annotations
