"""`paig prices`, `paig usage reprice` and `paig usage prune` against a real gateway."""

from __future__ import annotations

import json
import re

from tests.client import calls
from tests.client.cli.conftest import Paig
from tests.client.real import Real


def test_a_price_from_creation_to_deletion(paig: Paig, url: str) -> None:
    """It is made, listed, changed and deleted."""
    rates = ["--rate", "input_mtok=0.5", "--rate", "output_mtok=1.5"]
    more = ["--provider", "openai", "--since", "2026-12-01", "--context-window", "4096"]
    assert paig("prices", "create", "my-own", *rates, *more, "--url", url).code == 0
    table = paig("prices", "list", "--url", url).out
    assert "input_mtok=0.5, output_mtok=1.5" in table
    assert "2026-12-01" in table
    assert paig("prices", "update", "my-own", "--rate", "output_mtok=2", "--since", "none", "--url", url).code == 0
    facts = paig("prices", "show", "my-own", "--url", url).out
    assert re.search(r"^output_mtok +\$2\.00$", facts, re.M)
    shown = json.loads(paig("prices", "show", "my-own", "--json", "--url", url).out)["spec"]
    assert (shown["output_mtok"], shown["since"], shown["context_window"]) == ("2", None, 4096)
    assert paig("prices", "delete", "my-own", "--yes", "--url", url).code == 0
    assert "my-own" not in paig("prices", "list", "--json", "--url", url).out


def test_what_cannot_be_a_price(paig: Paig, url: str) -> None:
    """A rate that is none is refused, with what was probably meant; so is a change of nothing."""
    wrong = paig("prices", "create", "bad", "--rate", "input_mtk=1", "--url", url)
    assert wrong.code == 1
    assert "did you mean input_mtok?" in wrong.err
    assert paig("prices", "create", "bad", "--rate", "input_mtok=cheap", "--url", url).code == 2
    assert paig("prices", "update", "bad", "--url", url).code == 2


def test_reprice_and_prune(paig: Paig, url: str, real: Real) -> None:
    """A corrected price is compared with what was charged; pruning asks first, and keeps what is recent."""
    calls.groq(api_key=real.make_key("repriced"), base_url=real.root)
    paig(
        "prices", "create", "openai/gpt-oss-120b", "--rate", "input_mtok=100", "--rate", "output_mtok=100", "--url", url
    )
    try:
        ran = paig("usage", "reprice", "--since", "1d", "--model", "openai/gpt-oss-120b", "--url", url)
        assert "own/openai/gpt-oss-120b" in ran.out
        assert "Compared " in ran.err
        report = json.loads(paig("usage", "reprice", "--json", "--url", url).out)
        assert float(report["difference"]) > 0
    finally:
        paig("prices", "delete", "openai/gpt-oss-120b", "--yes", "--url", url)
    assert paig("usage", "prune", "--older-than", "90d", "--url", url).code == 2
    pruned = paig("usage", "prune", "--older-than", "90d", "--yes", "--url", url)
    assert (pruned.code, pruned.err) == (0, "Removed 0 requests; totals stay.\n")
    assert paig("usage", "prune", "--older-than", "1m", "--yes", "--url", url).code == 1
