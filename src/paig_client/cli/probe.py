"""Checks whether a gateway runs and accepts a key, without cost and without a row in the ledger."""

from __future__ import annotations

import httpx2

from paig_client.addresses import PROXY, without_proxy
from paig_client.admin_errors import in_words
from paig_client.errors import PaigError, RouteNotFound, from_response
from paig_client.tls import verification


class Unreachable(Exception):
    """No gateway answers at the address; the message says how it failed."""


def alive(root: str) -> None:
    """Check that a gateway answers at this root address.

    Raises:
        Unreachable: No gateway answers there.
    """
    if (answer := _get(root, "/healthz", {})).status_code != 200:
        raise Unreachable(f"what answers at {root} is not a gateway: /healthz says {answer.status_code}")


def key_refusal(root: str, key: str) -> PaigError | None:
    """Why the gateway refuses the key, or None if it accepts it.

    The request is for a route that cannot exist (`-` is not a valid name): only an accepted key gets `route-not-found`.

    Raises:
        Unreachable: No gateway answers there.
    """
    answer = _get(root, f"{PROXY}/-", {"Authorization": f"Bearer {key}"})
    error = from_response(answer.status_code, answer.headers, answer.content)
    if error is None:
        raise Unreachable(f"what answers at {root} is not a gateway: {PROXY}/- says {answer.status_code}")
    return None if isinstance(error, RouteNotFound) else error


def _get(root: str, path: str, headers: dict[str, str]) -> httpx2.Response:
    try:
        with httpx2.Client(timeout=5, mounts=without_proxy(root), verify=verification(root)) as http:
            return http.get(root + path, headers=headers)
    except httpx2.TransportError as error:
        raise Unreachable(f"no gateway answers at {root}: {in_words(error)}") from error
