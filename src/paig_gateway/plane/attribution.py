"""What a client says about a request besides the request: tags, the run whose budget it draws on, its session."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.money import parse_usd

MAX_TAGS = 20
_TAG = re.compile(r"[\w.:/@ -]{1,128}")


@dataclass(frozen=True, slots=True)
class Attribution:
    """Read from `x-paig-tags`, `x-paig-run`, `x-paig-run-budget` and `x-paig-session`.

    Attributes:
        tags: By name, as `run=nightly,customer=acme` has them.
        run: The run's name, or None.
        run_budget: The run's budget in nanodollars, or None; only the first request of a run fixes it.
        session: What requests have in common that are to go to the same member of a route, or None.
    """

    tags: Mapping[str, str]
    run: str | None
    run_budget: int | None
    session: str | None = None


NONE = Attribution({}, None, None)


def read(headers: Mapping[bytes, bytes]) -> Attribution:
    """Read the attribution headers.

    Raises:
        GatewayError: `bad-request`, naming the header and what it should look like.
    """
    raw_tags, raw_run = headers.get(b"x-paig-tags"), headers.get(b"x-paig-run")
    raw_budget, raw_session = headers.get(b"x-paig-run-budget"), headers.get(b"x-paig-session")
    if raw_tags is None and raw_run is None and raw_budget is None and raw_session is None:
        return NONE
    tags: dict[str, str] = {}
    for part in _text(raw_tags).split(",") if raw_tags else ():
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not _TAG.fullmatch(name) or not _TAG.fullmatch(value):
            raise GatewayError("bad-request", "The header x-paig-tags must look like 'run=nightly,customer=acme'.")
        tags[name] = value
    if len(tags) > MAX_TAGS:
        raise GatewayError("bad-request", f"The header x-paig-tags has more than {MAX_TAGS} tags.")
    run = _text(raw_run).strip() if raw_run else None
    if run is not None and not _TAG.fullmatch(run):
        raise GatewayError("bad-request", "The header x-paig-run must be a name of at most 128 plain characters.")
    budget: int | None = None
    if raw_budget is not None:
        if run is None:
            raise GatewayError("bad-request", "The header x-paig-run-budget needs x-paig-run beside it.")
        try:
            budget = parse_usd(_text(raw_budget).strip())
        except ValueError as error:
            raise GatewayError("bad-request", f"The header x-paig-run-budget is wrong: {error}.") from None
    return Attribution(tags, run, budget, _text(raw_session).strip() or None if raw_session else None)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
