"""Files of the Gemini API: resumable uploads in pieces, and looking at, listing and deleting what was uploaded.

Of a file's content only its size and its hash are kept, so that an upload of any size takes no memory.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any

import msgspec

from . import gemini
from .operation import Operation, SimulatedAnswer, SimulatedRefusal, SimulatedRequest, nothing
from .reply import Prompt
from .wire import Document, HeaderFields, inner, new_id, pretty

MOST = 500


@dataclass
class Upload:
    """A file on its way, or there."""

    id: str
    about: Document
    size: int = 0
    hash: Any = field(default_factory=hashlib.sha256)
    done: bool = False


@dataclass
class GeminiFiles:
    """The files of all mounts."""

    kept: dict[tuple[str, str], Upload] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget them all."""
        self.kept.clear()

    def find(self, request: SimulatedRequest, id: str) -> Upload:
        """One of the mount's.

        Raises:
            SimulatedRefusal: There is none: 403, as the provider answers.
        """
        if (found := self.kept.get((request.mount, id))) is None:
            raise SimulatedRefusal(403, f"You do not have permission to access the File {id} or it may not exist.")
        return found

    def begin(self, request: SimulatedRequest) -> Upload:
        """A new upload; the oldest file makes room."""
        about = inner(msgspec.json.decode(request.raw or b"{}", type=dict[str, Any]), "file")
        named = about.get("name", "").rpartition("/")[2]
        title = gemini.get(about, "displayName")
        said = {"mimeType": _header(request, b"content-type"), **({"displayName": title} if title else {})}
        upload = Upload(named or new_id("", 12), said)
        self.kept[request.mount, upload.id] = upload
        if len(self.kept) > MOST:
            del self.kept[next(iter(self.kept))]
        return upload


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
    """What can be done with files."""

    def answer(value: Document, more: HeaderFields = ()) -> SimulatedAnswer:
        return SimulatedAnswer(gemini.JSON, pretty(value), headers=(*gemini.headers(), *more))

    def upload(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        command = request.headers.get(b"x-goog-upload-command", b"").decode("latin-1")
        if "start" in command:
            made = files.begin(request)
            host = request.headers[b"host"].decode("latin-1")
            url = f"http://{host}/{request.mount}{request.path}?upload_id={made.id}&upload_protocol=resumable"
            status = ((b"x-goog-upload-status", b"active"), (b"x-goog-upload-url", url.encode()))
            return answer({}, (*status, (b"x-goog-upload-chunk-granularity", b"262144")))
        made = files.find(request, request.query.get("upload_id", ""))
        if "query" in command:
            state = b"final" if made.done else b"active"
            received = (b"x-goog-upload-size-received", str(made.size).encode())
            return answer({}, ((b"x-goog-upload-status", state), received))
        offset = int(request.headers.get(b"x-goog-upload-offset", b"0"))
        if made.done or offset != made.size:
            raise SimulatedRefusal(400, f"The upload has {made.size} bytes, so a piece at {offset} does not fit.")
        made.hash.update(request.raw)
        made.size += len(request.raw)
        if "finalize" not in command:
            return answer({}, ((b"x-goog-upload-status", b"active"),))
        made.done = True
        return answer({"file": _shown(made)}, ((b"x-goog-upload-status", b"final"),))

    def show(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        return answer(_shown(files.find(request, request.params["id"])))

    def listed(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        mine = [_shown(one) for (mount, _), one in files.kept.items() if mount == request.mount and one.done]
        return answer({"files": mine[::-1]})

    def delete(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        del files.kept[request.mount, files.find(request, request.params["id"]).id]
        return answer({})

    return {
        "upload": Operation(nothing, upload, gemini.SHAPE, free=True, raw=True),
        "file": Operation(nothing, show, gemini.SHAPE, free=True),
        "files": Operation(nothing, listed, gemini.SHAPE, free=True),
        "delete": Operation(nothing, delete, gemini.SHAPE, free=True),
    }
