"""The section Providers: accounts, their health and their forms."""

from __future__ import annotations
