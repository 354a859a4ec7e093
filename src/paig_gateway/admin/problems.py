"""The one place where exceptions of the admin API become answers: problem details, by the table of `problem_codes`."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, DBAPIError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from paig_gateway.admin.problem_codes import MEDIA_TYPE, PROBLEMS, problem
from paig_gateway.catalog import CatalogError

log = logging.getLogger(__name__)

_FALLBACK = {400: "bad-request", 404: "not-found", 405: "method-not-allowed"}
"""The code of an error that the framework raises by status alone."""

_SAYS = {
    "Extra inputs are not permitted": "is not a field of this object: check its spelling or leave it out",
    "Field required": "is needed",
    "Input should be a valid dictionary": "must be a JSON object",
}
"""Our replacements for some of pydantic's messages."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field at fault.

    Attributes:
        field: Its path, such as `limits.daily`; empty for the whole.
        message: The error and what to do.
    """

    field: str
    message: str

    def __str__(self) -> str:
        """The message behind the field's name."""
        return f"{self.field}: {self.message}" if self.field else self.message


class ProblemError(HTTPException):
    """An answer that is a problem.

    Attributes:
        code: One of `PROBLEMS`; decides status and title.
    """

    def __init__(
        self, code: str, detail: str, *, fields: Sequence[FieldProblem] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        status, _ = PROBLEMS[code]
        super().__init__(status, detail, headers)
        self.code = code
        self.fields = fields


def invalid(fields: Sequence[FieldProblem]) -> ProblemError:
    """The problem of a request with these fields at fault."""
    return ProblemError("invalid", "; ".join(map(str, fields)), fields=fields)


def field_problems(errors: Iterable[Mapping[str, Any]], *, skip: int = 0) -> list[FieldProblem]:
    """Pydantic's errors as fields at fault.

    Args:
        errors: As `ValidationError.errors()` gives them.
        skip: How many leading parts of each location do not name a field.
    """
    return [FieldProblem(".".join(map(str, error["loc"][skip:])), _message(error["msg"])) for error in errors]


def problem_response(error: ProblemError) -> Response:
    """The answer that carries a problem."""
    body = problem(error.code, str(error.detail))
    if error.fields:
        body["errors"] = [{"field": field.field, "message": field.message} for field in error.fields]
    headers = {**(error.headers or {}), "cache-control": "no-store"}
    # ASCII only, because what is quoted from the request may hold lone surrogates.
    return Response(json.dumps(body), error.status_code, headers, MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Make every exception that leaves a handler a problem."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(CatalogError, _catalog)
    app.add_exception_handler(DataError, _data)
    app.add_exception_handler(SQLAlchemyError, _database)
    app.add_exception_handler(Exception, _unexpected)


def _message(text: str) -> str:
    """Pydantic's message as the rest of a sentence that begins with the field's name."""
    if text in _SAYS:
        return _SAYS[text]
    text = text.removeprefix("Value error, ").replace("Input should be", "must be")
    return text[:1].lower() + text[1:]


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, ProblemError):
        note: Callable[[Request, ProblemError], Awaitable[ProblemError]] = request.app.state.note_refusal
        return problem_response(await note(request, error))
    code = _FALLBACK.get(error.status_code, "internal")
    says = {
        "not-found": f"There is nothing at {request.url.path}: /admin/docs lists the endpoints.",
        "method-not-allowed": f"{request.method} is not allowed here; the Allow header says what is.",
    }
    return problem_response(ProblemError(code, says.get(code, str(error.detail)), headers=error.headers))


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_response(invalid(field_problems(error.errors(), skip=1)))


async def _catalog(request: Request, error: Exception) -> Response:
    assert isinstance(error, CatalogError)
    field = FieldProblem(error.field, _message(error.message) if error.field else error.message)
    # `changed` is the failure of a condition that the request set (412); one that set none merely clashed.
    code = "conflict" if error.code == "changed" else error.code
    return problem_response(ProblemError(code, str(field), fields=[field] if error.field else ()))


async def _data(request: Request, error: Exception) -> Response:
    """A value that the database cannot hold, such as a null character in PostgreSQL."""
    return problem_response(ProblemError("invalid", "A value holds what the database cannot keep: change it."))


async def _database(request: Request, error: Exception) -> Response:
    # The driver's message is enough: a traceback would repeat for every request while the database is down.
    message = " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())
    known = isinstance(error, (OperationalError, InternalError, PoolTimeout))
    where = request.method, request.url.path, message
    log.error("%s %s failed in the database: %s", *where, exc_info=None if known else error)
    return problem_response(
        ProblemError(
            "unavailable",
            "The database cannot be used at present; the gateway's log says why. Try again.",
            headers={"retry-after": "5"},
        )
    )


async def _unexpected(request: Request, error: Exception) -> Response:
    """The last resort; the server logs the exception, since the framework raises it again."""
    return problem_response(ProblemError("internal", "Something unforeseen went wrong; the gateway's log says what."))
