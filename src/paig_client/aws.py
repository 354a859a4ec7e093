"""boto3's Bedrock client, aimed at the gateway."""

from __future__ import annotations

from typing import Any

from paig_client.attribution import headers
from paig_client.charges import GatewayAccess, note

REGION = "us-east-1"
"""Not used: it is part of a signature that the gateway drops."""


def bedrock_client(target: str, key: str, **options: Any) -> Any:
    """A `bedrock-runtime` client that signs with the gateway key as its access key id.

    botocore refuses to send bearer tokens over plain http, but sends signatures. The gateway reads the key from the
    signature and signs the request again. The environment's own AWS credentials are not read.

    Args:
        target: The gateway's route, `…/proxy/bedrock`.
        key: The gateway key.
        options: Further arguments of `boto3.Session.client`; `config` is merged.
    """
    import boto3
    from botocore.config import Config

    own = Config(signature_version="v4", read_timeout=300, connect_timeout=60)
    config = options.pop("config", None)
    session = boto3.Session(
        aws_access_key_id=key,
        aws_secret_access_key="unused",  # the gateway drops the signature
        region_name=options.pop("region_name", REGION),
    )
    client = session.client(
        "bedrock-runtime", endpoint_url=target, config=own.merge(config) if config is not None else own, **options
    )
    gateway = GatewayAccess.of(target, key)

    def note_answer(parsed: Any, **_: object) -> None:
        note(parsed["ResponseMetadata"].get("HTTPHeaders"), gateway)

    client.meta.events.register("before-sign.bedrock-runtime", _attribute)
    client.meta.events.register("after-call.bedrock-runtime", note_answer)
    return client


def _attribute(request: Any, **_: object) -> None:
    """Add the attribution headers."""
    for name, value in headers().items():
        request.headers[name] = value
