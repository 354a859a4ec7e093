"""Requests that two parsers could read in two ways are refused, and no others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paig_gateway.formats import ambiguity
from paig_gateway.formats.ambiguity import check_json
from paig_gateway.formats.base import MalformedRequest

MESSAGES = '"messages":[{"role":"user","content":"hi"}]'


@pytest.mark.parametrize(
    "body",
    [
        '{"model":"gpt-5-pro","model":"gpt-5-nano",%s}',
        '{"model":"gpt-5-nano","\\u006dodel":"gpt-5-pro",%s}',
        '{"model":"gpt-5-nano","max_tokens":100000,"max_tokens":1,%s}',
        '{"model":"gpt-5-nano","n":100,%s,"n":1}',
        '{"model":"gpt-5-nano" , "n":100, %s ,\n"n":1 }',
        '{"model":"gpt-5-nano","a       ":1,"n":9,"n":1,%s}',
        '{"model":"gpt-5-nano","MODEL":"gpt-5-pro",%s}',
        '{"model":"gpt-5-nano","N":100,%s}',
        '{"model":"gpt-5-nano","max_tokens":1,"maxTokens":100,%s}',
        '{"Model":"gpt-5-pro",%s}',
        '{"model":"gpt-5-nano","bEST_OF":20,%s}',
        '{"model":"gpt-5-nano","mAX_TOKENS":100000,%s}',
        '{"model":"gpt-5-nano","tool\u017f":[],%s}',
        '{"model":"m","stream_options":{"include_usage":false},"stream_options":{"include_usage":true},%s}',
        '{"model":"m","stream_options":{"include_usage":false,"include_usage":true},%s}',
        '{"model":"m","stream_options":{"include_usage":false,"Include_Usage":true},%s}',
        '{"model":"m","generationConfig":{"maxOutputTokens":1,"maxOutputTokens":100},%s}',
        '{"model":"m","generationConfig":{"thinkingConfig":{"thinkingBudget":1,"thinkingBudget":9}},%s}',
        '{"model":"m","generationConfig":{"maxOutputTokens":1},"generation_config":{},%s}',
        '{"model":"m","tools":[{"type":"web_search","type":"function"}],%s}',
        '{"model":"m","tools":{"googleSearch":{},"googleSearch":null},%s}',
        '{"model":"m","reasoning":{"effort":"low","effort":"high"},%s}',
    ],
)
def test_refused(body: str) -> None:
    """A deciding member twice, in two spellings, or in a case that only some servers know."""
    with pytest.raises(MalformedRequest, match=r"twice|beside|lower case"):
        check_json((body % MESSAGES).encode())


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        " { } ",
        '{"model":"m",%s}',
        '{ "model" : "m" ,\r\n\t %s }\n',
        '{"model":"m","messages":[{"role":"user","role":"tool","content":"{\\"n\\":1,\\"n\\":2}"}]}',
        '{"model":"m","tools":[{"type":"function","function":{"parameters":{"n":1,"n":2,"N":3}}}],%s}',
        '{"model":"m","response_format":{"json_schema":{"schema":{"properties":{"a":{},"A":{}}}}},%s}',
        '{"model":"m","metadata":{"a":"1","A":"2","\\u00e9":"x"},%s}',
        '{"model":"m","user":"\\u00e9 \\"n\\":1, \\"n\\":2",%s}',
        '{"model":"m","max_tokens":1,"max_completion_tokens":2,%s}',
        '{"model":"m","é":1,%s}',
        '{"model":"m","maxTokens":1,"best_of":1,"max-output-tokens":1,"topK":1,"topLogProbs":1,%s}',
        '{"model":"m","generationConfig":{"candidateCount":1,"thinkingConfig":{"includeThoughts":true}},%s}',
        '{"\\u006dodel":"m","stream_opti\\u006Fns":{"include_us\\u0061ge":false},%s}',
        "[1, 1]",
        "not JSON",
        "--form",
        "",
    ],
)
def test_passed(body: str) -> None:
    """What is said once passes, however it is spaced, and whatever stands inside messages and schemas."""
    check_json((body % MESSAGES if "%s" in body else body).encode())


def test_long_names_are_not_kept() -> None:
    """A client that sends names of any length fills no memory, and cannot hide a deciding one by its length."""
    before = ambiguity._canonical.cache_info().currsize
    for number in range(3):
        check_json(json.dumps({"x" * 1_000_000 + str(number): 1}).encode())
    assert ambiguity._canonical.cache_info().currsize == before
    with pytest.raises(MalformedRequest, match="beside"):
        check_json(json.dumps({"model": "m", "mo" + "_" * 1000 + "del": "n"}).encode())


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="_-"), max_size=8)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(
    members=st.lists(st.tuples(NAMES, VALUES), max_size=8),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r")]),
    ascii_only=st.booleans(),
)
def test_agrees_with_a_second_parser(
    members: list[tuple[str, Any]], separators: tuple[str, str], ascii_only: bool
) -> None:
    """Names are refused exactly where the standard library's parser finds two that are equal without their case."""
    comma, colon = separators
    pairs = [json.dumps(name, ensure_ascii=ascii_only) + colon + json.dumps(value) for name, value in members]
    body = "{" + comma.join(pairs) + "}"
    found: list[str] = []
    json.loads(body, object_pairs_hook=lambda inner: found.__setitem__(slice(None), [name for name, _ in inner]))
    folded = [name.casefold() for name in found]
    try:
        check_json(body.encode())
    except MalformedRequest:
        assert len(set(folded)) < len(folded) or any(name[:1].isupper() for name in found)
    else:
        assert len(set(folded)) == len(folded)
