"""Errors of the admin API."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from paig_client.api.resources import Problem


def in_words(error: Exception) -> str:
    """The message of a failed connection, without the system's error number."""
    return re.sub(r"\[Errno -?\d+\] ", "", f"{error}")


class AdminError(Exception):
    """A call of the admin API failed."""


class GatewayUnreachable(AdminError):
    """No gateway answers at `url`, or the connection to it broke."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"No gateway answers at {url}: {reason}")
        self.url = url


class NotTheAdminApi(AdminError):
    """Something answered, but not as this version's admin API does."""


class Refused(AdminError):
    """The gateway refused.

    Attributes:
        problem: Why.
        fields: The invalid fields with their errors.
    """

    def __init__(self, problem: Problem, fields: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem
        self.fields = fields


class NotAuthorised(Refused):
    """The admin token is missing or unknown (401), or not allowed this (403)."""


class NotFound(Refused):
    """The object does not exist."""


class Conflict(Refused):
    """The name is taken, the object is in use, or it changed meanwhile."""


class Invalid(Refused):
    """What was sent is not valid; the problem names the field."""


REFUSALS: Mapping[int, type[Refused]] = {
    400: Invalid,
    401: NotAuthorised,
    403: NotAuthorised,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    422: Invalid,
}
