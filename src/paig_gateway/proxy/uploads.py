"""Uploads: request bodies that are streamed to the provider, of any size, in bounded memory.

A body is streamed if it is not JSON and no model is asked: forms with files, and the raw bytes of Google's uploads. A
form's fields are checked as they pass, and the last bytes are sent only when everything is allowed: the provider never
gets the whole of a refused body, so it creates nothing. A client that sends faster than the provider reads has to wait.
After the first byte, no other member of the route can be tried.

The answer to the first request of a resumable upload at Google has the address of a session. The gateway replaces it by
its own address. Google's clients send no key to it, so the session's id stands for the key that began it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.http import Headers
from paig_gateway.formats.base import MalformedRequest
from paig_gateway.formats.form_stream import FormScanner
from paig_gateway.formats.references import ids_in_field
from paig_gateway.providers import endpoints
from paig_gateway.proxy.request import ClientGone, Receive, Target, upload_session
from paig_gateway.proxy.settings import MEGABYTE
from paig_gateway.routing.candidates import Candidate

COMMAND = b"x-goog-upload-command"
_SESSION_URLS = (b"x-goog-upload-url", b"x-goog-upload-control-url")


class UploadWatcher(Protocol):
    """Reads an upload as it passes."""

    def field(self, name: str, content: bytes) -> None:
        """Take a form field that is not a file."""

    def piece(self, name: str, data: bytes) -> None:
        """Take the next piece of a file; `name` is empty if the body is the file itself.

        Raises:
            GatewayError: The upload is refused.
        """

    async def complete(self) -> None:
        """Take the end of the body, before its last bytes are sent.

        Raises:
            GatewayError: The upload is refused.
        """

    async def answered(self, candidate: Candidate, body: bytes) -> None:
        """Take the provider's JSON answer, before the client gets it."""


@dataclass(slots=True)
class Upload:
    """A request's body that is streamed.

    Attributes:
        receive: Yields it.
        headers: The request's, by lower-case name.
        most: The most bytes that it may have.
        started: Whether part of it was sent, so that it cannot be sent to another member.
        watcher: Reads it as it passes.
        check: Refuses the ids of stored objects that its fields name.
        size: Bytes that have arrived.
    """

    receive: Receive
    headers: Mapping[bytes, bytes]
    most: int
    started: bool = False
    watcher: UploadWatcher | None = None
    check: Callable[[Sequence[str]], Awaitable[None]] | None = None
    size: int = 0
    _ids: list[str] = field(default_factory=list)

    @property
    def length(self) -> bytes | None:
        announced = self.headers.get(b"content-length", b"")
        return announced if announced.isdigit() else None

    def check_length(self) -> None:
        """Refuse a body whose announced length is too large.

        Raises:
            GatewayError: `body-too-large`.
        """
        if self.length is not None and int(self.length) > self.most:
            raise self._too_large()

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The body as it arrives; the last piece only when everything in it is allowed.

        Raises:
            ClientGone: The client left before it had sent everything.
            GatewayError: `body-too-large`, `bad-request`, `not-found`, or an error of the watcher's.
        """
        self.started = True
        content_type = self.headers.get(b"content-type", b"")
        try:
            form = FormScanner(content_type, self) if _is_form(content_type) else None
            length = int(self.length) if self.length is not None else None
            waiting = b""
            while True:
                message = await self.receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                data: bytes = message.get("body", b"")
                more: bool = message.get("more_body", False)
                self.size += len(data)
                if self.size > self.most:
                    raise self._too_large()
                if form is not None:
                    form.feed(data)
                elif data:
                    self.piece("", data)
                if more and (length is None or self.size < length):
                    # Where no length is announced, each piece may be the last one.
                    ready = data if length is not None else waiting if data else b""
                    waiting = data if length is None and data else waiting
                    if ready:
                        yield ready
                    continue
                if form is not None:
                    form.end()
                if self._ids and self.check is not None:
                    await self.check(self._ids)
                if self.watcher is not None:
                    await self.watcher.complete()
                yield waiting + data
                return
        except MalformedRequest as error:
            raise GatewayError("bad-request", str(error)) from None

    def field(self, name: str, content: bytes) -> None:
        self._ids += ids_in_field(name, content)
        if self.watcher is not None:
            self.watcher.field(name, content)

    def piece(self, name: str, data: bytes) -> None:
        if self.watcher is not None:
            self.watcher.piece(name, data)

    def _too_large(self) -> GatewayError:
        return GatewayError(
            "body-too-large",
            f"The upload is larger than the gateway passes on ({self.most // MEGABYTE} MB); send less, or have "
            "max_upload_mb raised in paig.toml.",
        )


def is_upload(method: str, found: Sequence[endpoints.Match], headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request's body is streamed to the provider.

    Args:
        found: The endpoints that the request may mean.
        headers: The request's, by lower-case name.
    """
    if method not in ("POST", "PUT") or b"content-encoding" in headers:
        return False
    if not found or any(match.format.metered for match in found):
        return False
    kind = headers.get(b"content-type", b"").lower().strip()
    if _is_form(kind):
        return True
    # Only files: any other body is read, whatever its headers say, because it may name stored objects.
    if not all(match.format.name == "files" or match.endpoint.object == "file-search-store" for match in found):
        return False
    command = headers.get(COMMAND)
    if command is not None:
        return b"start" not in command.lower()
    return bool(kind) and not kind.startswith((b"application/json", b"application/x-www-form-urlencoded"))


def _is_form(content_type: bytes) -> bool:
    return content_type.lower().lstrip().startswith(b"multipart/form-data")


def continued_session(target: Target, headers: Mapping[bytes, bytes]) -> str | None:
    """The session of a resumable upload that a request continues; None if it begins one, or has none."""
    command = headers.get(COMMAND)
    if command is None or b"start" in command.lower():
        return None
    return upload_session(target)


_HOST = re.compile(rb"[\w.:\[\]-]{1,255}")


def origin_of(scheme: str, headers: Mapping[bytes, bytes]) -> str:
    """The address at which a client reached the gateway; empty if its `host` header is not valid."""
    host = headers.get(b"host", b"")
    return f"{scheme}://{host.decode('ascii')}" if _HOST.fullmatch(host) else ""


def begun_session(headers: Mapping[str, str]) -> str | None:
    """The id of the session that an answer begins."""
    for name in _SESSION_URLS:
        if (url := headers.get(name.decode())) and (session := upload_session(_target(url))) is not None:
            return session
    return None


def _target(url: str) -> Target:
    parts = urlsplit(url)
    return Target("", parts.path, parts.query.encode("latin-1", "replace"))


_VERSION = re.compile(r"/v\d\w*$")


def led_back(headers: Headers, origin: str, route: str, base_url: str) -> Headers:
    """An answer's headers with the session's address at the gateway: the same route, with its path and query.

    An address without a session's id is removed, because the gateway could not tell its owner. An address at another
    host than the provider's is unchanged. The path of the provider's base URL is left out: the gateway adds it again.
    """
    changed: Headers = []
    for name, value in headers:
        if name in _SESSION_URLS and urlsplit(value.decode("latin-1")).netloc == urlsplit(base_url).netloc:
            target = _target(value.decode("latin-1"))
            if upload_session(target) is None or not origin:
                continue
            path = target.path.removeprefix(_VERSION.sub("", urlsplit(base_url).path.rstrip("/")))
            value = f"{origin}/proxy/{route}{path}?".encode() + target.query
        changed.append((name, value))
    return changed
