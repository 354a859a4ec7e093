"""`paig prices`: what models cost where the price book does not know, or knows otherwise."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from paig_client.cli.commands import Commands
from paig_client.cli.completion import names
from paig_client.cli.options import Json, Profile, Url, Yes, assignments, checked, confirm, connected, some
from paig_client.cli.output import print_facts, print_json, print_table, say, usd

app = Commands(no_args_is_help=True, help="Prices of your own, in place of the price book's.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or id.", autocompletion=names())]
Rates = Annotated[
    list[str] | None,
    typer.Option("--rate", metavar="UNIT=USD", help="input_mtok=0.5 is 50 cents for a million input tokens; repeat."),
]
Model = Annotated[str | None, typer.Option("--model", help="The model's name or a pattern; NAME unless given.")]
Provider = Annotated[str | None, typer.Option("--provider", help="Only at this provider.")]
Since = Annotated[str | None, typer.Option("--since", metavar="DATE", help="The first day (UTC) that it holds.")]
ContextWindow = Annotated[str | None, typer.Option("--context-window", metavar="TOKENS", help="What it reads at most.")]
MaxOutput = Annotated[str | None, typer.Option("--max-output", metavar="TOKENS", help="What it writes at most.")]


@app.command("list")
def list_prices(json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """List the prices that were set here."""
    with connected(url, profile) as admin:
        found = admin.prices.list()
    if json:
        return print_json(found)
    rows = [
        [
            item.name,
            item.spec.model or item.name,
            item.spec.provider or "any",
            item.spec.since.isoformat() if item.spec.since else "ever",
            ", ".join(f"{unit}={rate:f}" for unit, rate in item.spec.rates.items()),
        ]
        for item in found
    ]
    empty = "All prices are the price book's: `paig prices create MODEL --rate input_mtok=USD …` sets one."
    print_table(["name", "model", "provider", "since", "US dollars"], rows, empty=empty)


@app.command("show")
def show(name: Name, json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """Show one price."""
    with connected(url, profile) as admin:
        item = admin.prices.get(name)
    if json:
        return print_json(item)
    spec, name = item.spec, item.name
    facts = {"name": name, "id": item.id, "model": spec.model or name, "provider": spec.provider or "any"}
    facts |= {"since": spec.since.isoformat() if spec.since else "ever"}
    facts |= {"reads": f"{spec.context_window or ''}", "writes": f"{spec.max_output or ''}"}
    print_facts({**facts, **{unit: usd(f"{rate:f}") for unit, rate in spec.rates.items()}})


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it: the model's name, mostly.")],
    rate: Rates = None,
    model: Model = None,
    provider: Provider = None,
    since: Since = None,
    context_window: ContextWindow = None,
    max_output: MaxOutput = None,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Set a model's price."""
    from paig_client.api.specs import PriceSpec

    fields = _fields(rate, model, provider, since, context_window, max_output)
    spec = checked(PriceSpec, fields)
    with connected(url, profile) as admin:
        item = admin.prices.create(name, spec)
    print_json(item) if json else say(f"Set the price {item.name}.")


@app.command("update")
def update(
    name: Name,
    rate: Rates = None,
    model: Model = None,
    provider: Provider = None,
    since: Since = None,
    context_window: ContextWindow = None,
    max_output: MaxOutput = None,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Change what is given; 'none' takes a value back.

    What was charged stays.
    """
    changes = _fields(rate, model, provider, since, context_window, max_output)
    some(changes)
    with connected(url, profile) as admin:
        item = admin.prices.update(name, changes)
    print_json(item) if json else say(f"Changed the price {item.name}.")


@app.command("delete")
def delete(name: Name, yes: Yes = False, json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """Delete a price: the price book's counts again.

    What was charged stays.
    """
    confirm(f"Delete the price {name}?", yes)
    with connected(url, profile) as admin:
        admin.prices.delete(name)
    print_json({"deleted": name}) if json else say(f"Deleted the price {name}.")


def _fields(rates: list[str] | None, *others: str | None) -> dict[str, Any]:
    names = ("model", "provider", "since", "context_window", "max_output")
    given = {name: value for name, value in zip(names, others, strict=True) if value is not None}
    return {**assignments(rates), **{name: None if value == "none" else value for name, value in given.items()}}
