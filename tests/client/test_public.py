"""How the public names of `paig_client` are called: a change here is a change for every user."""

# ruff: noqa: E501  (signatures, as they are)

from __future__ import annotations

import inspect
from decimal import Decimal

from inline_snapshot import snapshot
from pydantic import BaseModel

import paig_client
import paig_client.schema


def test_the_ways_to_call_them() -> None:
    """The functions and contexts of a program that asks models; the SDKs' own clients take what those take."""
    called = (
        "PaigGateway",
        "gateway_model",
        "gateway_provider",
        "register",
        "unregister",
        "spend_of",
        "async_spend_of",
    )
    called += ("spending", "tags", "budget", "session", "agent", "from_exception")
    assert {name: str(inspect.signature(getattr(paig_client, name))) for name in called} == snapshot(
        {
            "PaigGateway": "(*, api_key: 'str | None' = None, base_url: 'str | None' = None, profile: 'str | None' = None, prefix: 'str' = 'gateway/') -> 'ResolveModelId[Any]'",
            "gateway_model": "(model: 'str', *, route: 'str | None' = None, api_key: 'str | None' = None, base_url: 'str | None' = None, profile: 'str | None' = None, http_client: 'Any | None' = None) -> 'Model'",
            "gateway_provider": "(upstream_provider: 'str', /, *, route: 'str | None' = None, api_key: 'str | None' = None, base_url: 'str | None' = None, profile: 'str | None' = None, http_client: 'Any | None' = None) -> 'Provider[Any]'",
            "register": "(*, api_key: 'str | None' = None, base_url: 'str | None' = None, profile: 'str | None' = None) -> 'Registration'",
            "unregister": "() -> 'None'",
            "spend_of": "(work: 'Run | spending', *, wait: 'float' = 5.0) -> 'Spend'",
            "async_spend_of": "(work: 'Run | spending', *, wait: 'float' = 5.0) -> 'Spend'",
            "spending": "() -> 'None'",
            "tags": "(named: 'Mapping[str, object] | None' = None, /, **more: 'object') -> 'None'",
            "budget": "(usd: 'Decimal | float | str', *, run: 'str | None' = None) -> 'None'",
            "session": "(name: 'str | None' = None) -> 'None'",
            "agent": "(name: 'str | None' = None, *, id: 'str | None' = None, session: 'str | None' = None) -> 'None'",
            "from_exception": "(exc: 'BaseException') -> 'PaigError | None'",
        }
    )


def test_the_attributes_of_results_and_errors() -> None:
    """What results and refusals tell."""
    kinds = (paig_client.Spend, paig_client.Charge, paig_client.Fitted, paig_client.LimitExceeded)
    assert {
        kind.__name__: sorted(
            name for name in {*getattr(kind, "__slots__", ()), *dir(kind)} - {*dir(Exception)} if name[0] != "_"
        )
        for kind in kinds
    } == snapshot(
        {
            "Spend": [
                "certainty",
                "charges",
                "cost",
                "fitted",
                "input_tokens",
                "missing",
                "output_tokens",
                "refusals",
                "request_ids",
                "settled",
            ],
            "Charge": [
                "certainty",
                "certainty_reason",
                "cost",
                "fitted",
                "id",
                "model",
                "provider",
                "refusal",
                "route",
                "settled",
                "status",
                "time",
                "usage",
            ],
            "Fitted": ["cut", "field", "maximum"],
            "LimitExceeded": [
                "amount",
                "held",
                "needed",
                "owner",
                "owner_kind",
                "resets_at",
                "spent",
                "unit",
                "window",
                "would_help",
            ],
        }
    )


def test_amounts_of_the_admin_api_are_decimals() -> None:
    """In Python, so that they add up; on the wire each is a plain string with every digit, as before."""
    money = {"amount", "spent", "held", "left", "spent_today", "cost", "reserved", "list_price", "list_cost"}
    money |= {"difference", "total_cost", "repriced"}
    models = {
        name: kind
        for name, kind in vars(paig_client.schema).items()
        if inspect.isclass(kind) and issubclass(kind, BaseModel) and "Resource" not in name
    }
    fields = {
        f"{name}.{field}": str(kind.model_fields[field].annotation)
        for name, kind in models.items()
        for field in sorted(money & kind.model_fields.keys())
    }
    assert {name for name, kind in fields.items() if "Decimal" not in kind} == {"Repricing.left"}  # a count
    assert {"Request.cost", "LimitStatus.left", "SessionAgent.total_cost", "Repricing.difference"} <= fields.keys()


def test_amounts_on_the_wire_have_no_exponent() -> None:
    """A nanodollar, and zeros at the end: digits as the gateway writes them."""
    for text in ("0.000000001", "0", "12.50", "-0.00000015", "1000000000"):
        attempt = paig_client.schema.Attempt.model_validate({"provider": "p", "model": "m", "cost": text})
        assert attempt.cost == Decimal(text)
        assert attempt.model_dump(mode="json")["cost"] == text
        assert f'"cost":"{text}"' in attempt.model_dump_json()
