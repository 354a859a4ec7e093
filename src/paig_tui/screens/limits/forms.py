"""Forms for limits, used by several sections: raise a limit; the caps and settings of the whole gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from paig_client.api.limits import SPENDING
from paig_client.api.resources import LimitRaise, LimitStatus
from paig_client.api.specs import OrganisationSpec, RaiseSpec
from paig_tui.app import Undo
from paig_tui.screens.dialog import FieldError
from paig_tui.screens.forms import Form, Question, Words, checked, questions
from paig_tui.screens.limits.rows import owner, window
from paig_tui.screens.section import Section
from paig_tui.text import amount, rounded, safe, until


def spent(limit: LimitStatus, now: datetime) -> str:
    """The state of a cap, in words."""
    resets = f", resets in {until(limit.resets_at, now)}" if limit.resets_at else ""
    show = rounded if limit.unit == "usd" else partial(amount, unit=limit.unit)
    return f"{show(limit.spent)} spent, {show(limit.left)} left{resets}"


def cap_notes(caps: Mapping[str, LimitStatus], now: datetime) -> dict[str, str]:
    """The notes of a form of caps: the state of each cap in dollars.

    Args:
        caps: The owner's caps, by window.
    """
    return {f"limits.{row.field}": spent(caps[row.window], now) if row.window in caps else "no cap" for row in SPENDING}


async def raise_limit(section: Section, limits: Sequence[LimitStatus]) -> None:
    """Ask for a higher amount of a limit and raise it for a while; can be undone.

    Args:
        section: The section that shows the form.
        limits: The limits to choose from: one, or all of an owner.
    """
    if not limits:
        section.notify("It has no limit that could be raised: c sets one.", severity="warning")
        return
    known = {window(one): one for one in limits}
    name, admin, now = safe(owner(limits[0]).removeprefix("key ")), section.paig.admin, section.state.clock()

    async def save(_: str, values: dict[str, object]) -> LimitRaise:
        chosen = values.pop("window", next(iter(known)) if len(known) == 1 else None)
        if (one := known.get(str(chosen))) is None:
            raise FieldError("window", f"pick one: {', '.join(known)}")
        about = {name: getattr(one, name) for name in ("owner_kind", "owner", "window", "member")}
        unit = None if one.unit == "usd" else one.unit
        return await admin.raise_limit(checked(RaiseSpec, {**about, "unit": unit, **values}))

    asked = [
        replace(question, words=replace(question.words, label="To", hint="such as 10", note="dollars or a count"))
        if question.path == "to"
        else question
        for question in questions(RaiseSpec, only=("to", "until", "why"))
    ]
    intro = ""
    if len(known) == 1:
        (one,) = known.values()
        intro = f"{window(one)}: {amount(one.amount, one.unit)}; {spent(one, now)}"
    else:
        asked.insert(0, Question("window", "text", tuple(known), Words("Limit", note="which of its limits")))
    form: Form[LimitRaise] = Form(
        f"raise a cap of {name}", asked, section.state, save, intro=intro, do="Raise"
    )  # fmt: skip
    if (made := await section.app.push_screen_wait(form)) is not None:
        end = f"{made.until:%Y-%m-%d %H:%M} UTC"
        undo = Undo(f"the raise of {name}", lambda: admin.end_raise(made.id))
        section.paig.changed(f"The {window(made)} cap of {name} is {amount(made.amount, made.unit)} until {end}.", undo)


async def edit_gateway(section: Section) -> None:
    """Edit the caps and settings of the whole gateway; can be undone."""
    admin = section.paig.admin
    before = (await admin.organisation()).model_dump(mode="json")
    caps = section.state.caps().get(("organisation", "organisation"), {})

    async def update(changes: Mapping[str, object], _: bool) -> object:
        return await admin.update_organisation(changes)

    asked = questions(OrganisationSpec, of="gateway")
    notes = cap_notes(caps, section.state.clock())
    await section.edit("caps of the whole gateway", asked, before, update, "Caps of the whole gateway", notes=notes)


def also_binds(caps: Sequence[LimitStatus]) -> str:
    """The other caps that may refuse before those of a form, in words."""
    found = []
    for one in caps:
        whose = "the gateway's" if one.owner_kind == "organisation" else f"{one.owner_kind} {safe(one.owner)}'s cap of"
        found.append(f"{whose} ${one.amount} ({one.window})")
    return "▲ may bind first: " + ", ".join(found) if found else ""
