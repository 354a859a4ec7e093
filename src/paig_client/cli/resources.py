"""Create, list, show, update and delete for every kind of object, from the one table in `kinds`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from paig_client.api.fields import Spec
from paig_client.cli.commands import PaigTyper
from paig_client.cli.completion import names
from paig_client.cli.limits import print_limits
from paig_client.cli.options import (
    JsonOption,
    ListOptions,
    Profile,
    Url,
    Yes,
    checked,
    confirm,
    connected,
    some,
    suggesting,
)
from paig_client.cli.output import PrintedTable, print_facts, print_json, say, with_more
from paig_client.cli.spec_options import Special, SpecOption, options_of, read, without_nones

if TYPE_CHECKING:
    from paig_client.admin import AdminClient
    from paig_client.api.resources import LimitStatus

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or id.", autocompletion=names())]
NewName = Annotated[str, typer.Argument(metavar="NAME", help="A name of your choice.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectCommands:
    """The settings of the commands for one kind of object.

    Attributes:
        one: What one is called, as in messages.
        many: The collection: the name of the group of commands, and of the admin client's attribute.
        help: The group's help.
        spec: What `create` and `update` send.
        table: The table of `list`, from the objects and every limit.
        facts: The lines of `show`, in order.
        balances: The limits that belong to one: shown below its facts, and part of its JSON.
        details: What else `show` prints.
        members: Further members of an object's JSON: what the table shows besides.
        special: Options that do not follow from the spec's field types.
        only: The fields that have options; all of them for None.
        presets: Options of `create` that stand for several fields: name, parameter, and what they set.
        created: The output of `create`.
        changed: What `update` prints; by default a sentence.
        before_update: Completes the changes with what must be read first; also returns the object as it was read.
        about: The help of each command.
        examples: An example of each command.
    """

    one: str
    many: str
    help: str
    spec: type[Spec]
    table: Callable[[Sequence[Any], Sequence[LimitStatus]], PrintedTable]
    facts: Callable[[Any], Mapping[str, str]]
    balances: Callable[[Any, Sequence[LimitStatus]], list[LimitStatus]] | None = None
    details: Callable[[Any], None] | None = None
    members: Callable[[Any], Mapping[str, object]] | None = None
    special: Mapping[str, Special] = field(default_factory=dict)
    only: tuple[str, ...] | None = None
    presets: Mapping[str, tuple[inspect.Parameter, Callable[[Any], Mapping[str, Any]]]] = field(default_factory=dict)
    created: Callable[[Any, bool], None] | None = None
    changed: Callable[[Any], None] | None = None
    before_update: Callable[[AdminClient, str, dict[str, Any]], Any] | None = None
    about: Mapping[str, str]
    examples: Mapping[str, str]

    def collection(self, admin: AdminClient) -> Any:
        return getattr(admin, self.many)

    def known(self, admin: AdminClient) -> Callable[[], list[str]]:
        return lambda: [item.name for item in self.collection(admin).list()]


def commands(kind: ObjectCommands) -> PaigTyper:
    """The group of commands of one kind; commands of its own are added to it."""
    app = PaigTyper(no_args_is_help=True, help=kind.help)
    for verb, make in MAKERS.items():
        if verb in kind.about:
            app.command(verb, help=kind.about[verb], example=kind.examples[verb])(make(kind))
    return app


def with_options(
    function: Callable[..., None], options: Sequence[SpecOption], *more: inspect.Parameter
) -> Callable[..., None]:
    """Give a function that takes `**given` a parameter for each of these options, which Typer reads."""
    own = inspect.signature(function).parameters.values()
    hints = get_type_hints(function, include_extras=True)
    kept = [one.replace(annotation=hints[one.name]) for one in own if one.kind is not inspect.Parameter.VAR_KEYWORD]
    first = [one for one in kept if one.default is inspect.Parameter.empty]
    last = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in kept if one not in first]
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [*first, *(option.parameter for option in options), *more, *last]
    )
    return function


def warn(made: object) -> None:
    """Print warnings about caps that are smaller than the hold of one usual request."""
    for warning in getattr(made, "warnings", ()):
        say(f"Note: {warning}")


def _create(kind: ObjectCommands) -> Callable[..., None]:
    options = options_of(kind.spec, kind.special, kind.only, making=True)

    def create(name: NewName, json: JsonOption = False, url: Url = None, profile: Profile = None, **given: Any) -> None:
        fields: dict[str, Any] = {}
        for preset, (_, expand) in kind.presets.items():
            if (value := given.pop(preset)) is not None:
                fields |= expand(value)
        for field_name, value in read(options, given).items():
            table = fields.get(field_name)
            fields[field_name] = {**table, **value} if isinstance(table, dict) and isinstance(value, dict) else value
        spec = checked(kind.spec, without_nones(fields))
        with connected(url, profile) as admin:
            made = kind.collection(admin).create(name, spec)
        warn(made)
        if kind.created is not None:
            kind.created(made, json)
        elif json:
            print_json(made)
        else:
            say(f"Created the {kind.one} {made.name}.")

    return with_options(create, options, *(parameter for parameter, _ in kind.presets.values()))


def _update(kind: ObjectCommands) -> Callable[..., None]:
    options = options_of(kind.spec, kind.special, kind.only, making=False)

    def update(name: Name, json: JsonOption = False, url: Url = None, profile: Profile = None, **given: Any) -> None:
        changes = read(options, given)
        some(changes)
        with connected(url, profile) as admin, suggesting(name, kind.known(admin)):
            seen = kind.before_update(admin, name, changes) if kind.before_update else None
            item = kind.collection(admin).update(name, changes, seen=seen)
        warn(item)
        if json:
            print_json(item)
        elif kind.changed is not None:
            kind.changed(item)
        else:
            say(f"Changed the {kind.one} {item.name}.")

    return with_options(update, options)


def _list(kind: ObjectCommands) -> Callable[..., None]:
    def list_objects(listing: ListOptions) -> None:
        with listing.connected() as admin:
            found = kind.collection(admin).list()
            limits = admin.limits() if kind.balances is not None and found else []
        shown = with_more(found, [_members(kind, item, limits) for item in found]) if listing.json else found
        listing.print(shown, lambda: kind.table(found, limits))

    return list_objects


def _show(kind: ObjectCommands) -> Callable[..., None]:
    def show_object(name: Name, json: JsonOption = False, url: Url = None, profile: Profile = None) -> None:
        with connected(url, profile) as admin, suggesting(name, kind.known(admin)):
            item = kind.collection(admin).get(name)
            limits = admin.limits() if kind.balances is not None else []
        if json:
            [found] = with_more([item], [_members(kind, item, limits)])
            return print_json(found)
        print_facts(kind.facts(item))
        if kind.details is not None:
            kind.details(item)
        if kind.balances is not None:
            print_limits(kind.balances(item, limits))

    return show_object


def _delete(kind: ObjectCommands) -> Callable[..., None]:
    def delete(
        name: Name, yes: Yes = False, json: JsonOption = False, url: Url = None, profile: Profile = None
    ) -> None:
        confirm(f"Delete the {kind.one} {name} for good?", yes)
        with connected(url, profile) as admin, suggesting(name, kind.known(admin)):
            kind.collection(admin).delete(name)
        print_json({"deleted": name}) if json else say(f"Deleted the {kind.one} {name}.")

    return delete


def _members(kind: ObjectCommands, item: Any, limits: Sequence[LimitStatus]) -> dict[str, object]:
    """What an object's JSON has besides its own fields: what its table shows."""
    more: dict[str, object] = dict(kind.members(item)) if kind.members is not None else {}
    if kind.balances is not None:
        more["balances"] = kind.balances(item, limits)
    return more


MAKERS: Mapping[str, Callable[[ObjectCommands], Callable[..., None]]] = {
    "create": _create,
    "list": _list,
    "show": _show,
    "update": _update,
    "delete": _delete,
}
