"""The README for the package index, where its relative links and pictures would lead nowhere.

Hatchling loads this file when it builds the package (`[tool.hatch.metadata.hooks.custom]` in pyproject.toml). Links
lead to the repository at the version's tag, so the page of an old version keeps its own pictures.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE = re.compile(r"(!\[[^\]]*)?\]\((?![a-z]+:|#)([^)\s]+)\)")
"""The end of a Markdown link with a relative target; of a picture all of it."""


def absolute(text: str, repository: str, version: str) -> str:
    """Markdown with absolute links in place of relative ones.

    Args:
        text: The Markdown.
        repository: The repository's address.
        version: The version whose tag the links name.
    """

    def link(found: re.Match[str]) -> str:
        picture, path = found[1] or "", found[2]
        return f"{picture}]({repository}/{'raw' if picture else 'blob'}/v{version}/{path})"

    return _RELATIVE.sub(link, text)


class Readme(MetadataHookInterface):
    """Sets the package's description."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.md").read_text("utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, metadata["urls"]["Source"], metadata["version"]),
        }
