"""Reads the text of a `paig.toml` into checked Specs, or lists all errors in it with their lines."""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Callable, Container, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path as FilePath
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from paig_client.api import toml
from paig_client.api.fields import Spec
from paig_client.api.specs import (
    KeySpec,
    NamedLimitSpec,
    OrganisationSpec,
    OwnerSpec,
    PriceSpec,
    ProjectSpec,
    ProviderSpec,
    RouteSpec,
)
from paig_gateway.catalog import keys, limits, named_limits, prices, providers, routes
from paig_gateway.catalog.base import CatalogError, check_free_name, check_url_name, suggestion
from paig_gateway.config.lines import SpecPath, line_numbers
from paig_gateway.config.model import PROCESS, Config, ConfigError, Issue, line_of, show_path

Model = TypeVar("Model", bound=Spec)

TABLES = (*PROCESS, "organisation", "models", "providers", "routes", "prices", "projects", "users", "limits", "keys")


def load(path: FilePath) -> Config:
    """Read a file.

    Raises:
        ConfigError: It cannot be read, or something in it is wrong.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError([Issue(path.name, 1, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Issue(path.name, 1, "", "is not UTF-8 text")]) from None
    return parse(text, path.name)


def parse(text: str, source: str = "paig.toml") -> Config:
    """Read the text of a file.

    Args:
        text: TOML.
        source: The file's name, for messages.

    Raises:
        ConfigError: With everything that is wrong, each with its line.
    """
    text = text.removeprefix("\ufeff")  # some editors put one in front
    try:
        data = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_issue(text, source, str(error))]) from None
    return _SpecReader(data, source, line_numbers(text.replace("\r\n", "\n"))).config()


FORMS = {
    "per": "must be key, user, project, model, provider, session, or tag: and the tag's name, such as tag:customer",
    "tag": "must be a tag's name, such as customer, or one with its value, such as customer=acme",
}
"""Messages for fields with a form of their own."""


class _SpecReader:
    """Collects errors while it reads, so that all of them are shown at once."""

    def __init__(self, data: Mapping[str, Any], source: str, lines: Mapping[SpecPath, int]) -> None:
        self.data = data
        self.source = source
        self.lines = lines
        self.issues: list[Issue] = []

    def config(self) -> Config:
        for name in self.data:
            if name not in TABLES:
                self.wrong((name,), f"unknown table{suggestion(name, TABLES)}")
        process: dict[str, Any] = {name: self.one(name, spec) or spec() for name, spec in PROCESS.items()}
        organisation = self.one("organisation", OrganisationSpec)
        found = Config(
            **process,
            organisation=organisation,
            models=self.models(),
            providers=self.many("providers", ProviderSpec, check_url_name),
            routes=self.many("routes", RouteSpec, check_url_name),
            prices=self.many("prices", PriceSpec, check_free_name),
            projects=self.many("projects", ProjectSpec, check_free_name),
            users=self.many("users", OwnerSpec, check_free_name),
            limits=self.many("limits", NamedLimitSpec, check_free_name),
            keys=self.many("keys", KeySpec, check_free_name),
            process=tuple(name for name in self.data if name in PROCESS),
            source=self.source,
            lines=self.lines,
        )
        self.check(found)
        if self.issues:
            raise ConfigError(self.issues)
        return found

    def check(self, found: Config) -> None:
        """Check what a Spec cannot check by itself. A name counts as defined even if its definition is wrong."""
        for name, provider in found.providers.items():
            for place, wrong in providers.problems(provider):
                self.wrong(("providers", name, place), wrong)
        for name in self.names("routes"):
            for place, wrong in self.members(name, found.routes.get(name)):
                self.wrong(("routes", name, *_split(place)), wrong)
        for name, price in found.prices.items():
            for place, wrong in prices.problems(price, self.names("providers")):
                self.wrong(("prices", name, *_split(place)), wrong)
        for name, key in found.keys.items():
            for place, wrong in (*keys.problems(key), *self.dangling(key)):
                self.wrong(("keys", name, *_split(place)), wrong)
        for name, limit in found.limits.items():
            for place, wrong in named_limits.problems(limit, self.known):
                self.wrong(("limits", name, *_split(place)), wrong)
            try:
                limits.amounts(limit.limits)
            except CatalogError as error:
                self.wrong(("limits", name, *_split(error.field)[1:]), error.message)
        owned: list[tuple[SpecPath, OwnerSpec | OrganisationSpec | KeySpec]] = [
            *((("projects", name), owner) for name, owner in found.projects.items()),
            *((("users", name), owner) for name, owner in found.users.items()),
            *((("keys", name), key) for name, key in found.keys.items()),
            *([(("organisation",), found.organisation)] if found.organisation else []),
        ]
        for path, owner in owned:
            try:
                limits.amounts(owner.limits)
            except CatalogError as error:
                self.wrong((*path, *_split(error.field)), error.message)

    def models(self) -> Mapping[str, str] | None:
        """The table `[models]`, which is part of the organisation's settings, but not of its table in the file."""
        organisation = self.data.get("organisation")
        if isinstance(organisation, dict) and "models" in organisation:
            self.wrong(("organisation", "models"), "must be a table of its own: write [models]")
        if "models" not in self.data:
            return None
        found = self.spec((), OrganisationSpec, {"models": self.data["models"]})
        models = found.models if found is not None else {}
        known = self.known("route")
        for pattern, route in models.items():
            if route not in known:
                close = suggestion(route, known)
                self.wrong(("models", pattern), f"there is no route or provider '{route}' in this file{close}")
        return models

    def members(self, name: str, route: RouteSpec | None) -> Iterator[tuple[str, str]]:
        """Check a route's members; for a route that is not valid itself, only whether the providers exist."""
        known = self.names("providers")
        if route is not None:
            yield from routes.problems(route, known)
            return
        raw = self.data["routes"][name]
        listed = raw.get("members") if isinstance(raw, dict) else None
        for number, member in enumerate(listed if isinstance(listed, list) else ()):
            provider = member.get("provider") if isinstance(member, dict) else None
            if isinstance(provider, str) and provider not in known:
                yield f"members.{number}.provider", routes.no_provider(provider, known)

    def dangling(self, key: KeySpec) -> Iterator[tuple[str, str]]:
        """Check that the file defines everything that a key names."""
        for place, table, named in (("project", "projects", key.project), ("user", "users", key.user)):
            if named is not None and named not in self.names(table):
                close = suggestion(named, self.names(table))
                yield place, f"there is no {place} '{named}' in this file: add [{table}.{toml.key(named)}]{close}"
        open_routes = [*self.names("routes"), *self.names("providers")]
        for number, named in enumerate(key.routes or ()):
            if named not in open_routes:
                close = suggestion(named, open_routes)
                yield f"routes.{number}", f"there is no route or provider '{named}' in this file{close}"

    def known(self, kind: str) -> list[str]:
        """The names of a kind that the file defines; every provider is also a route."""
        return [*self.names(f"{kind}s"), *(self.names("providers") if kind == "route" else ())]

    def names(self, table: str) -> list[str]:
        """The names in a table of the file, valid or not."""
        entries = self.data.get(table)
        return list(entries) if isinstance(entries, dict) else []

    def one(self, table: str, model: type[Model]) -> Model | None:
        return self.spec((table,), model, self.data[table]) if table in self.data else None

    def many(self, table: str, model: type[Model], check_name: Callable[[str], str | None]) -> dict[str, Model]:
        entries = self.data.get(table, {})
        if not isinstance(entries, dict):
            self.wrong((table,), f"must be a table: write [{table}.NAME]")
            return {}
        found = {}
        for name, value in entries.items():
            wrong = check_name(name)
            if wrong:
                self.wrong((table, name), f"the name {wrong}")
            spec = self.spec((table, name), model, value)
            if spec is not None:
                found[name] = spec
        return found

    def spec(self, path: SpecPath, model: type[Model], value: Any) -> Model | None:
        try:
            return model.model_validate(_with_times(value), strict=True)
        except ValidationError as error:
            details = error.errors(include_input=False, include_url=False)
            for detail in details:
                place: SpecPath = detail["loc"]
                message = detail["msg"]
                if detail["type"] == "extra_forbidden":
                    message = f"unknown field{suggestion(str(place[-1]), _fields(model, place[:-1]))}"
                elif detail["type"] == "too_short":
                    message = "must not be empty"
                elif detail["type"] == "string_pattern_mismatch" and place[-1] in FORMS:
                    message = FORMS[str(place[-1])]
                elif detail["type"] == "missing":
                    message = "is needed"
                elif detail["type"] in ("model_type", "dict_type"):
                    message = "must be a table"
                self.wrong((*path, *place), _plain(message))
        return self.rest(model, value, {detail["loc"][0] for detail in details if detail["loc"]})

    def rest(self, model: type[Model], value: Any, bad: Container[str | int]) -> Model | None:
        """The Spec without the fields that are wrong, so that the others are checked too."""
        if not isinstance(value, dict):
            return None
        good = {name: part for name, part in value.items() if name not in bad}
        with contextlib.suppress(ValidationError):
            return model.model_validate(_with_times(good), strict=True)
        return None

    def wrong(self, path: SpecPath, message: str) -> None:
        self.issues.append(Issue(self.source, line_of(self.lines, path), show_path(path), message))


def _split(place: str) -> SpecPath:
    return tuple(int(part) if part.isdecimal() else part for part in place.split(".") if part)


def _plain(message: str) -> str:
    """Pydantic's message, as the second half of a sentence that begins with the field's name."""
    message = message.removeprefix("Value error, ").replace("Input should be", "must be")
    return message[0].lower() + message[1:]


def _fields(model: type[BaseModel], place: SpecPath) -> list[str]:
    """The fields known at a place inside a Spec."""
    for part in place:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _with_times(value: Any) -> Any:
    """`expires_at` may be written as a date, a time, or a string of either; without a zone it is UTC."""
    if not isinstance(value, dict) or "expires_at" not in value:
        return value
    at = value["expires_at"]
    if isinstance(at, str):
        try:
            at = datetime.fromisoformat(at)
        except ValueError:
            return value
    if isinstance(at, date) and not isinstance(at, datetime):
        at = datetime(at.year, at.month, at.day)
    if isinstance(at, datetime) and at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return {**value, "expires_at": at}


def _syntax_issue(text: str, source: str, message: str) -> Issue:
    where = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    line = int(where[1]) if where else text.count("\n") + 1
    reason = message[: where.start()] if where else message.removesuffix(" (at end of document)")
    if twice := re.fullmatch(r"Cannot declare \((.*?),?\) twice", reason):
        reason = f"[{twice[1].replace(', ', '.').replace(chr(39), '')}] is given twice: keep one of them"
    return Issue(source, line, "", reason if twice else f"{reason}: this is not TOML")
