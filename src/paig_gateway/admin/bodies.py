"""Request bodies: read within bounds, as JSON objects, and checked against their Spec field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.message import Message
from typing import Annotated, Any, NoReturn, TypeVar
from urllib.parse import parse_qsl

from fastapi import Depends
from pydantic import TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect, Request

from paig_client.api.fields import Spec
from paig_gateway.admin.problems import FieldProblem, ProblemError, field_problems, invalid

S = TypeVar("S", bound=Spec)

MAX_BYTES = 5_000_000
"""The largest body taken."""

_NAME = TypeAdapter(str)


async def form_fields(request: Request, *, most_bytes: int, most_fields: int) -> dict[str, str]:
    """The fields of a form; none if it is too large or has too many."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            return {}
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=most_fields))
    except ValueError:
        return {}


def checked(spec: type[S], body: Mapping[str, Any]) -> S:
    """The body as a Spec.

    Raises:
        ProblemError: `invalid`, with every field at fault.
    """
    try:
        return spec.model_validate(body)
    except ValidationError as error:
        raise invalid(field_problems(error.errors(include_url=False))) from None


def named(spec: type[S], body: Mapping[str, Any]) -> tuple[str, S]:
    """The body of a create: a name, and a Spec's fields beside it.

    Raises:
        ProblemError: `invalid`, with every field at fault.
    """
    fields = dict(body)
    wrong: list[FieldProblem] = []
    name = ""
    try:
        name = _NAME.validate_python(fields.pop("name"), strict=True)
    except KeyError:
        wrong.append(FieldProblem("name", "is needed"))
    except ValidationError as error:
        wrong += [FieldProblem("name", found.message) for found in field_problems(error.errors(include_url=False))]
    try:
        checking = checked(spec, fields)
    except ProblemError as error:
        raise invalid([*wrong, *error.fields]) from None
    if wrong:
        raise invalid(wrong)
    return name, checking


def body_of(schema: str) -> dict[str, Any]:
    """The OpenAPI request body with that schema."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"requestBody": {"required": True, "content": content}}


async def _json_object(request: Request) -> dict[str, Any]:
    media = Message()
    media["content-type"] = request.headers.get("content-type", "")
    subtype = media.get_content_subtype()
    if media.get_content_maintype() != "application" or not (subtype == "json" or subtype.endswith("+json")):
        raise ProblemError("unsupported-media-type", "Send JSON, with the header `Content-Type: application/json`.")
    raw = await _read(request)
    try:
        body = json.loads(raw, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ProblemError("bad-request", f"The body is not JSON: {error.msg} at {where}.") from None
    except (ValueError, RecursionError):  # not UTF-8, a number of thousands of digits, thousands of brackets
        raise ProblemError("bad-request", "The body is not JSON that the gateway can read.") from None
    if not isinstance(body, dict):
        raise invalid([FieldProblem("", "The body must be a JSON object")])
    return body


async def _read(request: Request) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_BYTES:
        raise _too_large()
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BYTES:
                raise _too_large()
    except ClientDisconnect:
        raise ProblemError("bad-request", "The body ended early.") from None
    return bytes(body)


def _too_large() -> ProblemError:
    return ProblemError("body-too-large", f"The admin API takes bodies of {MAX_BYTES} bytes at most.")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


JsonObject = Annotated[dict[str, Any], Depends(_json_object)]
"""A handler's parameter: the body, which must be a JSON object."""
