"""`[prices]` in a configuration file: what is refused, what is applied, and that an export is the same again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from paig_gateway.catalog import Catalog, CatalogError
from paig_gateway.config import ConfigError, apply, export, parse, plan
from tests.gateway.catalogs import ME, open_catalog, sqlite_url

PRICED = """\
[providers.house]
kind = "ollama"
price_factor = 0.8

[prices.my-model]
provider = "house"
context_window = 32768
input_mtok = 0.5
output_mtok = 1.25

[prices."my-model, later"]
model = "my-*"
since = 2026-12-01
input_mtok = 0.4
output_mtok = 1
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """An empty catalogue."""
    with open_catalog(sqlite_url(tmp_path)) as catalog:
        yield catalog


def test_prices_from_a_file_and_back(catalog: Catalog) -> None:
    """What was applied is there, its export is the file, and changes nothing."""
    apply(plan(parse(PRICED), catalog), catalog, actor=ME)
    first, later = catalog.prices.list()
    assert first.spec.rates == {"input_mtok": Decimal("0.5"), "output_mtok": Decimal("1.25")}
    assert (later.spec.model, later.spec.since) == ("my-*", date(2026, 12, 1))
    assert export(catalog) == PRICED
    assert plan(parse(PRICED), catalog).changes == ()
    changed = plan(parse(PRICED.replace("0.4", "0.3")), catalog)
    assert [(c.action, c.kind, c.name, dict(c.changes)) for c in changed.changes] == [
        ("change", "price", "my-model, later", {"input_mtok": ("0.4", "0.3")})
    ]
    gone = plan(parse('[providers.house]\nkind = "ollama"'), catalog, prune=True)
    assert {(c.action, c.kind) for c in gone.changes} == {("change", "provider"), ("delete", "price")}


def test_a_provider_with_prices_stays(catalog: Catalog) -> None:
    """It cannot be deleted while a price names it."""
    apply(plan(parse(PRICED), catalog), catalog, actor=ME)
    with pytest.raises(CatalogError, match="has its own prices: my-model"):
        catalog.providers.delete("house", actor=ME)


def test_wrong_prices_are_told_with_their_lines() -> None:
    """A rate that is none, a provider that is not there, no rate at all, a negative one."""
    with pytest.raises(ConfigError) as caught:
        parse(
            """\
[prices.a]
input_mtokens = 1
[prices.b]
provider = "nowhere"
input_mtok = 1
[prices.c]
max_output = 5
[prices.d]
input_mtok = -1
since = "soon"
output_mtok = 1
"""
        )
    assert [str(issue) for issue in caught.value.issues] == [
        "paig.toml:2: prices.a.input_mtokens: is not a known rate; did you mean input_mtok?",
        "paig.toml:4: prices.b.provider: there is no provider 'nowhere': make it first",
        "paig.toml:6: prices.c: needs a rate at least, such as input_mtok and output_mtok "
        "(US dollars for a million tokens)",
        "paig.toml:9: prices.d.input_mtok: must be zero or more, and at most a billion dollars",
        "paig.toml:10: prices.d.since: must be a valid date",
    ]
