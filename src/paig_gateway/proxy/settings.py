"""What an operator may set of the data plane."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from paig_client.api.fields import Number, Seconds, Spec
from paig_gateway.formats.ambiguity import MOST_VALUES

MEGABYTE = 1024 * 1024
UpToAnHour = Annotated[Number, Field(ge=0, le=3600)]
"""Seconds, an hour at most; 0 for none."""


class WebSocketsSpec(Spec):
    """How long a session over a WebSocket may last, and how large its messages may be."""

    idle_seconds: Seconds = 900.0
    """Without a message in either direction; pings do not count."""
    total_seconds: Annotated[Number, Field(gt=0, le=86_400)] = 7200.0
    """From its beginning to its end."""
    message_mb: int = Field(default=16, ge=1, le=1024)
    """Megabytes of one message; a larger one closes the session (1009)."""


class ProxySpec(Spec):
    """The part of `[server]` that the data plane reads."""

    max_body_mb: int = Field(default=64, ge=1, le=4096)
    """Larger requests are refused (`body-too-large`)."""
    max_body_values: int = Field(default=MOST_VALUES, ge=10_000, le=100_000_000)
    """JSON values of a request; an object or a list counts as five. Reading more would take too long."""
    max_upload_mb: int = Field(default=2048, ge=1, le=65_536)
    """The same for files, which pass to the provider as they come and are never held."""
    limit_wait: UpToAnHour = 5.0
    """Seconds that a request waits for money that other requests hold, before it is refused."""
    drain_seconds: UpToAnHour = 300.0
    """How long an answer is read on for its usage after its client has left."""
    drain_mb: int = Field(default=64, ge=1, le=4096)
    """How many megabytes of it are read on."""
    on_ledger_down: Literal["refuse", "allow"] = "refuse"
    """What happens to requests while the ledger cannot record: refused, or let through and recorded late."""
    cors_origins: list[Annotated[str, Field(pattern=r"^https?://[^\s/*]+$")]] = Field(default_factory=list)
    """Origins whose pages may call the data plane from a browser."""
