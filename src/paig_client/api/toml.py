"""Values as `paig.toml` writes them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def key(name: str) -> str:
    """A name as TOML writes it: bare if it can be, else quoted."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else string(name)


def string(text: str) -> str:
    """A TOML string on one line."""
    escaped = re.sub(r'["\\\x00-\x1f\x7f]', lambda found: _ESCAPES.get(found[0], f"\\u{ord(found[0]):04x}"), text)
    return f'"{escaped}"'


def value(given: object) -> str:
    """A value as TOML writes it, on one line.

    Raises:
        TypeError: TOML has no such value.
    """
    match given:
        case bool():
            return "true" if given else "false"
        case int():
            return str(given)
        case float():
            return repr(given) if given % 1 else str(int(given))
        case Decimal():
            return f"{given:f}".rstrip("0").rstrip(".") if given % 1 else str(int(given))
        case str():
            return string(given)
        case datetime():
            return given.astimezone(UTC).isoformat(timespec="milliseconds").replace(".000", "").replace("+00:00", "Z")
        case date():
            return given.isoformat()
        case list():
            return f"[{', '.join(map(value, given))}]"
        case dict():
            pairs = ", ".join(f"{key(str(name))} = {value(inner)}" for name, inner in given.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case _:
            raise TypeError(f"{type(given).__name__} cannot be written to a configuration file")


def table(header: str, fields: dict[str, object]) -> str:
    """A table with its header, a line for each field."""
    return f"[{header}]\n" + "".join(f"{key(name)} = {value(given)}\n" for name, given in fields.items())
