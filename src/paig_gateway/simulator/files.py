"""Files of OpenAI-compatible providers: upload by form, list, read, delete; and Gemini's downloads."""

from __future__ import annotations

import email.parser
import email.policy

from . import gemini
from .object_store import ObjectStore
from .openai_common import SHAPE, body
from .operation import Operation, SimulatedAnswer, SimulatedRefusal, SimulatedRequest, free
from .wire import Document, new_id

StoredFile = tuple[Document, bytes]
"""A file's metadata and content."""


class Files(ObjectStore[StoredFile]):
    """The files of all mounts."""

    def __init__(self) -> None:
        super().__init__("No such File object: {id}")

    def make(self, request: SimulatedRequest, content: bytes, purpose: str, name: str) -> Document:
        """Store a file and return its metadata."""
        id = new_id("" if request.family in ("google", "mistral") else "file-", 22)
        about: Document = {
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
        return self.add(request, id, (about, content))[0]


def operations(files: Files) -> dict[str, Operation]:
    """The operations on files, over one store."""

    def upload(request: SimulatedRequest) -> SimulatedAnswer:
        fields = form(request)
        name, content = fields.get("file", ("", b""))
        purpose = fields.get("purpose", ("", b""))[1].decode("utf-8", "replace")
        if not purpose or "file" not in fields:
            raise SimulatedRefusal(400, "'file' and 'purpose' are required properties")
        return body(request, files.make(request, content, purpose, name))

    def content(request: SimulatedRequest) -> SimulatedAnswer:
        return SimulatedAnswer(b"application/octet-stream", files.find(request)[1])

    def listed(request: SimulatedRequest) -> SimulatedAnswer:
        return body(request, {"object": "list", "data": [about for about, _ in files.all(request)], "has_more": False})

    def delete(request: SimulatedRequest) -> SimulatedAnswer:
        return body(request, {"id": files.remove(request)[0]["id"], "object": "file", "deleted": True})

    return {
        "upload": free(SHAPE, upload, raw=True),
        "file": free(SHAPE, lambda request: body(request, files.find(request)[0])),
        "file-content": free(SHAPE, content),
        "files": free(SHAPE, listed),
        "delete-file": free(SHAPE, delete),
        "download": free(gemini.SHAPE, content),
    }


def form(request: SimulatedRequest) -> dict[str, tuple[str, bytes]]:
    """The fields of a form by name: file name and content. If a name occurs several times, the last one counts."""
    return {name: (filename, content) for name, filename, content in form_fields(request)}


def form_fields(request: SimulatedRequest) -> list[tuple[str, str, bytes]]:
    """The fields of a form in order: name, file name, content.

    Raises:
        SimulatedRefusal: It is not a form: 400.
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
