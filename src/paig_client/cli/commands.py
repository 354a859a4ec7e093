"""Commands whose help is read at a glance: a switch takes no value, so no type stands beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

F = TypeVar("F", bound=Callable[..., object])


# Contexts and parameters are of Click, which some releases of Typer have from outside and others within themselves.
class Command(TyperCommand):
    """A command."""

    def get_params(self, ctx: Any) -> Any:
        """Its parameters."""
        return _without_types_of_switches(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands."""

    def get_params(self, ctx: Any) -> Any:
        """Its parameters."""
        return _without_types_of_switches(super().get_params(ctx))


class Commands(typer.Typer):
    """What `typer.Typer` is, of such commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Group, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[F], F]:
        """Add a command."""
        return super().command(name, cls=Command, **settings)


def _without_types_of_switches(parameters: Any) -> Any:
    for parameter in parameters:
        if isinstance(parameter, TyperOption) and parameter.is_flag and parameter.metavar is None:
            parameter.metavar = ""
    return parameters
