"""Minimal instances, held against a real validator."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from pydantic import BaseModel, Field, TypeAdapter

from paig_gateway.simulator.schema import instance


class Leaf(BaseModel):
    """An end of a tree."""

    weight: float = Field(gt=0.2, lt=1)


class Tree(BaseModel):
    """A recursive model."""

    name: str = Field(min_length=7, max_length=9)
    left: Tree | None
    kids: list[Tree]
    leaves: list[Leaf] = Field(min_length=2)
    mood: Leaf | str


def no_case(value: Any) -> Any:
    """The schema with its types in small letters, as a validator wants them."""
    if not isinstance(value, dict):
        return value
    return {
        key: inner.lower() if key == "type" and isinstance(inner, str) else no_case(inner)
        for key, inner in value.items()
    }


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": "string", "minLength": 30},
        {"type": "string", "maxLength": 2},
        {"enum": ["red", "green"]},
        {"const": 7},
        {"type": ["null", "integer"], "minimum": 3},
        {"type": "integer", "exclusiveMinimum": 3, "multipleOf": 5},
        {"type": "integer", "maximum": -3},
        {"type": "number", "exclusiveMaximum": 0},
        {"type": "array", "items": {"type": "integer"}, "minItems": 3},
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}], "minItems": 2},
        {"properties": {"a": {"items": {"type": "null"}, "minItems": 1}}, "required": ["a"]},
        {"oneOf": [{"type": "null"}, {"type": "string"}]},
        {"allOf": [{"required": ["a"]}, {"properties": {"a": {"type": "integer"}}, "type": "object"}]},
        {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "boolean"}}},
        {
            "allOf": [{"$ref": "#/$defs/base"}, {"required": ["b"], "properties": {"b": {"enum": [1]}}}],
            "$defs": {"base": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}},
        },
        {"type": "object", "properties": {"day": {"type": "string", "format": "date"}}, "required": ["day"]},
        {"type": "OBJECT", "properties": {"n": {"type": "NUMBER"}, "s": {"type": "STRING"}}, "required": ["n", "s"]},
        TypeAdapter(Tree).json_schema(),
        TypeAdapter(list[Tree] | int).json_schema(),
        TypeAdapter(dict[str, Leaf]).json_schema(),
    ],
)
def test_instance_is_valid(schema: dict[str, Any]) -> None:
    """What is built is valid, whatever the schema is made of."""
    jsonschema_rs.validate(no_case(schema), instance(schema))


def test_instance_is_minimal() -> None:
    """Optional properties are left out, strings are named after their place."""
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"default": "C"}, "note": {"type": "string"}},
        "required": ["city", "unit"],
    }
    assert instance(schema) == {"city": "city", "unit": "C"}
