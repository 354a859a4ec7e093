"""Drafts of a `paig.toml` from what there is already: keys in the environment, another gateway's configuration.

`environment` reads provider keys, `litellm` a LiteLLM configuration, `litellm_database` a dump of its database; each
fills a `draft.Draft`, which is written as TOML with a comment for everything that was left out.

Never true: a secret is written into the file; something is left out without a word.
"""

from __future__ import annotations

from paig_client.cli.importers.draft import Draft, to_toml

__all__ = ["Draft", "to_toml"]
