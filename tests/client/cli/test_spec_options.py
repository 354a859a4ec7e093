"""The options that are made from the fields of a spec."""

from __future__ import annotations

import typer
import typer.main

from paig_client.api.fields import Spec
from paig_client.cli.resources import with_options
from paig_client.cli.spec_options import options_of


class Lists(Spec):
    """A spec with lists."""

    names: list[str] | None = None
    """Names."""
    addresses: list[str] | None = None
    """Addresses."""
    policies: list[str] | None = None
    """Policies."""
    boxes: list[str] | None = None
    """Boxes."""
    databases: list[str] | None = None
    """Databases."""


def test_an_option_that_may_be_repeated_is_in_the_singular() -> None:
    app = typer.Typer()

    def create(**given: object) -> None:
        """Take them."""

    app.command()(with_options(create, options_of(Lists, {}, None, making=False)))
    flags = [option.opts for option in typer.main.get_command(app).params if option.name in Lists.model_fields]
    assert flags == [["--name"], ["--address"], ["--policy"], ["--box"], ["--database"]]
