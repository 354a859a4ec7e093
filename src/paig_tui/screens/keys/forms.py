"""The dialogs of keys, projects and users: a new one, its caps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from paig_client.api.resources import Key, LimitStatus
from paig_client.api.specs import KeySpec, LimitsSpec, OwnerSpec
from paig_tui.screens.dialog import Dialog, Field
from paig_tui.text import dollars, exact, safe, until

SpecT = TypeVar("SpecT", bound=BaseModel)

WINDOWS = (("daily", "day"), ("weekly", "week"), ("monthly", "month"), ("total", "total"))
RATES = (("requests_per_minute", "requests", "requests/min"), ("tokens_per_minute", "tokens", "tokens/min"))
UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def checked_limits(texts: Mapping[str, str]) -> dict[str, object]:
    """Limits as they were written; an empty one, or `none`, is no cap.

    Raises:
        ValueError: One is no amount.
    """
    values: dict[str, object] = {
        name: None if text.casefold() in ("", "none", "–") else text.removeprefix("$").replace(",", "")
        for name, text in texts.items()
    }
    return checked(LimitsSpec, values).model_dump(mode="json", exclude_unset=True)


def checked(spec: type[SpecT], fields: Mapping[str, object]) -> SpecT:
    """A spec of these fields.

    Raises:
        ValueError: They make none; names the first that is wrong.
    """
    try:
        return spec.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None


def expiry(text: str, now: datetime) -> datetime | None:
    """When a key ends: `30d`, `12h`, a date, or never.

    Raises:
        ValueError: It is none of these.
    """
    if text.casefold() in ("", "never", "none"):
        return None
    if text[:-1].isdigit() and text[-1] in UNITS:
        return now + timedelta(seconds=int(text[:-1]) * UNITS[text[-1]])
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("expires: write 30d, 12h, 2026-12-31, or never") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def names(text: str) -> list[str] | None:
    """A list with commas; an empty one means all."""
    return [name.strip() for name in text.split(",") if name.strip()] or None


@dataclass(frozen=True)
class New:
    """What is to be made."""

    name: str
    spec: KeySpec


@dataclass(frozen=True)
class NewOwner:
    """A project or a user to be made."""

    name: str
    spec: OwnerSpec


class NewKeyForm(Dialog[New]):
    """A new key."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        fields = [
            Field("name", "Name", hint="what will use it, such as ci-bot"),
            Field("project", "Project", hint="none"),
            Field("user", "User", hint="none"),
            Field("daily", "Cap per day", hint="none", note="US dollars"),
            Field("weekly", "… per week", hint="none", note="Monday to Sunday, UTC"),
            Field("monthly", "… per month", hint="none"),
            Field("total", "… in total", hint="none"),
            Field("models", "Models", hint="all; or gpt-5*, claude-*"),
            Field("routes", "Routes", hint="all; or openai, fast"),
            Field("expires", "Expires", hint="never", note="30d, 12h or a date"),
        ]
        super().__init__("new key", fields, do="Create")

    def answer(self) -> New:
        """The key as it was written."""
        if not self.value("name"):
            raise ValueError("name: give the key a name")
        fields: dict[str, object] = {
            "project": self.value("project") or None,
            "user": self.value("user") or None,
            "models": names(self.value("models")),
            "routes": names(self.value("routes")),
            "limits": checked_limits({name: self.value(name) for name, _ in WINDOWS}),
            "expires_at": expiry(self.value("expires"), self.now),
        }
        spec = checked(KeySpec, {name: value for name, value in fields.items() if value is not None})
        return New(self.value("name"), spec)


class EditKeyForm(Dialog[dict[str, object]]):
    """What a key belongs to and may do; answers what was changed."""

    def __init__(self, key: Key, now: datetime) -> None:
        self.key, self.now = key, now
        self.end = f"{key.expires_at:%Y-%m-%dT%H:%MZ}" if key.expires_at else ""
        fields = [
            Field("project", "Project", key.project or "", "none"),
            Field("user", "User", key.user or "", "none"),
            Field("models", "Models", ", ".join(key.models or ()), "all; or gpt-5*, claude-*"),
            Field("routes", "Routes", ", ".join(key.routes or ()), "all; or openai, fast"),
            Field("expires", "Expires", self.end, "never", "30d, 12h or a date"),
        ]
        super().__init__(f"edit {safe(key.name)}", fields)

    def answer(self) -> dict[str, object]:
        """What was changed."""
        wanted: dict[str, object] = {
            "project": self.value("project") or None,
            "user": self.value("user") or None,
            "models": names(self.value("models")),
            "routes": names(self.value("routes")),
        }
        found = {name: value for name, value in wanted.items() if value != getattr(self.key, name)}
        if self.value("expires") != self.end:
            end = expiry(self.value("expires"), self.now)
            found["expires_at"] = end.isoformat() if end else None
        return found


class NewOwnerForm(Dialog[NewOwner]):
    """A new project or user."""

    def __init__(self, kind: str) -> None:
        caps = [
            Field(name, f"Cap per {word}" if word != "total" else "Cap in total", hint="none") for name, word in WINDOWS
        ]
        super().__init__(f"new {kind}", [Field("name", "Name"), *caps], do="Create")

    def answer(self) -> NewOwner:
        """It, as it was written."""
        if not self.value("name"):
            raise ValueError("name: give it a name")
        limits = checked_limits({name: self.value(name) for name, _ in WINDOWS})
        return NewOwner(self.value("name"), checked(OwnerSpec, {"limits": limits}))


class CapsForm(Dialog[dict[str, object]]):
    """The caps of a key, a project or a user, with what is spent; answers the limits as a change.

    Args:
        name: Whose.
        limits: As they are.
        standing: Where they stand, by window; rates not included.
        now: The present.
        note: What else may bind, such as the project's own cap.
    """

    def __init__(
        self, name: str, limits: LimitsSpec, standing: Mapping[str, LimitStatus], now: datetime, note: str = ""
    ) -> None:
        self.limits = limits
        fields = []
        for window, word in WINDOWS:
            status = standing.get(window)
            resets = f", resets in {until(status.resets_at, now)}" if status and status.resets_at else ""
            seen = f"{dollars(status.spent)} spent, {dollars(status.left)} left{resets}" if status else ""
            fields.append(Field(window, f"$ per {word}" if word != "total" else "$ in total",
                                exact(getattr(limits, window)), "none", seen or "no cap"))  # fmt: skip
        for field, unit, word in RATES:
            value = getattr(limits, field)
            fields.append(Field(field, word, "" if value is None else str(value), "none", f"{unit} a minute"))
        super().__init__(f"caps of {safe(name)}", fields, intro=note)

    def answer(self) -> dict[str, object]:
        """The limits that were changed, each one given."""
        wanted = checked_limits(
            {name: self.value(name) for name in [*(w for w, _ in WINDOWS), *(r for r, _, _ in RATES)]}
        )
        before = self.limits.model_dump(mode="json")
        return {name: value for name, value in wanted.items() if not _same(value, before[name])}


def _same(one: object, other: object) -> bool:
    """Whether two limits say the same; `1` and `1.00` do."""
    if one is None or other is None:
        return one is other
    return exact(str(one)) == exact(str(other))
