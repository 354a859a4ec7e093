"""Endpoints with a cost that the gateway cannot see: which keys may use them, and how they are recorded."""

from __future__ import annotations

import re

from paig_gateway.domain.errors import GatewayError
from paig_gateway.providers.endpoints import UNKNOWN
from paig_gateway.proxy.exchange import Exchange, Outcome
from paig_gateway.routing.candidates import Candidate

_PAST = re.compile(r"/realtime(?:api)?/|/auth_tokens")
"""Endpoints that let a client bypass the gateway."""

UNSEEN = "the gateway cannot see what this endpoint costs"


def admitted(exchange: Exchange, order: list[Candidate], *, capped: bool) -> list[Candidate]:
    """The members of a route at which a request to an endpoint without a meter may be sent.

    These are all members if the key has `allow_unmetered`; otherwise those with a flat price of the operator's, and, if
    no spending limit binds the request, those whose provider has `allow_unmetered`.

    Args:
        order: The members that could answer.
        capped: Whether a spending limit or a run's budget binds the request.

    Raises:
        GatewayError: `no-price` if none is left.
    """
    allowed = exchange.caller.allow_unmetered
    kept = [one for one in order if one.price is not None or allowed or (one.provider.allow_unmetered and not capped)]
    if kept:
        return kept
    raise _refused(exchange, order, capped=capped)


def _refused(exchange: Exchange, order: list[Candidate], *, capped: bool) -> GatewayError:
    """The refusal: the reason, and what an administrator can do."""
    provider, title = order[0].provider.name, exchange.fmt.title
    known = title != UNKNOWN.format.title
    asked = f"{exchange.method} {exchange.target.path}"
    what = "cannot see" if known else "does not know"
    why = ", so it does not pass it."
    if _PAST.search(title):
        why = ": with its answer a client speaks to the provider past the gateway. Connect a WebSocket to the gateway"
        why += f" instead, at /proxy/{exchange.route.name}/realtime, where each turn is metered."
    flat = " or for the key"
    if known:
        flat = (
            f' or set a flat price in [prices."{provider} {title}"]: model = "{title}", provider = "{provider}", '
            "requests_kcount = the US dollars for 1,000 requests"
        )
    if capped and any(one.provider.allow_unmetered for one in order):
        advice = f"set allow_unmetered = true for the key '{exchange.caller.key}', which a spending limit binds,"
        advice += flat if known else " or remove the limit"
    else:
        advice = f"set allow_unmetered = true under [providers.{provider}]{flat}"
    return GatewayError(
        "no-price",
        f"The gateway {what} what {asked} costs{why} An administrator can {advice}.",
        details={"provider": provider, "endpoint": title},
    )


def charge(outcome: Outcome, candidate: Candidate, status: int) -> None:
    """Charge an answer of an endpoint without a meter: its flat price, or an unknown cost."""
    if status >= 400:
        return
    if candidate.price is not None:
        outcome.charge(candidate.ceiling, "exact")
    else:
        outcome.charge(0, "unknown", UNSEEN)
