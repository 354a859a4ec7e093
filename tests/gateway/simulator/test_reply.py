"""The simulated model's rules: text, tokens, caches and the choice of tools."""

from __future__ import annotations

import pytest

from paig_gateway.simulator.faults import NONE, Faults
from paig_gateway.simulator.reply import Prompt, Reply, SimulatedModel, Tool, count, effort

WEATHER = Tool("get_weather", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
FINAL = Tool("final_result", {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})


def prompt(ask: str, **fields: object) -> Prompt:
    """A prompt of one user message."""
    made = Prompt(model="gpt-4o", texts=[ask])
    made.user([ask])
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def think(given: Prompt, faults: Faults = NONE) -> Reply:
    """A fresh model's reply."""
    return SimulatedModel().reply(given, faults, "openai")


def test_same_input_same_text() -> None:
    """The reply names the model, says that it is simulated, and repeats the question; twice the same."""
    first, second = think(prompt("What is it?")), think(prompt("What is it?"))
    assert first.text == "Hello from gpt-4o (simulated). You said: What is it?"
    assert (second.text, second.tokens) == (first.text, first.tokens)
    assert "".join(first.pieces) == first.text


def test_input_tokens_are_a_quarter_of_the_characters_and_256_a_picture() -> None:
    """Characters of all texts over four, rounded up, plus a fixed amount for every attachment."""
    given = prompt("abcde")
    given.attach("IMAGE")
    given.attach("AUDIO")
    tokens = count(given)
    assert (tokens.input, tokens.media) == (2 + 512, {"IMAGE": 256, "AUDIO": 256})


def test_output_tokens_are_words() -> None:
    """What is billed is what is said."""
    reply = think(prompt("one two three"))
    assert reply.tokens.output == len(reply.text.split())


def test_limit_cuts_the_text() -> None:
    """The reply never has more tokens than allowed, and then says so."""
    reply = think(prompt("one two three", limit=4))
    assert (reply.finish, reply.tokens.output, reply.text) == ("length", 4, "Hello from gpt-4o (simulated).")


@pytest.mark.parametrize(("limit", "reasoning", "words"), [(20, 16, 4), (10, 10, 0)])
def test_reasoning_counts_against_the_limit(limit: int, reasoning: int, words: int) -> None:
    """Reasoning comes first; what is left of the limit is text."""
    reply = think(prompt("one two three", reasoning=16, limit=limit))
    assert (reply.tokens.reasoning, reply.tokens.output, len(reply.text.split())) == (reasoning, limit, words)
    assert reply.finish == "length"


@pytest.mark.parametrize(
    ("tokens", "limit", "output", "finish"), [(3, None, 3, "stop"), (200, None, 200, "stop"), (200, 50, 50, "length")]
)
def test_asked_number_of_tokens(tokens: int, limit: int | None, output: int, finish: str) -> None:
    """`[sim:tokens=N]` makes exactly N, unless the limit is lower."""
    reply = think(prompt("hi", reasoning=2, limit=limit), Faults(tokens=tokens))
    assert (reply.tokens.output, reply.finish) == (output, finish)
    assert len(reply.text.split()) + reply.tokens.reasoning == output


def test_samples_multiply_the_output() -> None:
    """Several choices are several times the output, and once the input."""
    one, three = think(prompt("hi")), think(prompt("hi", samples=3))
    assert (three.tokens.input, three.tokens.output) == (one.tokens.input, 3 * one.tokens.output)


@pytest.mark.parametrize(("chunks", "pieces"), [(None, 8), (1, 1), (3, 3), (10_000, 200)])
def test_chunks(chunks: int | None, pieces: int) -> None:
    """A stream has eight deltas, or as many as asked for, but at most one a word."""
    assert len(think(prompt("hi"), Faults(tokens=200, chunks=chunks)).pieces) == pieces


@pytest.mark.parametrize("ask", ["Use get_weather now", "get weather please"])
def test_tool_named_in_the_message_is_called(ask: str) -> None:
    """A tool whose name the user says is called, with arguments that its schema accepts."""
    reply = think(prompt(ask, tools=[FINAL, WEATHER]))
    assert [(call.name, call.arguments) for call in reply.calls] == [("get_weather", {"city": "city"})]
    assert (reply.finish, reply.text) == ("tool", "")
    assert reply.tokens.output == 1 + len('{"city":"city"}') // 4 + 1


def test_no_tool_is_called_without_a_reason() -> None:
    """Tools on offer alone make no call."""
    assert think(prompt("hello", tools=[WEATHER])).calls == []
    assert think(prompt("get_weather", tools=[WEATHER], choice="none")).calls == []


@pytest.mark.parametrize(("choice", "name"), [("required", "final_result"), ("get_weather", "get_weather")])
def test_required_tool(choice: str, name: str) -> None:
    """Where a call is required, the one that ends the run is made; a particular one, if asked for."""
    reply = think(prompt("hello", tools=[WEATHER, FINAL], choice=choice))
    assert [call.name for call in reply.calls] == [name]
    assert [call.name for call in think(prompt("hello", tools=[WEATHER], choice="required")).calls] == ["get_weather"]


def test_tool_is_not_called_again_once_it_answered() -> None:
    """After its result comes text that repeats it, or the call that ends the run if there is such a tool."""
    given = prompt("get_weather", tools=[WEATHER])
    given.answered("get_weather", ["sunny"])
    assert think(given).text == "Hello from gpt-4o (simulated). get_weather says: sunny"
    given.tools.append(FINAL)
    assert [call.name for call in think(given).calls] == ["final_result"]


def test_tool_by_directive() -> None:
    """`[sim:tool=a][sim:tool=b]` makes two calls at once; an empty name means the first tool."""
    reply = think(prompt("hello", tools=[WEATHER, FINAL]), Faults(tools=("final_result", "")))
    assert [call.name for call in reply.calls] == ["get_weather", "final_result"]


def test_tool_call_that_does_not_fit_the_limit_is_not_made() -> None:
    """A call costs tokens like text; where the limit has no room for it, the answer is cut."""
    reply = think(prompt("get_weather", tools=[WEATHER], limit=2))
    assert (reply.calls, reply.finish, reply.tokens.output) == ([], "length", 2)


def test_structured_text() -> None:
    """A response schema makes the text JSON of it."""
    assert think(prompt("hello", schema=FINAL.schema)).text == '{"n": 0}'


def test_long_prompts_are_cached_by_blocks() -> None:
    """Where caching is automatic, the leading 4,096-character blocks of an earlier prompt are read from the cache."""
    llm = SimulatedModel()
    long = "x" * 9000
    first = llm.reply(prompt(long), NONE, "openai").tokens
    again = llm.reply(prompt(long + " and more"), NONE, "openai").tokens
    elsewhere = llm.reply(prompt(long), NONE, "other").tokens
    other = llm.reply(prompt("y" + long), NONE, "openai").tokens
    assert (first.cached, again.cached, elsewhere.cached, other.cached) == (0, 2048, 0, 0)
    assert again.written == 0
    llm.forget()
    assert llm.reply(prompt(long), NONE, "openai").tokens.cached == 0


def test_newest_models_bill_what_they_cache() -> None:
    """gpt-5.6 counts the blocks it writes."""
    given = prompt("x" * 9000)
    given.model = "gpt-5.6"
    assert think(given).tokens.written == 2048


def test_marked_prefix_is_written_then_read() -> None:
    """Up to the mark all is written; a later prompt that goes on from there reads it and writes only the rest."""
    llm = SimulatedModel()
    first = prompt("a" * 100, marks=[1])
    first.texts.append("question")
    tokens = llm.reply(first, NONE, "anthropic").tokens
    assert (tokens.cached, tokens.written, tokens.plain) == (0, 25, 2)
    longer = prompt("a" * 100, marks=[3])
    longer.texts += ["question", "b" * 40]
    tokens = llm.reply(longer, NONE, "anthropic").tokens
    assert (tokens.cached, tokens.written, tokens.plain) == (25, 12, 0)


@pytest.mark.parametrize(
    ("model", "asked", "tokens"),
    [
        ("gpt-4o", None, 0),
        ("gpt-5", None, 16),
        ("gpt-5-chat-latest", None, 0),
        ("openai/gpt-oss-120b", None, 16),
        ("gemini-2.5-flash", None, 16),
        ("gpt-5", "none", 0),
        ("gpt-5", "high", 32),
        ("claude-sonnet-5", "low", 8),
    ],
)
def test_reasoning_tokens(model: str, asked: str | None, tokens: int) -> None:
    """Models that reason take a fixed number of tokens for each effort."""
    assert effort(model, asked) == tokens
