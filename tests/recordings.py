"""Recorded provider traffic for the tests: see `tests/recordings/README.md` for its format, source and licence.

`PAIG_RECORDINGS` names another folder of such files to run the same tests on.
"""

from __future__ import annotations

import base64
import json
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("PAIG_RECORDINGS") or Path(__file__).parent / "recordings")

_SPLICED = re.compile(
    rb',?"logfire_ai_gateway":\{"cost":"[^"]*"\},"pydantic_ai_gateway":\{"cost_estimate":[0-9.]+\}',
)


@dataclass(frozen=True)
class Recording:
    """One interaction; headers by lower-case name, of several values the first."""

    id: str
    source: str
    file: str
    provider: str
    host: str
    method: str
    path: str
    query: str
    request_headers: dict[str, str]
    request_body: bytes
    status: int
    response_headers: dict[str, str]
    response_body: bytes
    stream: bool

    @property
    def content_type(self) -> str:
        """The response's content type, as the provider sent it or as its stream's framing implies."""
        given = self.response_headers.get("content-type")
        return given or ("text/event-stream" if self.stream else "application/json")


@lru_cache
def recordings() -> tuple[Recording, ...]:
    """All recordings, in the order of the files and of their lines."""
    found = []
    for path in sorted(FOLDER.glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            found.append(_recording(path.stem, json.loads(line)))
    return tuple(found)


def recorded(id: str) -> Recording:
    """The recording of that id."""
    return next(one for one in recordings() if one.id == id)


def unspliced(body: bytes) -> bytes:
    """A body without the cost that the gateway splices in."""
    return _SPLICED.sub(b"", body)


def _recording(file: str, line: dict[str, Any]) -> Recording:
    return Recording(
        id=line["id"],
        source=line["source"],
        file=file,
        provider=line["provider"],
        host=line["host"],
        method=line["method"],
        path=line["path"],
        query=line.get("query") or "",
        request_headers=_headers(line["request_headers"]),
        request_body=_bytes(line, "request_body"),
        status=line["status"],
        response_headers=_headers(line["response_headers"]),
        response_body=_bytes(line, "response_body"),
        stream=line["stream"],
    )


def _headers(given: dict[str, str | list[str]]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else value[0] for name, value in given.items()}


def _bytes(line: dict[str, Any], name: str) -> bytes:
    text: str = line.get(name) or ""
    return base64.b64decode(text) if line.get(f"{name}_b64") else text.encode()
