"""On which line everything in a TOML document stands."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from paig_client.api import toml
from paig_gateway.config.lines import SpecPath, line_numbers

DOCUMENT = '''\
# [not.a.table] 1
[server]  # = 2
port = 8080
timeouts.connect = 5

[providers."my.prov # x"]
kind = "a = b # c"
note = """
[fake]
x = 1 \\"""
"""
raw = \'\'\'
k = 2
\'\'\'
[routes . fast]
members = [  # 15
    { provider = "a", models = { "x.y" = "z" } },

    { provider = 'b', weight = 3 }, # 18
]
[[routes.slow.members]]
provider = "c"
[routes.slow.members.models]
gpt = "x"
[[routes.slow.members]]
provider = "d"
[keys]
"Ada's laptop".limits.daily = 1
ci = {}
when = 1979-05-27 07:32:00
empty = ["", '', """"""]
'''


def test_lines_of_a_document_with_every_quirk() -> None:
    """Tables, dotted and quoted keys, inline tables, arrays of tables, long strings and comments are all followed."""
    lines = line_numbers(DOCUMENT)
    expected: dict[SpecPath, int] = {
        ("server",): 2,
        ("server", "port"): 3,
        ("server", "timeouts"): 4,
        ("server", "timeouts", "connect"): 4,
        ("providers", "my.prov # x"): 6,
        ("providers", "my.prov # x", "kind"): 7,
        ("providers", "my.prov # x", "note"): 8,
        ("providers", "my.prov # x", "raw"): 12,
        ("routes",): 15,
        ("routes", "fast", "members"): 16,
        ("routes", "fast", "members", 0): 17,
        ("routes", "fast", "members", 0, "models", "x.y"): 17,
        ("routes", "fast", "members", 1, "weight"): 19,
        ("routes", "slow", "members", 0): 21,
        ("routes", "slow", "members", 0, "provider"): 22,
        ("routes", "slow", "members", 0, "models", "gpt"): 24,
        ("routes", "slow", "members", 1, "provider"): 26,
        ("keys", "Ada's laptop", "limits", "daily"): 28,
        ("keys", "ci"): 29,
        ("keys", "when"): 30,
        ("keys", "empty", 2): 31,
    }
    assert {path: lines.get(path) for path in expected} == expected
    assert all(path[:1] != ("fake",) for path in lines)


keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.datetimes(),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
documents = st.dictionaries(keys, st.dictionaries(keys, values, max_size=4), max_size=4)


def written(value: object, draw: Any) -> str:
    """A value as TOML; arrays may go over several lines."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return draw(st.sampled_from([toml.string(value), f'"""\n{toml.string(value)[1:-1]}"""']))  # type: ignore[no-any-return]
        case list():
            gap = draw(st.sampled_from(["", " ", "\n", "\n# ] comment, [\n  "]))
            return "[" + ",".join(gap + written(item, draw) for item in value) + gap + "]"
        case dict():
            return "{" + ", ".join(f"{toml.key(k)} = {written(v, draw)}" for k, v in value.items()) + "}"
        case float():
            return repr(value)
        case int():
            return str(value)
        case _:
            return value.isoformat()  # type: ignore[attr-defined, no-any-return]


def places(value: object, path: SpecPath = ()) -> list[SpecPath]:
    """Every path in parsed TOML."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in pairs for place in places(inner, (*path, key)))]


@settings(max_examples=150, deadline=None)
@given(documents, st.data())
def test_every_value_has_its_line(document: dict[str, dict[str, Any]], data: st.DataObject) -> None:
    """Whatever the document, exactly its paths are found, and a table's key on the line where it was written."""
    text, where = "", {}
    for table, pairs in document.items():
        text += data.draw(st.sampled_from(["", "\n", "# a = 1\n"]))
        where[table,] = text.count("\n") + 1
        text += f"[{toml.key(table)}]\n"
        for key, value in pairs.items():
            where[table, key] = text.count("\n") + 1
            text += f"{toml.key(key)} = {written(value, data.draw)}\n"
    assert tomllib.loads(text) == document
    lines = line_numbers(text)
    assert set(lines) == set(places(document))
    assert {path: lines[path] for path in where} == where
