"""Further models that a request names: fallbacks, advisors, agents.

Each must be among the key's models, and what it may cost is held, so they are collected from everywhere that any API
is known to take one.
"""

from __future__ import annotations

from collections.abc import Sequence

from paig_gateway.formats import reading
from paig_gateway.formats.base import ModelCall
from paig_gateway.formats.reading import Members, Raw

DEEPEST = 6
"""Levels that are looked into; no API nests a model's name deeper."""

# Members that list models of which one may answer in place of the request's own.
_INSTEAD = ("models", "fallbacks", "fallback_models", "fallback_model", "background_options", "route_models")
# Members that set further models to work, besides the request's own.
_BESIDES = ("tools", "agents", "subagents", "sub_agents", "advisor", "multi_agent", "multiagent", "plugins", "judge")
# Members whose content is the client's own data, in which "model" means nothing.
_DATA = frozenset({"parameters", "input_schema", "inputSchema", "schema", "json_schema", "function", "examples"})

CALLS = 20
"""How often a model that a tool brings in is assumed to be called at most, where the tool does not say."""


def instead(top: Members) -> list[ModelCall]:
    """The models that may answer in place of the request's own."""
    if top.keys().isdisjoint(_INSTEAD):
        return []
    return [call for name in _INSTEAD if name in top for call in _in(top[name], times=1, plain=True)]


def besides(top: Members, tools: Sequence[Raw] = ()) -> list[ModelCall]:
    """The models that may work besides the request's own.

    Args:
        tools: Tools that stand elsewhere in it.
    """
    if not tools and top.keys().isdisjoint(_BESIDES):
        return []
    places = [*(top[name] for name in _BESIDES if name in top), *tools]
    return [call for place in places for call in _in(place, times=CALLS, plain=False)]


def _in(raw: Raw, *, times: int, plain: bool, depth: int = 0) -> list[ModelCall]:
    """The models named in a value: as an object's `model`, and as plain strings where those name models."""
    if depth > DEEPEST or (b"model" not in (text := bytes(raw)) and not plain and b"\\u" not in text):
        return []
    if plain and (name := reading.string(raw)):
        return [] if name == "default" else [ModelCall(name, times)]
    if text.lstrip()[:1] == b"[":
        return [one for part in reading.array(raw) for one in _in(part, times=times, plain=plain, depth=depth + 1)]
    found: list[ModelCall] = []
    members = reading.members(raw)
    for name, value in members.items():
        if name in ("model", "model_id", "modelId"):
            if model := reading.string(value):
                most = reading.largest(members.get("max_tokens"))
                found.append(ModelCall(model, reading.count(members.get("max_uses"), times, "max_uses"), most))
        elif name == "models":
            found += _in(value, times=times, plain=True, depth=depth + 1)
        elif name not in _DATA and bytes(value)[:1] in (b"{", b"["):
            found += _in(value, times=times, plain=False, depth=depth + 1)
    return found
