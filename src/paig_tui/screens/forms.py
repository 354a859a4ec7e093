"""Forms for keys, projects, users, providers, routes, members and limits, made from the specs of `paig_client`.

Each field of a spec becomes a question by its type; `WORDS` adds labels, hints and choices. A new field of a spec
appears in its form without a change here.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin
from zoneinfo import available_timezones

from pydantic import BaseModel, ValidationError
from textual.content import Content

from paig_client.api.fields import Spec
from paig_client.api.kinds import PROVIDER_KINDS
from paig_client.api.limits import WINDOWS, LimitWindow
from paig_tui.data.state import AppState
from paig_tui.screens.dialog import Dialog, Field, FieldError
from paig_tui.text import exact

T = TypeVar("T")
SpecT = TypeVar("SpecT", bound=Spec)
FieldKind = Literal["text", "secret", "names", "pairs", "amount", "count", "seconds", "time", "day", "flag"]

NONE = ("", "none", "–")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True)
class Words:
    """The texts of a field in a form.

    Attributes:
        label: The text before it; by default made from its name.
        hint: The text shown while it is empty.
        note: The text behind it.
        choices: The values to pick from.
        kind: How its value is written; by default from its type.
    """

    label: str = ""
    hint: str = ""
    note: str = ""
    choices: Callable[[AppState], Iterable[str]] | None = None
    kind: FieldKind | None = None


@dataclass(frozen=True)
class Question:
    """A field of a spec in a form.

    Attributes:
        path: Its place in the spec: `limits.daily`.
        kind: How its value is written.
        options: The allowed values, if there are only a few.
    """

    path: str
    kind: FieldKind
    options: tuple[str, ...]
    words: Words


def _models(state: AppState) -> list[str]:
    asked = {row.model for row in state.recent.tail}
    return sorted({*asked, *(model for key in state.keys or () for model in key.models or ())} - {""})


def _cap(row: LimitWindow) -> Words:
    if row.unit != "usd":
        return Words(f"{row.unit.capitalize()}/min")
    words = "$ in total" if row.window == "total" else f"$ per {row.label}"
    return Words(words, note=row.title.partition(", ")[2])


def _of(part: str) -> Callable[[AppState], list[str]]:
    def names(state: AppState) -> list[str]:
        return sorted(thing.name for thing in getattr(state, part) or ())

    return names


PER = ("key", "user", "project", "model", "provider", "session", "tag:")
"""What a named limit can have a counter for each of, as its form offers it."""


def _routes(state: AppState) -> list[str]:
    """The names of routes and providers: each provider is also a route of its own name."""
    return sorted({*_of("routes")(state), *_of("providers")(state)})


def _zones(_: AppState) -> list[str]:
    return ["UTC", *sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/"))]


WORDS: Mapping[str, Words] = {
    "project": Words(choices=_of("projects")),
    "user": Words(choices=_of("users")),
    "routes": Words(hint="all; or openai, fast", choices=_of("routes")),
    "models": Words(hint="all; or gpt-5*, claude-*", choices=_models),
    "formats": Words(hint="all; or openai-chat, anthropic"),
    "methods": Words(hint="all; or GET, POST"),
    "networks": Words(hint="all; or 10.0.0.0/8"),
    "expires_at": Words("Expires", "never", "30d, 12h or a date"),
    "secret": Words("Key value", "made here; or env:NAME, file:PATH"),
    **{f"limits.{row.field}": _cap(row) for row in WINDOWS},
    **{f"limit.{row.field}": _cap(row) for row in WINDOWS},
    "soft": Words("Soft caps", note="yes: hold nothing, refuse once spent"),
    "limit.match.key": Words("Of the key", "any", choices=_of("keys")),
    "limit.match.user": Words("… the user", "any", choices=_of("users")),
    "limit.match.project": Words("… the project", "any", choices=_of("projects")),
    "limit.match.route": Words("… the route", "any", choices=_routes),
    "limit.match.provider": Words("… the provider", "any", choices=_of("providers")),
    "limit.match.model": Words("… the model", "any; or gpt-5*", choices=_models),
    "limit.match.tag": Words("… the tag", "any; or customer, or customer=acme"),
    "limit.per": Words("Counts each", "one for all; or key, session, tag:customer, …", choices=lambda _: PER),
    "limit.max_members": Words("At most", note="counters; a request for one more is refused"),
    "gateway.models": Words("Models to routes", "none; or gpt-5*=openai, …", "for the one address"),
    "gateway.timezone": Words("Time zone", "UTC", choices=_zones),
    "timezone": Words("Time zone", "the gateway's", choices=_zones),
    "until": Words("Until", "2h, 3d or a date", "it ends by itself"),
    "why": Words("Why", "for the audit log"),
    "provider": Words(choices=_of("providers")),
    "members": Words("Members", "groq, openai", "equal shares at first", _of("providers"), "names"),
    "base_url": Words("Address", "the kind's own"),
    "price_provider": Words("Prices of", "the kind's own"),
    "price_factor": Words("Price factor", "1", "0.8 is a discount of a fifth"),
    "require_price": Words(hint="the kind's own"),
    "priority": Words(note="the highest is tried first"),
    "weight": Words(note="share among members of one priority"),
    "member.models": Words("Renames", "none", "model=name at the provider, …"),
    "provider.kind": Words(hint="openai, anthropic, google, …", choices=lambda _: PROVIDER_KINDS),
    "provider.project": Words("Google project", "of the service account"),
    "provider.location": Words(hint="global"),
    "provider.token_url": Words("Token address", "Google's own"),
    "provider.storage_url": Words("Storage address", "of buckets for batches"),
    "provider.workspace": Words(hint="wrkspc_…"),
    "provider.api_version": Words("API version", "none"),
    "provider.inject_cost": Words("Tell the cost", note="in the answer's usage"),
    "provider.on_disconnect": Words("Client gone", note="drain: read to the end; cancel: stop"),
    "provider.service_tier": Words("Service tier", "what the account uses by default"),
    "credential": Words("Credential", "env:NAME, keyring:SERVICE/USER, file:PATH"),
    "credentials": Words("Credentials", "several in place of one"),
    "key": Words("… or its key", "paste it; kept encrypted", kind="secret"),
    "timeouts.deadline": Words("Deadline (s)", note="for all tries together"),
    "timeouts.total": Words("One try (s)"),
    "telemetry.export.to": Words("Export to"),
    "telemetry.export.endpoint": Words("… address"),
    "telemetry.export.token": Words("… token", "none; or env:NAME"),
    "telemetry.export.headers": Words("… headers", "none; or name=env:NAME, …"),
    "telemetry.content": Words("Record content", note="what was asked and answered"),
    "telemetry.redact": Words("Black out", "none; or patterns"),
}
"""The texts by path, or by the last part of a path."""


def questions(
    spec: type[BaseModel], *, only: Sequence[str] = (), without: Sequence[str] = (), of: str = ""
) -> list[Question]:
    """The questions of a form for a spec.

    Args:
        only: The paths, or beginnings of paths, to ask for; all if empty.
        without: The paths, or beginnings of paths, to leave out.
        of: The prefix of this form's own entries in `WORDS`.
    """
    found = []
    for question in _walk(spec, "", of):
        if only and not _under(question.path, only):
            continue
        if not _under(question.path, without):
            found.append(question)
    return found


def _under(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(f"{place}.") for place in places)


def _walk(spec: type[BaseModel], prefix: str, of: str) -> Iterable[Question]:
    for name, field in spec.model_fields.items():
        path = f"{prefix}{name}"
        plain, options = _plain(field.annotation)
        if isinstance(plain, type) and issubclass(plain, BaseModel):
            yield from _walk(plain, f"{path}.", of)
            continue
        words = WORDS.get(f"{of}.{path}") or WORDS.get(path) or WORDS.get(name) or Words()
        kind = words.kind or _kind(plain)
        if kind is not None:
            unit = " (s)" if kind == "seconds" else ""
            label = words.label or name.replace("_", " ").capitalize() + unit
            yield Question(path, kind, options, replace(words, label=label))


def _plain(annotation: Any) -> tuple[Any, tuple[str, ...]]:
    """A type without `Annotated` and `| None`, and the values of a `Literal`."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [one for one in get_args(annotation) if one is not type(None)]
        return _plain(rest[0]) if len(rest) == 1 else (None, ())
    if get_origin(annotation) is Literal:
        return str, tuple(map(str, get_args(annotation)))
    return annotation, ("yes", "no") if annotation is bool else ()


def _kind(plain: Any) -> FieldKind | None:
    if get_origin(plain) is list and _plain(get_args(plain)[0])[0] is str:
        return "names"
    if get_origin(plain) is dict and _plain(get_args(plain)[1])[0] is str:
        return "pairs"
    kinds: dict[Any, FieldKind] = {
        str: "text", bool: "flag", int: "count", float: "seconds", Decimal: "amount", datetime: "time", date: "day",
    }  # fmt: skip
    return kinds.get(plain)


def read(kind: FieldKind, text: str, now: datetime) -> object:
    """Parse an input into a JSON value; None if it is empty.

    Raises:
        ValueError: It is not valid for the kind.
    """
    if text.casefold() in NONE:
        return None
    match kind:
        case "names":
            return [name.strip() for name in text.split(",") if name.strip()]
        case "pairs":
            parts = [part.partition("=") for part in text.split(",") if part.strip()]
            if any(not (name.strip() and sign and value.strip()) for name, sign, value in parts):
                raise ValueError("write name=value, name=value")
            return {name.strip(): value.strip() for name, _, value in parts}
        case "amount":
            return _number(text, "an amount, such as 5 or 0.05")
        case "count":
            number = _number(text, "a whole number")
            if not number.lstrip("-").isdigit():
                raise ValueError("write a whole number")
            return int(number)
        case "seconds":
            return float(_number(text, "")) if text[-1:].isdigit() else _span(text).total_seconds()
        case "time":
            return expiry(text, now)
        case "flag":
            if text.casefold() not in ("yes", "no"):
                raise ValueError("write yes or no")
            return text.casefold() == "yes"
        case _:
            return text


def write(kind: FieldKind, value: object) -> str:
    """A value as the text of an input; the reverse of `read`."""
    if value is None:
        return ""
    match kind:
        case "names" if isinstance(value, list):
            return ", ".join(map(str, value))
        case "pairs" if isinstance(value, dict):
            return ", ".join(f"{name}={one}" for name, one in value.items())
        case "amount":
            return exact(str(value))
        case "seconds":
            return f"{value:g}" if isinstance(value, int | float) else str(value)
        case "time":
            return f"{datetime.fromisoformat(str(value)):%Y-%m-%dT%H:%MZ}"
        case "flag":
            return "yes" if value else "no"
        case _:
            return str(value)


def _number(text: str, what: str) -> str:
    try:
        number = Decimal(text.removeprefix("$").replace(",", ""))
    except InvalidOperation:
        raise ValueError(f"write {what or 'seconds, or a time such as 30s or 5m'}") from None
    return f"{number:f}"


def _span(text: str) -> timedelta:
    number, unit = text[:-1].strip(), text[-1:]
    if not number.replace(".", "", 1).isdigit() or unit not in SECONDS:
        raise ValueError("write seconds, or a time such as 30s, 5m or 2h")
    return timedelta(seconds=float(number) * SECONDS[unit])


def expiry(text: str, now: datetime) -> str | None:
    """Parse a time as JSON: `30d`, `12h`, a date, or never.

    Raises:
        ValueError: It is not one of these.
    """
    if text.casefold() == "never":
        return None
    if text[:-1].isdigit() and text[-1] in SECONDS:
        return (now + _span(text)).isoformat()
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("write 30d, 12h, 2026-12-31, or never") from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).isoformat()


def at(values: Mapping[str, object], path: str) -> object:
    """The value at a path; None if there is none."""
    found: object = values
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def nested(values: Mapping[str, object]) -> dict[str, object]:
    """Values by path as a document: `{"limits.daily": 1}` is `{"limits": {"daily": 1}}`."""
    whole: dict[str, object] = {}
    for path, value in values.items():
        *parents, name = path.split(".")
        place = whole
        for parent in parents:
            inner = place.setdefault(parent, {})
            assert isinstance(inner, dict)
            place = inner
        place[name] = value
    return whole


def undo_patch(
    asked: Iterable[Question], before: Mapping[str, object], changes: Mapping[str, object]
) -> dict[str, object]:
    """The merge patch (RFC 7396) that undoes changes: the former values of the changed fields."""
    asked = [*asked]
    mappings = frozenset(question.path for question in asked if question.kind == "pairs")
    return merge_patch(asked, changes, _picked(before, changes, mappings, ""))


def _picked(
    values: Mapping[str, object], like: Mapping[str, object], mappings: frozenset[str], prefix: str
) -> dict[str, object]:
    """The values whose names are in `like`; a mapping is taken whole."""
    found: dict[str, object] = {}
    for name, value in like.items():
        before, path = values.get(name), prefix + name
        inner = isinstance(value, Mapping) and isinstance(before, Mapping) and path not in mappings
        found[name] = _picked(before, value, mappings, f"{path}.") if inner else before  # type: ignore[arg-type]
    return found


def merge_patch(
    asked: Iterable[Question], before: Mapping[str, object], changes: Mapping[str, object]
) -> dict[str, object]:
    """The merge patch (RFC 7396) for changes: a name that was removed from a mapping becomes null.

    Args:
        asked: The questions that were answered.
        before: The values before the changes.
        changes: The new values.
    """
    merged = deepcopy(dict(changes))
    for question in asked:
        old, new = at(before, question.path), at(merged, question.path)
        if question.kind == "pairs" and isinstance(old, Mapping) and isinstance(new, dict):
            new.update({name: None for name in old if name not in new})
    return merged


def checked(spec: type[SpecT], values: Mapping[str, object]) -> SpecT:
    """Make a spec of these values.

    Raises:
        FieldError: A value is invalid; names the first one.
    """
    try:
        return spec.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"] if not isinstance(part, int))
        raise FieldError(where, first["msg"].removeprefix("Value error, ")) from None


Save = Callable[[str, dict[str, object]], Awaitable[T | None]]
"""Sends a form's name (empty if it asks for none) and its values or changes."""


class Form(Dialog[T]):
    """Asks for a spec's fields and sends them.

    Args:
        state: The source of the choices.
        save: Sends the values; its result is the dialog's.
        before: The present values, for a change: only changed ones are sent. None for a new object.
        name: The hint of the name's field; None if the form has no such field.
        name_from: The field whose value is the name, if no name is given.
        notes: The texts behind fields, by path.
        intro: The text above the fields.
        do: The label of the button.
    """

    def __init__(
        self,
        title: str,
        asked: Sequence[Question],
        state: AppState,
        save: Save[T],
        *,
        before: Mapping[str, object] | None = None,
        name: str | None = None,
        name_from: str = "",
        notes: Mapping[str, str] | None = None,
        intro: Content | str = "",
        do: str = "",
    ) -> None:
        self.asked = {question.path: question for question in asked}
        self.save = save
        self.before = before
        self.named, self.name_from = name is not None, name_from
        self.now = state.clock()
        fields = [_field(question, state, before or {}, (notes or {}).get(question.path)) for question in asked]
        if name is not None:
            fields.insert(0, Field("name", "Name", hint=name))
        super().__init__(title, fields, intro=intro, do=do or ("Create" if before is None else "Save"))

    async def answer(self) -> T:
        """Read the fields and send them."""
        values: dict[str, object] = {}
        for field in self.fields:
            question = self.asked.get(field.name)
            text = self.value(field.name)
            if question is None or text == (field.value.strip() if self.before is not None else ""):
                continue
            try:
                values[field.name] = read(question.kind, text, self.now)
            except ValueError as error:
                raise FieldError(field.name, str(error)) from None
        name = self.value("name") or (self.value(self.name_from) if self.name_from else "") if self.named else ""
        if self.named and not name:
            raise FieldError("name", "give it a name")
        return await self.save(name, nested(values))  # type: ignore[return-value]  # None closes it, as Esc does


def _field(question: Question, state: AppState, before: Mapping[str, object], note: str | None) -> Field:
    words = question.words
    choices = question.options or tuple(words.choices(state) if words.choices else ())
    return Field(
        question.path,
        words.label,
        write(question.kind, at(before, question.path)),
        words.hint or (" or ".join(question.options) if question.options else "none"),
        words.note if note is None else note,
        secret=question.kind == "secret",
        choices=choices,
        many=question.kind == "names",
        short=question.kind in ("amount", "count", "seconds", "flag"),
    )
