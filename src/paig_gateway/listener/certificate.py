"""The operator's own certificate, read again when its files change."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

log = logging.getLogger(__name__)


class RenewedCertificate:
    """Watches the files of a certificate and loads changes into a running server's TLS context.

    Connections that are open keep the certificate that they began with; new ones get the new one.
    """

    def __init__(self, context: ssl.SSLContext, certificate: Path, key: Path) -> None:
        """Watch files that `context` has loaded already."""
        self._context = context
        self._files = (certificate, key)
        self._loaded = self._state()
        self._failed: tuple[object, ...] | None = None

    def look(self) -> bool:
        """Load the files if they changed; returns whether they were loaded.

        Files that do not fit leave the old certificate.

        While a certificate is being replaced, the two files may not fit each other; the next check tries again.
        """
        state = self._state()
        if state in (self._loaded, self._failed):
            return False
        try:
            # If the context refuses the second file, it has loaded the first one already.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*self._files)
            self._context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            log.warning("Cannot load the changed TLS certificate %s, serving the old one: %s", self._files[0], error)
            self._failed = state
            return False
        self._loaded, self._failed = state, None
        log.warning("Serving the renewed TLS certificate %s", self._files[0])
        return True

    def _state(self) -> tuple[object, ...]:
        found: list[object] = []
        for file in self._files:
            try:
                stat = file.stat()
                found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
            except OSError as error:
                found.append(error.errno)
        return tuple(found)
