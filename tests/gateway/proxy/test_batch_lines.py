"""What the lines of a batch ask: read as they come, kept in little room, held at the rates of batches."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.route import ActiveProvider, Member
from paig_gateway.formats.batches import GEMINI, OPENAI, BatchContent
from paig_gateway.pricing.overrides import PriceSources
from paig_gateway.pricing.price import PriceBook
from paig_gateway.proxy.batch_lines import BatchLines, LinePlans, LineReader, by_id

AT = datetime(2026, 11, 30, tzinfo=UTC)


def line(id: str, prompt: str = "Hi", model: str = "gpt-5-mini", **more: object) -> bytes:
    """A line of a file."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_completion_tokens": 100, **more}
    one = {"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(one).encode() + b"\n"


def read(data: bytes, piece: int = 7) -> BatchLines:
    """Read a file in small pieces."""
    reader = LineReader(OPENAI, BatchContent(), "openai")
    for place in range(0, len(data), piece):
        reader.feed(data[place : place + piece])
    return reader.end()


def plans(kind: str = "openai") -> LinePlans:
    """What lines cost at a provider of a kind."""
    return LinePlans(Member(ActiveProvider(kind, kind, f"https://{kind}")), AT, PriceSources(PriceBook()))


def test_lines_in_pieces_are_groups_with_few_bytes() -> None:
    """A thousand lines that differ in length are one group, and are unpacked as they were."""
    data = b"".join(line(f"r-{number}", "x" * (number % 50)) for number in range(1000))
    found = read(data, 1000)
    assert (found.count, len(found.groups), found.models) == (1000, 1, ["gpt-5-mini"])
    packed = found.packed()
    assert len(packed) < 8000
    assert BatchLines.unpacked(packed) == found
    assert by_id(found)["1:r-51"][1] == found.groups[0].inputs[51]


def test_small_pieces_blank_lines_and_a_missing_end() -> None:
    """What JSON Lines allows is read."""
    found = read(b"\xef\xbb\xbf" + line("a") + b"\r\n\n" + line("b", "é", "gpt-5").rstrip())
    assert found.models == ["gpt-5-mini", "gpt-5"]
    assert found.count == 2


def test_batch_rates_are_half() -> None:
    """What is held for a line is half of what it would be alone; a service tier of its own does not count."""
    found = read(line("a") + line("b", service_tier="priority"))
    held = [plans().ceiling(group, 100) for group in found.groups]
    assert held[0] == held[1]
    _, call, plan = plans().of(found.groups[0])
    assert plan.bound.worst(call).output_tokens == 100
    # $2 for a million output tokens, halved.
    assert plan.bound.hold(call).money == 100 * 1000


def test_repeated_ids_are_told_apart() -> None:
    """By the number of the time, as their results are, whatever other ids look like."""
    assert list(by_id(read(line("a") + line("2:a") + line("a")))) == ["1:a", "1:2:a", "2:a"]


def test_gemini_lines_get_the_batches_model() -> None:
    """A file's lines name none."""
    reader = LineReader(GEMINI, BatchContent(), "google")
    reader.feed(
        b'{"key":"k","request":{"contents":[{"parts":[{"text":"Hi"}]}],"generationConfig":{"maxOutputTokens":9}}}'
    )
    found = reader.end().of_batch("gemini-2.5-flash")
    assert found.models == ["gemini-2.5-flash"]
    assert found.groups[0].path == "/v1beta/models/gemini-2.5-flash:generateContent"
    assert plans("google").unpriced(found) is None
    assert plans("google").total(found) > 0


def test_a_model_without_a_price() -> None:
    """It is named."""
    assert plans().unpriced(read(line("a") + line("b", model="no-such-model"))) == "no-such-model"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (line("a") + b"{\n", "Line 2"),
        (line("a").rstrip() + b'{"custom_id":"hidden"}\n', "Line 1"),
        (line("a").replace(b'"model"', b'"model": "x", "model"'), "given twice"),
        (line("a").replace(b"/v1/chat/completions", b"/v1/fine_tuning/jobs"), "/v1/fine_tuning/jobs"),
        (line("a").replace(b"/v1/chat/completions", b"/v1/../x"), "/v1/../x"),
    ],
)
def test_what_cannot_be_read_in_one_way(data: bytes, says: str) -> None:
    """Each line is read as strictly as a request of its own."""
    with pytest.raises(GatewayError, match=says.replace("/", ".")):
        read(data)
