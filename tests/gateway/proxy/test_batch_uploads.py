"""Files for batches, read as they pass."""

from __future__ import annotations

import gc
import json
from types import SimpleNamespace
from typing import Any, cast
from weakref import WeakSet

import pytest

from paig_gateway.proxy.batch_lines import BatchLines
from paig_gateway.proxy.batch_uploads import AT_ONCE, MOST_READERS, BatchUpload
from paig_gateway.routing.candidates import Candidate

pytestmark = pytest.mark.anyio


def line(number: int) -> bytes:
    """A line of a file."""
    body = {"model": "gpt-5-mini", "input": "x" * 500, "max_output_tokens": 50}
    return json.dumps({"custom_id": f"r-{number}", "url": "/v1/responses", "body": body}).encode() + b"\n"


class Kept:
    """What was kept of an upload to an OpenAI provider."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str, int]] = []
        self.forgotten: list[str] = []
        self.readers: WeakSet[BatchUpload] = WeakSet()
        self.upload = BatchUpload("openai", self, self.readers)

    def __call__(self, provider: str, id: str, lines: bytes | None) -> None:
        if lines is None:
            self.forgotten.append(id)
        else:
            self.found.append((provider, id, BatchLines.unpacked(lines).count))

    async def end(self, answer: object, kind: str = "openai") -> list[tuple[str, str, int]]:
        """End the upload."""
        provider = SimpleNamespace(name="mine", kind=kind)
        await self.upload.complete()
        await self.upload.answered(cast(Candidate, SimpleNamespace(provider=provider)), json.dumps(answer).encode())
        return self.found


@pytest.mark.parametrize("first", ["purpose", "file"])
async def test_a_file_in_pieces(first: str) -> None:
    """Whatever stands first in the form; pieces end anywhere, and many come before they are read."""
    kept, content = Kept(), b"".join(map(line, range(1000)))
    assert len(content) > 2 * AT_ONCE
    if first == "purpose":
        kept.upload.field("purpose", b"batch")
    for place in range(0, len(content), 9999):
        kept.upload.piece("file", content[place : place + 9999])
    if first == "file":
        kept.upload.field("purpose", b"batch")
    assert await kept.end({"id": "file-1"}) == [("mine", "file-1", 1000)]


async def test_a_raw_upload_to_gemini() -> None:
    """Its lines name no model, and its id stands deeper."""
    kept = Kept()
    kept.upload.kind = "google"
    kept.upload.piece("", b'{"key":"a","request":{"contents":[]}}')
    assert await kept.end({"file": {"name": "files/abc"}}, "google") == [("mine", "abc", 1)]


@pytest.mark.parametrize(
    ("fields", "content", "answer", "kind"),
    [
        ([b"fine-tune"], line(1), {"id": "f"}, "openai"),
        ([], line(1), {"id": "f"}, "openai"),
        ([b"batch", b"batch"], line(1), {"id": "f"}, "openai"),
        ([b"batch"], b"a picture", {"id": "f"}, "openai"),
        ([b"batch"], line(1) + b"{\n", {"id": "f"}, "openai"),
        ([b"batch"], line(1), {"error": {}}, "openai"),
        ([b"batch"], line(1), {"id": "f"}, "groq"),
        ([b"batch"], b"", {"id": "f"}, "openai"),
    ],
)
async def test_what_is_not_known_to_be_a_batch(fields: list[bytes], content: bytes, answer: Any, kind: str) -> None:
    """It is left to be read at the provider."""
    kept = Kept()
    for one in fields:
        kept.upload.field("purpose", one)
    kept.upload.piece("file", content)
    assert await kept.end(answer, kind) == []
    assert kept.forgotten == ([] if "error" in answer else ["f"])  # what an earlier file of that id asked
    assert not kept.readers


async def test_few_files_are_read_at_a_time() -> None:
    """More are left to the provider; a request that ended without an answer makes room."""
    kept = Kept()
    others = [BatchUpload("openai", kept, kept.readers) for _ in range(MOST_READERS)]
    for one in others:
        one.piece("file", line(1))
    kept.upload.field("purpose", b"batch")
    kept.upload.piece("file", line(1))
    assert await kept.end({"id": "f"}) == []
    del one, others[0]
    gc.collect()
    again = BatchUpload("openai", kept, kept.readers)
    again.piece("file", line(1))
    assert again in kept.readers
