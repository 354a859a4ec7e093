"""A small value that a JSON schema accepts, for the arguments of the simulated model's tool calls."""

from __future__ import annotations

import math
from typing import Any

from .wire import Document

_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "hostname": "example.com",
}


def instance(schema: Document, name: str = "value") -> Any:
    """Build a minimal instance: required properties, null or the first of several choices, as few items as allowed.

    Supports types (also in capitals, as Gemini writes them), enum, const, default, local `$ref` (also recursive ones,
    if the schema can end), anyOf, oneOf, allOf, formats and bounds; not `pattern`, `not` or `uniqueItems`.

    Args:
        schema: The schema; definitions are looked up in it.
        name: The value of a plain string.
    """
    return _build(schema, schema, name, frozenset())


def _build(schema: Document, root: Document, name: str, trail: frozenset[str]) -> Any:
    if ref := schema.get("$ref"):
        siblings = {key: value for key, value in schema.items() if key != "$ref"}
        return _build({**_resolve(root, ref), **siblings}, root, name, trail | {ref})
    for exact in ("const", "default"):
        if exact in schema:
            return schema[exact]
    if schema.get("enum"):
        return schema["enum"][0]
    if options := schema.get("anyOf") or schema.get("oneOf"):
        rest = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
        # A branch that refers back to this schema would never end.
        ending = [option for option in options if not _refs(option) & trail] or options
        choice = next((option for option in ending if option.get("type") == "null"), ending[0])
        return _build(_merge([rest, choice]), root, name, trail)
    if parts := schema.get("allOf"):
        rest = {key: value for key, value in schema.items() if key != "allOf"}
        targets = [{**_resolve(root, part["$ref"]), **part} if "$ref" in part else part for part in parts]
        merged = _merge([rest, *targets])
        merged.pop("$ref", None)
        return _build(merged, root, name, trail)
    kind = _kind(schema)
    if kind == "object":
        properties: Document = schema.get("properties") or {}
        return {key: _build(properties.get(key, {}), root, key, trail) for key in schema.get("required") or ()}
    if kind == "array":
        items: list[Document] = list(schema.get("prefixItems") or ())
        missing = max(int(schema.get("minItems") or 0) - len(items), 0)
        items += [schema.get("items") or {}] * missing
        return [_build(item, root, name, trail) for item in items]
    if kind in ("integer", "number"):
        return _number(schema, whole=kind == "integer")
    return {"boolean": False, "null": None}.get(kind, _string(schema, name))


def _kind(schema: Document) -> str:
    kind: Any = schema.get("type")
    if kind:
        names: list[str] = [kind] if isinstance(kind, str) else kind
        return next((name for name in names if name != "null"), "null").lower()
    if "properties" in schema or "required" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"


def _number(schema: Document, *, whole: bool) -> float:
    step = 1 if whole else 0.5
    low, high = schema.get("minimum"), schema.get("maximum")
    if (bound := schema.get("exclusiveMinimum")) is not None:
        low = bound + step if low is None else max(low, bound + step)
    if (bound := schema.get("exclusiveMaximum")) is not None:
        high = bound - step if high is None else min(high, bound - step)
    value: float = 0
    if low is not None and value < low:
        value = low
    if high is not None and value > high:
        value = high if low is None or high >= low else (low + high) / 2
    if unit := schema.get("multipleOf"):
        value = math.ceil(value / unit) * unit
        if high is not None and value > high:
            value = math.floor(high / unit) * unit
    return math.ceil(value) if whole else value


def _string(schema: Document, name: str) -> str:
    text = _FORMATS.get(str(schema.get("format")), name)
    return text.ljust(int(schema.get("minLength") or 0), "x")[: schema.get("maxLength")]


def _resolve(root: Document, ref: str) -> Document:
    found: Any = root
    for step in ref.removeprefix("#").strip("/").split("/"):
        if step:
            found = found[step.replace("~1", "/").replace("~0", "~")]
    result: Document = found
    return result


def _refs(schema: Document) -> set[str]:
    """The references that every instance of the schema needs."""
    found: set[str] = {schema["$ref"]} if "$ref" in schema else set()
    if _kind(schema) == "object":
        properties: Document = schema.get("properties") or {}
        for key in schema.get("required") or ():
            found |= _refs(properties.get(key, {}))
    return found


def _merge(schemas: list[Document]) -> Document:
    merged: Document = {}
    for schema in schemas:
        properties = {**merged.get("properties", {}), **schema.get("properties", {})}
        required = [*merged.get("required", ()), *schema.get("required", ())]
        merged |= schema
        if properties:
            merged["properties"] = properties
        if required:
            merged["required"] = required
    return merged
