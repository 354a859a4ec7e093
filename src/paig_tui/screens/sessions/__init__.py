"""The section Sessions: the sessions of coding agents, what each costs, and the tree of its agents."""

from __future__ import annotations
