"""What all exports share: the resource, and how a value becomes an attribute.

Imported only in threads that export, because it loads protobuf. OpenTelemetry's SDK and exporter in place of this cost
a traced request 9 % more CPU, and lose what docs/internals/telemetry.md lists.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypeAlias
from urllib.parse import unquote

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

Value: TypeAlias = str | bool | int | float | Sequence[str]
Attributes: TypeAlias = RepeatedCompositeFieldContainer[KeyValue]


def put(attributes: Attributes, values: Mapping[str, Value | None]) -> None:
    """Add values; None is left out."""
    for name, value in values.items():
        if value is None:
            continue
        kept = attributes.add(key=name).value
        if isinstance(value, str):
            kept.string_value = value
        elif isinstance(value, bool):
            kept.bool_value = value
        elif isinstance(value, int):
            kept.int_value = value
        elif isinstance(value, float):
            kept.double_value = value
        else:
            kept.array_value.SetInParent()
            for item in value:
                kept.array_value.values.add(string_value=item)


def scope(version: str) -> InstrumentationScope:
    """The instrumentation scope of spans and metrics."""
    return InstrumentationScope(name="paig", version=version)


def resource(version: str, instance: str) -> Resource:
    """The process as a resource, with `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.

    Args:
        instance: The process's unique id.
    """
    attributes = {}
    for pair in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        name, given, value = pair.partition("=")
        if given and name.strip():
            attributes[name.strip()] = unquote(value.strip())
    if service := os.environ.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = service
    own = {"service.name": "paig", "service.version": version, "service.instance.id": instance}
    found = Resource()
    put(found.attributes, own | attributes)
    return found
