"""Files of the Gemini API: resumable uploads in pieces; show, list and delete.

Of a file's content only its size and its hash are kept, so that an upload of any size takes no memory.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any

import msgspec

from . import gemini
from .object_store import ObjectStore
from .operation import Operation, SimulatedAnswer, SimulatedRefusal, SimulatedRequest, free
from .wire import Document, inner, new_id


@dataclass
class Upload:
    """A file that is uploaded, wholly or in part."""

    id: str
    about: Document
    size: int = 0
    hash: Any = field(default_factory=hashlib.sha256)
    done: bool = False


class GeminiFiles(ObjectStore[Upload]):
    """The files of all mounts."""

    def __init__(self) -> None:
        super().__init__("You do not have permission to access the File {id} or it may not exist.", 403)

    def begin(self, request: SimulatedRequest) -> Upload:
        about = inner(msgspec.json.decode(request.raw or b"{}", type=dict[str, Any]), "file")
        id = about.get("name", "").rpartition("/")[2] or new_id("", 12)
        title = gemini.get(about, "displayName")
        shown = {"mimeType": _header(request, b"content-type"), **({"displayName": title} if title else {})}
        return self.add(request, id, Upload(id, shown))


def _header(request: SimulatedRequest, name: bytes) -> str:
    return request.headers.get(b"x-goog-upload-header-" + name, b"").decode("latin-1")


def _shown(upload: Upload) -> Document:
    return {
        "name": f"files/{upload.id}",
        **upload.about,
        "sizeBytes": str(upload.size),
        "createTime": "2026-11-30T12:00:00Z",
        "updateTime": "2026-11-30T12:00:00Z",
        "expirationTime": "2026-12-02T12:00:00Z",
        "sha256Hash": base64.b64encode(upload.hash.hexdigest().encode()).decode(),
        "uri": f"https://generativelanguage.googleapis.com/v1beta/files/{upload.id}",
        "state": "ACTIVE",
        "source": "UPLOADED",
    }


def operations(files: GeminiFiles) -> dict[str, Operation]:
    """The operations on files, over one store."""

    def upload(request: SimulatedRequest) -> SimulatedAnswer:
        command = request.headers.get(b"x-goog-upload-command", b"").decode("latin-1")
        if "start" in command:
            made = files.begin(request)
            host = request.headers[b"host"].decode("latin-1")
            url = f"http://{host}/{request.mount}{request.path}?upload_id={made.id}&upload_protocol=resumable"
            status = ((b"x-goog-upload-status", b"active"), (b"x-goog-upload-url", url.encode()))
            return gemini.whole({}, (*status, (b"x-goog-upload-chunk-granularity", b"262144")))
        made = files.find(request, request.query.get("upload_id", ""))
        if "query" in command:
            state = b"final" if made.done else b"active"
            received = (b"x-goog-upload-size-received", str(made.size).encode())
            return gemini.whole({}, ((b"x-goog-upload-status", state), received))
        offset = int(request.headers.get(b"x-goog-upload-offset", b"0"))
        if made.done or offset != made.size:
            raise SimulatedRefusal(400, f"The upload has {made.size} bytes, so a piece at {offset} does not fit.")
        made.hash.update(request.raw)
        made.size += len(request.raw)
        if "finalize" not in command:
            return gemini.whole({}, ((b"x-goog-upload-status", b"active"),))
        made.done = True
        return gemini.whole({"file": _shown(made)}, ((b"x-goog-upload-status", b"final"),))

    def listed(request: SimulatedRequest) -> SimulatedAnswer:
        return gemini.whole({"files": [_shown(one) for one in files.all(request) if one.done]})

    def delete(request: SimulatedRequest) -> SimulatedAnswer:
        files.remove(request)
        return gemini.whole({})

    return {
        "upload": free(gemini.SHAPE, upload, raw=True),
        "file": free(gemini.SHAPE, lambda request: gemini.whole(_shown(files.find(request)))),
        "files": free(gemini.SHAPE, listed),
        "delete": free(gemini.SHAPE, delete),
    }
