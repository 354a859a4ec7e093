"""From the catalogue to the text of a `paig.toml` that, applied to the same catalogue, changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

from sqlmodel import Session, select

from paig_client.api.specs import Spec
from paig_gateway.catalog import Catalog, keys, owners, prices, providers, routes
from paig_gateway.catalog.collection import key_specs, read_organisation
from paig_gateway.catalog.objects import ObjectType, R, S
from paig_gateway.config.model import bare_or_quoted, quoted
from paig_gateway.database.tables import KeyRow


def export(catalog: Catalog) -> str:
    """All of the catalogue as TOML.

    References to credentials stand as they were written. A secret that only the catalogue knows is not shown: a literal
    credential stands as `value:<stored>`, which keeps it, and a key made here has no `secret` at all.
    """
    with catalog.view() as session:
        return "\n".join(_document(session))


def _document(session: Session) -> Iterator[str]:
    organisation = _fields(read_organisation(session))
    if organisation:
        yield _table("organisation", {"limits": organisation})
    yield from _tables("providers", _specs(session, providers.SHAPE))
    yield from _tables("routes", _specs(session, routes.SHAPE))
    yield from _tables("prices", _specs(session, prices.SHAPE))
    yield from _tables("projects", _specs(session, owners.PROJECTS))
    yield from _tables("users", _specs(session, owners.USERS))
    rows = session.exec(select(KeyRow).order_by(KeyRow.name)).all()
    yield from _tables(keys.SHAPE.kind + "s", ((row.name, spec) for row, spec in key_specs(session, rows)))


def _specs(session: Session, kind: ObjectType[R, S]) -> Iterator[tuple[str, Spec]]:
    for row in session.exec(select(kind.row).order_by(kind.row.name)).all():
        yield row.name, kind.read(session, row)


def _tables(table: str, specs: Iterable[tuple[str, Spec]]) -> Iterator[str]:
    for name, spec in specs:
        yield _table(f"{table}.{bare_or_quoted(name)}", _fields(spec))


def _table(header: str, fields: Mapping[str, object]) -> str:
    return "".join([f"[{header}]\n", *(f"{name} = {_value(value)}\n" for name, value in fields.items())])


def _fields(spec: Spec) -> dict[str, object]:
    return spec.model_dump(exclude_defaults=True)


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value) if value % 1 else str(int(value))
        case Decimal():
            return f"{value:f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))
        case str():
            return quoted(value)
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="milliseconds").replace(".000", "").replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case dict():
            pairs = ", ".join(f"{bare_or_quoted(str(name))} = {_value(inner)}" for name, inner in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case _:
            raise TypeError(f"{type(value).__name__} has no place in a configuration file")
