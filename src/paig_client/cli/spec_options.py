"""Options made from the fields of a spec, so that a new setting needs no line here.

A field's type says how its option is parsed, and its docstring is the help. A table of limits becomes the options of
the panel "Limits". `Special` describes an option that does not follow from its field's type.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from paig_client.api.fields import Spec, Usd
from paig_client.api.limits import WINDOWS, LimitsSpec
from paig_client.cli.completion import names
from paig_client.cli.values import count, dollars, expiry, word, words

ParseOption = Callable[[Any], Any]
"""Converts an option's value to the admin API's."""


@dataclass(frozen=True, slots=True)
class Special:
    """An option that its field's type does not describe.

    Attributes:
        flags: Its spellings.
        help: Its help.
        read: How the value is read.
        metavar: What the value is called.
        kind: The type that Typer passes on.
        required: Whether `create` needs it.
        complete: The collection whose names complete it.
    """

    flags: tuple[str, ...]
    help: str
    read: ParseOption = word
    metavar: str = ""
    kind: Any = str
    required: bool = False
    complete: str = ""


@dataclass(frozen=True, slots=True)
class SpecOption:
    """One option of a spec.

    Attributes:
        path: Where its value stands in the spec: a field, or a table and a field.
        parameter: The option, as a parameter of the command's function.
        read: How its value is read.
    """

    path: tuple[str, ...]
    parameter: inspect.Parameter
    read: ParseOption


AMOUNTS: Mapping[bool, tuple[ParseOption, str]] = {True: (dollars, "USD"), False: (count, "N")}
"""The parser and the metavar of a limit on money (True), and of one on a count (False)."""

COMMON: Mapping[str, Special] = {
    "project": Special(("--project",), "The project it belongs to.", complete="projects"),
    "user": Special(("--user",), "The user it belongs to.", complete="users"),
    "routes": Special(
        ("--route",), "A route it may use; repeat. Default: all.", words, "ROUTE", list[str], False, "routes"
    ),
    "models": Special(("--model",), "A model it may use, * for any; repeat. Default: all.", words, "MODEL", list[str]),
    "expires_at": Special(("--expires",), "When it ends, such as 30d or 2027-01-31.", expiry, "TIME"),
    "soft": Special(("--soft/--hard",), "Soft caps reserve nothing, and refuse once they are spent.", bool, "", bool),
    "active": Special(("--active/--inactive",), "Whether their tokens are accepted.", bool, "", bool),
    **{
        row.field: Special((f"--{row.field.replace('_', '-')}",), row.title, *AMOUNTS[row.unit == "usd"])
        for row in WINDOWS
    },
}
"""Fields with options of another name, or with another help than their docstring."""


def options_of(
    spec: type[Spec], special: Mapping[str, Special], only: tuple[str, ...] | None, making: bool
) -> list[SpecOption]:
    """The options of a spec's fields, in order.

    Args:
        special: Options by field, for this spec alone; those of other names are added.
        only: The fields that have options; all of them for None.
        making: Whether the command makes an object: then required options are required.
    """
    found = []
    for path, field, help in _fields(spec):
        name = path[-1]
        if only is None or path[0] in only or name in special:
            own = special.get(name) or COMMON.get(name) or _by_type(name, field, help)
            if own is not None:
                found.append(_option(path, own, making))
    known = {option.path[-1] for option in found}
    return found + [_option((name,), own, making) for name, own in special.items() if name not in known]


def read(options: list[SpecOption], written: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that were given, as the admin API takes them; None removes a value."""
    fields: dict[str, Any] = {}
    for option in options:
        value = written[option.parameter.name]
        if value is None or value == []:
            continue
        table = fields
        for part in option.path[:-1]:
            table = table.setdefault(part, {})
        result = option.read(value)
        if isinstance(result, Mapping) and option.path[-1].startswith("*"):
            table.update(result)
        else:
            table[option.path[-1]] = result
    return fields


def without_nones(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value, in tables as well: what makes a new object."""
    found = {name: without_nones(value) if isinstance(value, Mapping) else value for name, value in fields.items()}
    return {name: value for name, value in found.items() if value is not None and value != {}}


def _fields(spec: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo, str]]:
    """Each field that may have an option: where it stands, and what its docstring says. Limits are opened."""
    texts = _docstrings(spec)
    for name, field in spec.model_fields.items():
        kind = _plain_type(field.annotation)
        if inspect.isclass(kind) and issubclass(kind, LimitsSpec):
            yield from _fields(kind, (*above, name))
        else:
            yield (*above, name), field, field.description or texts.get(name, "")


@cache
def _docstrings(spec: type[BaseModel]) -> dict[str, str]:
    """What is written below each field of a class and its bases."""
    found: dict[str, str] = {}
    for kind in reversed(spec.__mro__):
        if kind in (BaseModel, Spec) or not issubclass(kind, BaseModel):
            continue
        [body] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
        assert isinstance(body, ast.ClassDef)
        for line, below in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(line, ast.AnnAssign)
                and isinstance(line.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
            ):
                found[line.target.id] = inspect.cleandoc(str(below.value.value))
    return found


def _plain_type(annotation: Any) -> Any:
    """A type without `None` and without annotations."""
    if get_origin(annotation) is Annotated:
        return _plain_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        rest = [kind for kind in get_args(annotation) if kind is not NoneType]
        return _plain_type(rest[0]) if len(rest) == 1 else annotation
    return annotation


def _by_type(name: str, field: FieldInfo, help: str) -> Special | None:
    """The option of a field by its type, or None if the field is for configuration files."""
    flag, kind = f"--{name.replace('_', '-')}", _plain_type(field.annotation)
    text = " ".join(help.split()) or f"Its {name.replace('_', ' ')}."
    if kind is bool:
        return Special((f"{flag}/--no-{flag[2:]}",), text, bool, "", bool)
    if kind is int:
        return Special((flag,), text, count, "N")
    if kind is _plain_type(Usd):
        return Special((flag,), text, dollars, "USD")
    if kind is datetime:
        return Special((flag.removesuffix("-at"),), text, expiry, "TIME")
    if get_origin(kind) is list and _plain_type(get_args(kind)[0]) is str:
        return Special((_singular(flag),), f"{text} Repeat for several.", words, "", list[str])
    if get_origin(kind) is list and get_origin(_plain_type(get_args(kind)[0])) is Literal:
        choices = ", ".join(get_args(_plain_type(get_args(kind)[0])))
        return Special((_singular(flag),), f"{text} Repeat for several: {choices}.", words, "", list[str])
    if get_origin(kind) is Literal:
        return Special((flag,), text, word, "|".join(map(str, get_args(kind))))
    if inspect.isclass(kind) and not issubclass(kind, BaseModel) and kind is not dict:
        return Special((flag,), text)
    return None


def _singular(flag: str) -> str:
    """The name of an option that may be repeated: its field's name is in the plural."""
    for plural, singular in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh"), ("s", "")):
        if flag.endswith(plural):
            return flag.removesuffix(plural) + singular
    return flag


def _option(path: tuple[str, ...], own: Special, making: bool) -> SpecOption:
    required = own.required and making
    info = typer.Option(
        *own.flags,
        help=own.help,
        metavar=own.metavar or None,
        show_default=False,
        rich_help_panel="Limits" if len(path) > 1 else None,
        autocompletion=names(own.complete) if own.complete else None,
    )
    parameter = inspect.Parameter(
        "_".join(path).strip("*"),
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else None,
        annotation=Annotated[own.kind if required else own.kind | None, info],
    )
    return SpecOption(path, parameter, own.read)
