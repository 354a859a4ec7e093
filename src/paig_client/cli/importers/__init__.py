"""Drafts of a `paig.toml` from what there is already: keys in the environment, another gateway's configuration."""

from __future__ import annotations

from paig_client.cli.importers.draft import Draft, to_toml

__all__ = ["Draft", "to_toml"]
