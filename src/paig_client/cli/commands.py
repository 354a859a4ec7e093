"""Typer as this program uses it: short help, an example for each command, groups that are loaded when used."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from importlib import import_module
from typing import Any, TypeVar, get_type_hints

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup, TyperOption

F = TypeVar("F", bound=Callable[..., object])


# Contexts and parameters are Click's, which some releases of Typer depend on and others contain.
class PaigCommand(TyperCommand):
    """A command. Its switches show no type: they take no value."""

    def get_params(self, ctx: Any) -> Any:
        return _without_types_of_switches(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands."""

    def get_params(self, ctx: Any) -> Any:
        return _without_types_of_switches(super().get_params(ctx))


class PaigTyper(typer.Typer):
    """A `typer.Typer` whose commands are `PaigCommand`s and whose groups are `Group`s."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"cls": Group, **settings})

    def command(self, name: str | None = None, *, example: str = "", **settings: Any) -> Callable[[F], F]:
        """Add a command; `example` is a line that works, shown below its help."""
        epilog = f"Example: {example}" if example else None
        add = super().command(name, cls=PaigCommand, epilog=epilog, **settings)
        return lambda function: (add(with_groups(function)), function)[1]

    def callback(self, *args: Any, **settings: Any) -> Callable[[F], F]:
        """Add what runs before the group's commands, or without one."""
        add = super().callback(*args, **settings)
        return lambda function: (add(with_groups(function)), function)[1]


def with_groups(function: Callable[..., object]) -> Callable[..., object]:
    """A command whose parameters that are dataclasses of options are seen by Typer as one parameter for each field.

    Options of the command alone come first, then those of its groups.
    """
    own = inspect.signature(function).parameters.values()
    hints = get_type_hints(function, include_extras=True)
    groups = {one.name: hints[one.name] for one in own if is_dataclass(hints.get(one.name))}
    if not groups:
        return function
    seen = [
        one.replace(annotation=hints[one.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for one in own
        if one.name not in groups
    ]
    for group in groups.values():
        kinds = get_type_hints(group, include_extras=True)
        seen += [
            inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=kinds[one.name])
            for one in fields(group)
        ]

    @wraps(function)
    def command(**given: Any) -> object:
        made = {name: kind(**{one.name: given.pop(one.name) for one in fields(kind)}) for name, kind in groups.items()}
        return function(**made, **given)

    command.__signature__ = inspect.Signature(seen)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in seen}
    return command


def lazily(module: str, attribute: str = "app") -> PaigTyper:
    """The commands of `paig_client.cli.MODULE`, which is imported when one of them is looked for."""

    class Lazy(Group):
        """A group that is not loaded yet."""

        loaded: dict[str, Any] | None = None

        @property
        def commands(self) -> Any:
            if self.loaded is None:
                app = getattr(import_module(f"paig_client.cli.{module}"), attribute)
                group: Any = typer.main.get_group(app)
                self.loaded = dict(group.commands)
            return self.loaded

        @commands.setter
        def commands(self, value: Any) -> None:
            """Ignore what Typer found: nothing is registered here."""

    return PaigTyper(cls=Lazy, no_args_is_help=True)


def _without_types_of_switches(parameters: Any) -> Any:
    for parameter in parameters:
        if isinstance(parameter, TyperOption) and parameter.is_flag and parameter.metavar is None:
            parameter.metavar = ""
    return parameters
