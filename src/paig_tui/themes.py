"""The colour themes; one is for people with red-green colour blindness (Okabe and Ito's colours)."""

from __future__ import annotations

from textual.theme import Theme

DEFAULT = "paig"
OURS = (
    Theme(
        name="paig",
        primary="#5B9DF9",
        secondary="#7FB4CA",
        accent="#C792EA",
        success="#5FD38D",
        warning="#F2B84B",
        error="#FF6B6B",
        background="#0E1116",
        surface="#151A21",
        panel="#1C232D",
        foreground="#D8DEE9",
        dark=True,
    ),
    Theme(
        name="paig-light",
        primary="#1F5FBF",
        secondary="#33658A",
        accent="#7A3FA0",
        success="#1B7F3B",
        warning="#9A6200",
        error="#B3261E",
        background="#FBFBF9",
        surface="#F2F2EE",
        panel="#E6E6E0",
        foreground="#1E2227",
        dark=False,
    ),
    Theme(
        name="paig-colour-blind",
        primary="#56B4E9",
        secondary="#8CC7E8",
        accent="#CC79A7",
        success="#56B4E9",
        warning="#F0E442",
        error="#F0722D",
        background="#101214",
        surface="#171A1D",
        panel="#20252A",
        foreground="#E4E6E8",
        dark=True,
    ),
)
ALIASES = {"ansi": "ansi-dark", "light": "paig-light", "dark": "paig", "colour-blind": "paig-colour-blind"}
"""Short names for `PAIG_THEME`."""
