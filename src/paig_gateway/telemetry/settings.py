"""What an operator may set of telemetry: the tables `[telemetry]` and `[alerts]` of `paig.toml`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from paig_client.schema import Spec
from paig_gateway.store.credentials import CredentialError, parse_reference


def _reference(value: str) -> str:
    try:
        if parse_reference(value).is_literal:
            raise ValueError("is a literal, which a process hands on in the open: write env:NAME or file:PATH")
    except CredentialError as error:
        raise ValueError(str(error)) from None
    return value


SecretReference = Annotated[str, AfterValidator(_reference)]
"""Where a secret is to be found: `env:NAME`, `keyring:SERVICE/USER` or `file:PATH`; never the secret."""


class TelemetrySpec(Spec):
    """What the process tells of its work; needs a restart to change."""

    log: Literal["text", "json"] = "text"
    """The form of the log on standard error."""
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    """The least that is logged."""
    log_requests: bool = False
    """Whether each request is logged, in a line without its content."""
    metrics: bool = True
    """Whether `/metrics` answers."""
    metrics_token: SecretReference | None = None
    """The bearer token that a scraper must show."""
