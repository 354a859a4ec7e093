"""Sending a request on: who could answer it, at what worst case, and trying one after the other."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from datetime import datetime
from urllib.parse import quote

from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.money import format_usd
from paig_gateway.domain.pricing import PriceBook
from paig_gateway.domain.routing import Route
from paig_gateway.formats.base import Call, Format
from paig_gateway.formats.splice import splice_member
from paig_gateway.plane.bounds import ceiling, worst_case
from paig_gateway.plane.exchange import Candidate, Exchange, Outcome
from paig_gateway.plane.headers import Headers, to_upstream
from paig_gateway.plane.intake import Target
from paig_gateway.plane.meter import Tariff
from paig_gateway.plane.upstream import Upstream, UpstreamError, UpstreamResponse, UpstreamTimeout
from paig_gateway.providers.auth import Authenticator, CredentialError
from paig_gateway.providers.kinds import KINDS

RETRYABLE = frozenset({408, 429, 500, 502, 503, 504, 529})
"""Statuses after which the next member is tried, where there is one."""

_SUBPROVIDER = re.compile(r"/([a-z0-9-]+)/v\d")


def price_provider(kind_provider: str | None, path: str, model: str) -> str:
    """The genai-prices provider whose prices count; empty where there is none.

    Hugging Face routes to other providers, named in the path (`/nebius/v1/…`) or after the model (`…:nebius`).
    """
    if kind_provider is None or "{sub}" not in kind_provider:
        return kind_provider or ""
    match = _SUBPROVIDER.match(path)
    sub = match.group(1) if match else model.rpartition(":")[2] if ":" in model else ""
    return kind_provider.format(sub=sub) if sub else ""


def candidates(
    route: Route, fmt: Format, call: Call, target: Target, at: datetime, book: PriceBook, draw: random.Random
) -> list[Candidate]:
    """The members that could answer, in the order in which they are to be tried.

    Raises:
        GatewayError: `no-price`, where every member wants a price and none is known.
    """
    found: list[Candidate] = []
    unpriced = ""
    for member in route.order(draw):
        provider, kind = member.provider, KINDS.get(member.provider.kind)
        if kind is None:
            continue
        model = member.model(call.model)
        source = price_provider(provider.price_provider or kind.price_provider, target.path, model)
        price = book.find(source, model) if source and model else None
        unknown = price is None and fmt.metered and not fmt.later_look
        if provider.require_price and (unknown or fmt.name in kind.bills):
            unpriced = provider.name
            continue
        worst = worst_case(call, model, price, kind.hidden_tokens)
        tier = call.service_tier or provider.service_tier
        most = ceiling(worst, price, at, tier) if fmt.metered and not fmt.later_look else 0
        found.append(Candidate(member, kind, model, Tariff(book, source, model, at), price, worst, most))
    if not found and not unpriced:
        raise GatewayError(
            "upstream-unreachable",
            f"The route '{route.name}' has no member that can be asked: an administrator must add or activate one.",
        )
    if not found:
        what = f"the model '{call.model}'" if call.model else f"'{fmt.name}'"
        raise GatewayError(
            "no-price",
            f"No price is known for {what} at provider '{unpriced}', and it requires one. "
            'Check the model\'s name, set its price in paig.toml ([prices."…"]), or let the provider pass '
            "unpriced models with require_price = false.",
            details={"model": call.model, "provider": unpriced},
        )
    return found


class Dispatcher:
    """Tries candidates in turn until one answers."""

    def __init__(
        self,
        upstream: Upstream,
        auth: Authenticator,
        problem: Callable[[str], str | None],
        clock: Callable[[], float],
    ) -> None:
        """Take what sends and what signs.

        Args:
            upstream: The HTTP client.
            auth: Signs requests.
            problem: Why nothing can be sent to the provider of a name, or None.
            clock: Monotonic seconds.
        """
        self._upstream = upstream
        self._auth = auth
        self._problem = problem
        self._clock = clock

    async def send(
        self,
        exchange: Exchange,
        order: list[Candidate],
        outcome: Outcome,
    ) -> tuple[UpstreamResponse, bool]:
        """Send the request to the first candidate that takes it.

        Args:
            exchange: The request.
            order: Whom to try.
            outcome: Is told of each try.

        Returns:
            The answer, and whether the gateway asked for stream usage that the client had not asked for.

        Raises:
            GatewayError: `upstream-unreachable` or `upstream-timeout`, after the last candidate failed.
        """
        for position, candidate in enumerate(order):
            last = position == len(order) - 1
            outcome.candidate = candidate
            began = self._clock()
            if outcome.dispatched is None:
                outcome.dispatched = began
            attempt: dict[str, object] = {"provider": candidate.provider.name, "model": candidate.model, "cost": "0"}
            attempt["began_ms"] = round((began - exchange.started) * 1000, 3)
            outcome.attempts.append(attempt)
            try:
                response, asked = await self._send_one(exchange, candidate, len(outcome.attempts))
            except CredentialError as error:
                attempt["error"] = "credential"
                failure: GatewayError = GatewayError("upstream-unreachable", f"{error} An administrator must mend it.")
            except UpstreamError as error:
                attempt["error"] = failure_code(error)
                failure = upstream_failure(error, candidate)
                if error.sent and isinstance(error, UpstreamTimeout):
                    # The provider may well go on working, and bill for it.
                    attempt["cost"] = format_usd(candidate.ceiling)
                    outcome.charge(candidate.ceiling, "ceiling")
                    raise failure from error
            else:
                attempt["status"] = response.status
                if last or response.status not in RETRYABLE:
                    return response, asked
                await response.aclose()
                continue
            finally:
                attempt["ms"] = round((self._clock() - began) * 1000, 3)
            if last:
                raise failure
        raise AssertionError("a route has at least one member")

    async def _send_one(self, exchange: Exchange, candidate: Candidate, number: int) -> tuple[UpstreamResponse, bool]:
        kind, provider = candidate.kind, candidate.provider
        if problem := self._problem(provider.name):
            raise CredentialError(problem)
        fmt, call = exchange.fmt, exchange.call
        path, body, asked = exchange.target.path, exchange.body, False
        if candidate.model != call.model:
            path, body = renamed(fmt, path, exchange.plain, candidate.model)
        if fmt.asks is not None and kind.asks_usage and call.stream and not call.asks_usage:
            body, asked = fmt.asks(exchange.plain if body is exchange.body else body), True
        url = kind.path(provider.base_url, path, provider.settings)
        query = exchange.target.query
        if kind.name == "azure" and b"api-version=" not in query and "/deployments/" in url:
            version = provider.settings.get("api_version", "2024-10-21").encode()
            query = query + b"&api-version=" + version if query else b"api-version=" + version
        if query:
            url = f"{url}?{query.decode('latin-1')}"
        headers = to_upstream(exchange.headers)
        if body is not exchange.body:
            # What was changed was changed in the plain body.
            headers = [header for header in headers if header[0] != b"content-encoding"]
        if exchange.trace is not None:
            headers += exchange.trace.headers(number)
        headers.append((b"accept-encoding", self._accept_encoding(exchange)))
        headers += await self._auth.headers(kind.auth, provider, exchange.method, url, headers, body)
        payload = body if body or exchange.method in ("POST", "PUT", "PATCH") else None
        return await self._upstream.send(exchange.method, url, headers, payload), asked

    @staticmethod
    def _accept_encoding(exchange: Exchange) -> bytes:
        """The meter reads what it can; only an answer that nobody meters may come compressed as the client likes."""
        if exchange.fmt.metered:
            return b"identity"
        return next((value for name, value in exchange.headers if name == b"accept-encoding"), b"identity")


def renamed(fmt: Format, path: str, plain: bytes, model: str) -> tuple[str, bytes]:
    """The request's path and body with another model's name in them, wherever it stands; no other byte changes."""
    match = fmt.path.search(path)
    if match is not None and match.groupdict().get("model"):
        start, end = match.span("model")
        return path[:start] + quote(model, safe="") + path[end:], plain
    return path, splice_member(plain, ("model",), json.dumps(model).encode())


def failure_code(error: UpstreamError) -> str:
    """The contract's code of a failed try."""
    return "upstream-timeout" if isinstance(error, UpstreamTimeout) else "upstream-unreachable"


def upstream_failure(error: UpstreamError, candidate: Candidate) -> GatewayError:
    """What the client is told when no answer came."""
    name = candidate.provider.name
    if isinstance(error, UpstreamTimeout):
        return GatewayError("upstream-timeout", f"The provider '{name}' did not answer in time ({error.reason}).")
    return GatewayError("upstream-unreachable", f"The provider '{name}' could not be reached ({error.reason}).")


def header_map(headers: Headers) -> dict[str, str]:
    """Headers by name, as the formats read them."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
