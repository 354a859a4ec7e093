"""Buckets of Google Cloud Storage (mount `storage`) and Amazon S3 (mount `s3`): put, get and list objects.

All mounts share them, so that batches find their requests there and leave their results. A bucket whose name has
`forbidden` in it refuses everything.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote
from xml.sax.saxutils import escape

from . import gemini
from .operation import Operation, Shape, SimulatedAnswer, SimulatedRefusal, SimulatedRequest, free

MOST_BYTES = 2 * 1024**3
PAGE = 1000


class Buckets:
    """Objects by their URI (`gs://bucket/name`, `s3://bucket/name`); beyond `MOST_BYTES`, the oldest make room."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    def clear(self) -> None:
        self._objects.clear()

    def put(self, uri: str, content: bytes) -> None:
        self._objects.pop(uri, None)
        self._objects[uri] = content
        while sum(map(len, self._objects.values())) > MOST_BYTES:
            del self._objects[next(iter(self._objects))]

    def remove(self, uri: str) -> None:
        self._objects.pop(uri, None)

    def get(self, uri: str) -> bytes:
        """An object.

        Raises:
            SimulatedRefusal: It is not there: 404; its bucket is forbidden: 403.
        """
        _check(uri)
        if (found := self._objects.get(uri)) is None:
            raise SimulatedRefusal(404, f"No such object: {uri}")
        return found

    def names(self, uri: str) -> list[str]:
        """The URIs that begin with one, in order. Raises as `get` does."""
        _check(uri)
        return sorted(one for one in self._objects if one.startswith(uri))


def _check(uri: str) -> None:
    if "forbidden" in uri.partition("://")[2].partition("/")[0]:
        raise SimulatedRefusal(403, "The caller does not have access to this bucket.")


def _xml_error(family: str, status: int, message: str | None) -> SimulatedAnswer:
    code = {403: "AccessDenied", 404: "NoSuchKey"}.get(status, "InvalidRequest")
    text = f"<Error><Code>{code}</Code><Message>{escape(message or code)}</Message></Error>"
    return SimulatedAnswer(b"application/xml", text.encode(), status=status)


SHAPE = Shape(_xml_error, lambda request, index: b"")


def _page(request: SimulatedRequest, uris: list[str], token: str) -> tuple[list[str], str]:
    """One page of a list, and the token of the next one."""
    size, start = int(request.query.get("maxResults") or request.query.get("max-keys") or PAGE), int(token or 0)
    names = [uri.partition("://")[2].partition("/")[2] for uri in uris[start : start + size]]
    return names, str(start + size) if start + size < len(uris) else ""


def google_operations(buckets: Buckets) -> dict[str, Operation]:
    """The JSON API of Google Cloud Storage."""

    def uri(request: SimulatedRequest) -> str:
        return f"gs://{request.params['bucket']}/{request.params.get('name') or request.query.get('name', '')}"

    def shown(request: SimulatedRequest, content: bytes) -> SimulatedAnswer:
        about = {"kind": "storage#object", "name": uri(request).split("/", 3)[3], "bucket": request.params["bucket"]}
        return gemini.whole({**about, "size": str(len(content))})

    def read(request: SimulatedRequest) -> SimulatedAnswer:
        content = buckets.get(uri(request))
        if request.query.get("alt") != "media":
            return shown(request, content)
        return SimulatedAnswer(b"application/octet-stream", content)

    def put(request: SimulatedRequest) -> SimulatedAnswer:
        _check(uri(request))
        buckets.put(uri(request), request.raw)
        return shown(request, request.raw)

    def listed(request: SimulatedRequest) -> SimulatedAnswer:
        found = buckets.names(f"gs://{request.params['bucket']}/{request.query.get('prefix', '')}")
        names, token = _page(request, found, request.query.get("pageToken", ""))
        items = [{"name": name, "bucket": request.params["bucket"]} for name in names]
        return gemini.whole({"kind": "storage#objects", "items": items} | ({"nextPageToken": token} if token else {}))

    return {
        "read": free(gemini.SHAPE, read),
        "put": free(gemini.SHAPE, put, raw=True),
        "list": free(gemini.SHAPE, listed),
    }


def amazon_operations(buckets: Buckets) -> dict[str, Operation]:
    """The REST API of Amazon S3, in path style."""

    def uri(request: SimulatedRequest) -> str:
        return f"s3://{request.params['bucket']}/{unquote(request.params.get('name', ''))}"

    def put(request: SimulatedRequest) -> SimulatedAnswer:
        _check(uri(request))
        buckets.put(uri(request), request.raw)
        return SimulatedAnswer(b"application/xml")

    def listed(request: SimulatedRequest) -> SimulatedAnswer:
        found = buckets.names(f"s3://{request.params['bucket']}/{request.query.get('prefix', '')}")
        names, token = _page(request, found, request.query.get("continuation-token", ""))
        keys = "".join(f"<Contents><Key>{escape(name)}</Key></Contents>" for name in names)
        more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
        namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
        text = f'<ListBucketResult xmlns="{namespace}">{keys}{more}</ListBucketResult>'
        return SimulatedAnswer(b"application/xml", text.encode())

    def got(read: Callable[[str], bytes]) -> Operation:
        return free(SHAPE, lambda request: SimulatedAnswer(b"application/octet-stream", read(uri(request))))

    return {"read": got(buckets.get), "put": free(SHAPE, put, raw=True), "list": free(SHAPE, listed)}
