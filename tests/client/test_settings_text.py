"""Values set in the text of settings files: nothing else changes, or the file is refused."""

from __future__ import annotations

import json
import tomllib

import pytest

from paig_client.settings_text import set_dotenv, set_json, set_toml

KEY = {"env": {"KEY": "new"}}
JSON = {
    "empty": ("", '{\n  "env": {\n    "KEY": "new"\n  }\n}\n'),
    "an empty object": ("{}", '{\n  "env": {\n    "KEY": "new"\n  }\n}'),
    "an empty object inside": ('{\n\t"env": {}\n}\n', '{\n\t"env": {\n\t\t"KEY": "new"\n\t}\n}\n'),
    "one line": ('{"a": 1, "env": {"b": 2}}', '{"a": 1, "env": {"b": 2, "KEY": "new"}}'),
    "a value is replaced": ('{"env": {"KEY" : "old" , "b":1e2}}', '{"env": {"KEY" : "new" , "b":1e2}}'),
    "tabs": ('{\n\t"a": 1\n}\n', '{\n\t"a": 1,\n\t"env": {\n\t\t"KEY": "new"\n\t}\n}\n'),
    "four blanks": (
        '{\n    "env": {\n        "b": 1\n    }\n}',
        '{\n    "env": {\n        "b": 1,\n        "KEY": "new"\n    }\n}',
    ),
    "comments": (
        '// mine\n{\n  /* all */ "env": { // these\n    "b": 1 // one\n    // the end\n  }\n}\n',
        '// mine\n{\n  /* all */ "env": { // these\n    "b": 1, // one\n    "KEY": "new"\n    // the end\n  }\n}\n',
    ),
    "a trailing comma": (
        '{\n  "env": {\n    "b": 1, // one\n  },\n}\n',
        '{\n  "env": {\n    "b": 1, // one\n    "KEY": "new",\n  },\n}\n',
    ),
    "a trailing comma in one line": ('{"env": {"b": 1,},}', '{"env": {"b": 1, "KEY": "new",},}'),
    "CRLF": (
        '{\r\n  "env": {\r\n    "b": 1\r\n  }\r\n}\r\n',
        '{\r\n  "env": {\r\n    "b": 1,\r\n    "KEY": "new"\r\n  }\r\n}\r\n',
    ),
    "a byte order mark": ('\ufeff{"env": {"b": 1}}', '\ufeff{"env": {"b": 1, "KEY": "new"}}'),
    "of two of one name the last counts": (
        '{"env": {"KEY": "1"}, "env": {"KEY": "2"}}',
        '{"env": {"KEY": "1"}, "env": {"KEY": "new"}}',
    ),
    "null": ('{"env": null}', '{"env": {\n    "KEY": "new"\n  }}'),
    "what looks like a comment": (
        '{"a": "// no \\" /*", "env": {"b": "*/"}}',
        '{"a": "// no \\" /*", "env": {"b": "*/", "KEY": "new"}}',
    ),
    "arrays": (
        '{"a": [{"env": {}}, [1, 2]], "env": {"b": []}}',
        '{"a": [{"env": {}}, [1, 2]], "env": {"b": [], "KEY": "new"}}',
    ),
    "letters of the world": (
        '{"ä": "日本 \U0001f600", "env": {"b": 1}}',
        '{"ä": "日本 \U0001f600", "env": {"b": 1, "KEY": "new"}}',
    ),
}


@pytest.mark.parametrize(("text", "expected"), JSON.values(), ids=JSON)
def test_json_keeps_its_form(text: str, expected: str) -> None:
    """Only the value is new; done a second time nothing changes."""
    assert set_json(text, KEY) == expected
    assert set_json(expected, KEY) == expected


@pytest.mark.parametrize(
    "text",
    ["[]", '"a"', "{", '{"a": }', '{"a" 1}', '{"a": 1 "b": 2}', "{} {}", "{a: 1}", "nonsense", '{"env": tru}'],
)
def test_what_is_not_a_json_object_is_refused(text: str) -> None:
    """The message says what is wrong with it."""
    with pytest.raises(ValueError, match=r"JSON|one JSON value"):
        set_json(text, KEY)
    with pytest.raises(ValueError, match="nested too deeply"):
        set_json('{"a": ' + "[" * 60 + "]" * 60 + "}", KEY)


WANTED = {"provider": "paig", "providers": {"paig": {"url": "u", "on": True, "env_key": None}}}
TABLE = '[providers.paig]\nurl = "u"\non = true\n'
TOML = {
    "empty": ("", f'provider = "paig"\n\n{TABLE}'),
    "no tables": ('# mine\nmodel = "m"', f'# mine\nmodel = "m"\nprovider = "paig"\n\n{TABLE}'),
    "a value is replaced where it is": (
        'provider = "other"  # why\nmodel = "m"\n\n[a]\nprovider = "stays"\n',
        f'provider = "paig"  # why\nmodel = "m"\n\n[a]\nprovider = "stays"\n\n{TABLE}',
    ),
    "a quoted name": ("\"provider\" = 'other'\n", f'"provider" = "paig"\n\n{TABLE}'),
    "its table has more": (
        'provider = "paig"\n[ providers . "paig" ]\nretries = 8\nenv_key = "X"\nurl = "old"\n\n# next\n[b]\nc = 1\n',
        'provider = "paig"\n[ providers . "paig" ]\nretries = 8\nurl = "u"\non = true\n\n# next\n[b]\nc = 1\n',
    ),
    "what looks like a table": (
        'a = """\n[x]\nprovider = "no"\n"""\nb = [\n  [1],\n  # [y]\n]\n[c]\nd = "[z]"\n',
        'a = """\n[x]\nprovider = "no"\n"""\nb = [\n  [1],\n  # [y]\n]\nprovider = "paig"\n[c]\nd = "[z]"\n\n' + TABLE,
    ),
    "arrays of tables": ("[[x]]\na = 1\n[[x]]\na = 2\n", f'provider = "paig"\n[[x]]\na = 1\n[[x]]\na = 2\n\n{TABLE}'),
    "a table below its own": (
        '[providers.paig.headers]\nx = "y"\n',
        f'provider = "paig"\n[providers.paig.headers]\nx = "y"\n\n{TABLE}',
    ),
    "CRLF": ('model = "m"\r\n', f'model = "m"\nprovider = "paig"\n\n{TABLE}'.replace("\n", "\r\n")),
    "a byte order mark": ('\ufeffmodel = "m"\n', f'\ufeffmodel = "m"\nprovider = "paig"\n\n{TABLE}'),
}


@pytest.mark.parametrize(("text", "expected"), TOML.values(), ids=TOML)
def test_toml_keeps_its_form(text: str, expected: str) -> None:
    """Comments, order and other tables stay; done a second time nothing changes."""
    assert set_toml(text, WANTED) == expected
    assert set_toml(expected, WANTED) == expected


@pytest.mark.parametrize(
    "text",
    [
        'providers = { paig = { url = "x" } }\n',
        'providers.paig.url = "x"\n',
        "[providers]\npaig.url = 'x'\n",
        "[[providers]]\na = 1\n",
        "a = \n",
    ],
)
def test_toml_in_other_forms_is_refused(text: str) -> None:
    """Nothing is written where the result would not be what is wanted."""
    with pytest.raises(ValueError, match=r"\w"):
        set_toml(text, WANTED)


def test_dotenv_keeps_its_form() -> None:
    """Each assignment is replaced where it stands, with its `export`; others are added at the end."""
    before = "# mine\r\nexport KEY = 'old' # why\r\nKEYS=1\r\n#KEY=off\r\nB=2"
    found = set_dotenv(before, {"KEY": "new", "C": "3"})
    assert found == "# mine\r\nexport KEY =new\r\nKEYS=1\r\n#KEY=off\r\nB=2\r\nC=3\r\n"
    assert set_dotenv(found, {"KEY": "new", "C": "3"}) == found


def test_mixed_line_ends_stay() -> None:
    """A file with both kinds keeps them."""
    assert json.loads(set_json('{\r\n"a": 1,\n"env": {}}', KEY)) == {"a": 1, **KEY}
    assert tomllib.loads(set_toml("a = 1\r\nb = 2\n", {"c": 3})) == {"a": 1, "b": 2, "c": 3}
    assert "a = 1\r\nb = 2\n" in set_toml("a = 1\r\nb = 2\n", {"c": 3})
