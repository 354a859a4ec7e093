"""Files of OpenAI-compatible providers: upload by form, list, read, delete; and Gemini's downloads."""

from __future__ import annotations

import email.parser
import email.policy
from collections.abc import Callable
from dataclasses import dataclass, field

from . import gemini
from .openai_common import SHAPE, body
from .operation import Operation, SimulatedAnswer, SimulatedRefusal, SimulatedRequest, nothing
from .reply import Prompt
from .wire import Document, new_id

MOST = 500


@dataclass
class Files:
    """The files of all mounts, by mount and id: each file's metadata and content."""

    kept: dict[tuple[str, str], tuple[Document, bytes]] = field(default_factory=dict)

    def clear(self) -> None:
        """Remove them all."""
        self.kept.clear()

    def make(self, request: SimulatedRequest, content: bytes, purpose: str, name: str) -> str:
        """Store a file and return its id; the oldest file makes room."""
        id = new_id("" if request.family in ("google", "mistral") else "file-", 22)
        said: Document = {
            "id": id,
            "object": "file",
            "bytes": len(content),
            "created_at": int(request.now),
            "expires_at": None,
            "filename": name,
            "purpose": purpose,
            "status": "processed",
            "status_details": None,
        }
        self.kept[request.mount, id] = said, content
        if len(self.kept) > MOST:
            del self.kept[next(iter(self.kept))]
        return id

    def find(self, request: SimulatedRequest, id: str) -> tuple[Document, bytes]:
        """A file's metadata and content.

        Raises:
            SimulatedRefusal: 404: there is no such file.
        """
        found = self.kept.get((request.mount, id))
        if found is None:
            raise SimulatedRefusal(404, f"No such File object: {id}")
        return found


def operations(files: Files) -> dict[str, Operation]:
    """The operations on files, over one store."""

    def upload(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        fields = form(request)
        name, content = fields.get("file", ("", b""))
        purpose = fields.get("purpose", ("", b""))[1].decode("utf-8", "replace")
        if not purpose or "file" not in fields:
            raise SimulatedRefusal(400, "'file' and 'purpose' are required properties")
        return body(request, files.find(request, files.make(request, content, purpose, name))[0])

    def show(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        return body(request, files.find(request, request.params["id"])[0])

    def content(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        return SimulatedAnswer(b"application/octet-stream", files.find(request, request.params["id"])[1])

    def listed(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        mine = [said for (mount, _), (said, _) in files.kept.items() if mount == request.mount]
        return body(request, {"object": "list", "data": mine[::-1], "has_more": False})

    def delete(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        id = request.params["id"]
        files.find(request, id)
        del files.kept[request.mount, id]
        return body(request, {"id": id, "object": "file", "deleted": True})

    def free(write: Callable[[SimulatedRequest, Prompt], SimulatedAnswer], *, raw: bool = False) -> Operation:
        return Operation(nothing, write, SHAPE, free=True, raw=raw)

    return {
        "upload": free(upload, raw=True),
        "file": free(show),
        "file-content": free(content),
        "files": free(listed),
        "delete-file": free(delete),
        "download": Operation(nothing, content, gemini.SHAPE, free=True),
    }


def form(request: SimulatedRequest) -> dict[str, tuple[str, bytes]]:
    """The fields of a form: each one's file name and content, the last of a name."""
    return {name: (filename, content) for name, filename, content in form_fields(request)}


def form_fields(request: SimulatedRequest) -> list[tuple[str, str, bytes]]:
    """The fields of a form in order: name, file name, content.

    Raises:
        SimulatedRefusal: It is no form: 400.
    """
    kind = request.headers.get(b"content-type", b"")
    if not kind.startswith(b"multipart/form-data"):
        raise SimulatedRefusal(400, "The content type must be multipart/form-data")
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(b"content-type: " + kind + b"\r\n\r\n" + request.raw)
    found: list[tuple[str, str, bytes]] = []
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            found.append((name, part.get_filename() or "", content))
    return found
