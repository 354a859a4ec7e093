"""The line of each value in a TOML document.

`tomllib` forgets positions, so a second, lenient pass over a document that it has already accepted finds them. It
handles everything in the grammar that moves a value: dotted and quoted keys, inline and nested tables, arrays of
tables, strings over several lines, comments.
"""

from __future__ import annotations

import re
import tomllib

SpecPath = tuple[str | int, ...]
"""Where a value is: keys, and indexes into arrays."""

_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]*")


def line_numbers(text: str) -> dict[SpecPath, int]:
    """The line, from 1, of every table, key and array element of a valid TOML document."""
    return _Scan(text).document()


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[SpecPath, int] = {(): 1}
        self.tables: dict[SpecPath, int] = {}  # how many tables an array of tables has so far
        self._line = 1
        self._counted = 0

    def document(self) -> dict[SpecPath, int]:
        table: SpecPath = ()
        while self._skip():
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self.found

    def _header(self) -> SpecPath:
        """`[a.b]` or `[[a.b]]`; in either, a part that is an array of tables means its last table."""
        array = self.text.startswith("[[", self.at)
        line = self._line_here()
        self.at += 2 if array else 1
        *front, last = self._key()
        path: SpecPath = ()
        for part in front:
            path = (*path, part)
            if path in self.tables:
                path = (*path, self.tables[path] - 1)
        path = (*path, last)
        self._note(path, line)
        if array:
            number = self.tables.get(path, 0)
            self.tables[path] = number + 1
            path = (*path, number)
            self._note(path, line)
        self.at += 2 if array else 1
        return path

    def _pair(self, table: SpecPath) -> None:
        line = self._line_here()
        path = (*table, *self._key())
        self._note(path, line)
        self.at += 1  # the equals sign
        self._blank()
        self._value(path)

    def _value(self, path: SpecPath) -> None:
        opening = self.text[self.at]
        if opening == "[":
            self._list("]", path)
        elif opening == "{":
            self._list("}", path)
        elif opening in "\"'":
            self._match(_STRING)
        else:
            self._match(_SCALAR)

    def _list(self, closing: str, path: SpecPath) -> None:
        """The elements of an array, or the pairs of an inline table."""
        self.at += 1
        number = 0
        while self._skip() and self.text[self.at] != closing:
            if self.text[self.at] == ",":
                self.at += 1
            elif closing == "}":
                self._pair(path)
            else:
                element = (*path, number)
                self._note(element, self._line_here())
                self._value(element)
                number += 1
        self.at += 1

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._blank()
            if self.text[self.at] in "\"'":
                parts.append(tomllib.loads(f"key = {self._match(_STRING)}")["key"])
            else:
                parts.append(self._match(_BARE_KEY))
            self._blank()
            if self.text[self.at] != ".":
                return parts
            self.at += 1

    def _note(self, path: SpecPath, line: int) -> None:
        for length in range(1, len(path) + 1):
            self.found.setdefault(path[:length], line)

    def _skip(self) -> bool:
        """Move to the next token; returns False at the end."""
        self._match(_SPACE)
        return self.at < len(self.text)

    def _blank(self) -> None:
        self._match(_BLANK)

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise ValueError(f"line {self._line_here()} is not valid TOML here")
        self.at = match.end()
        return match[0]

    def _line_here(self) -> int:
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self._line
