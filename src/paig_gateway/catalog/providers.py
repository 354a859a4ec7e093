"""Providers in the catalogue. A literal credential is encrypted; a reference is kept as written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from sqlmodel import Session, select

from paig_client.api import resources
from paig_client.api.specs import ProviderSpec
from paig_gateway.catalog import credentials
from paig_gateway.catalog.base import CatalogError, Edit, Kinds, check_url_name, suggestion
from paig_gateway.catalog.objects import Context, ObjectType
from paig_gateway.catalog.references import check_name_unused
from paig_gateway.database.tables import PriceRow, ProviderRow, RouteRow

SETTINGS = ("project", "location", "token_url", "region", "api_version")
"""The fields of a ProviderSpec that only some kinds take."""

_APART = {"kind", "base_url", "credential", "credentials"}


def problems(kinds: Kinds, spec: ProviderSpec) -> Iterator[tuple[str, str]]:
    """What is wrong with a provider by itself: (field, message)."""
    kind = kinds.rows.get(spec.kind)
    if kind is None:
        close = suggestion(spec.kind, kinds.rows)
        yield "kind", f"is no kind of provider{close or '; known are ' + ', '.join(sorted(kinds.rows))}"
    for name in ("base_url", "token_url"):
        url = getattr(spec, name)
        if url is not None and (wrong := _url_problem(url)):
            yield name, wrong
    for name in SETTINGS:
        value = getattr(spec, name)
        if value is None:
            continue
        if kind is not None and name not in kind.settings:
            takes = f"it takes {', '.join(kind.settings)}" if kind.settings else "it takes no settings of its own"
            yield name, f"is no setting of the kind {spec.kind}: {takes}"
        elif name != "token_url" and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]*", value):
            yield name, "must hold only letters, digits, '.', '_', ':' and '-'"
    if kind is not None and spec.base_url is None and kinds.base_url(spec.kind, None, settings(kinds, spec)) is None:
        yield "base_url", f"is needed: the kind {spec.kind} has none of its own"
    yield from credentials.problems(spec)


def settings(kinds: Kinds, spec: ProviderSpec) -> dict[str, str]:
    """The kind's own settings: those given, over the kind's defaults."""
    kind = kinds.rows.get(spec.kind)
    given = {name: getattr(spec, name) for name in SETTINGS}
    return {**(kind.defaults or {} if kind else {}), **{name: value for name, value in given.items() if value}}


def read(row: ProviderRow) -> ProviderSpec:
    """The Spec that a row stands for; a literal credential is shown as stored."""
    # A newer gateway on the same database may have written options that this one does not know.
    options = {name: value for name, value in row.options.items() if name in ProviderSpec.model_fields}
    return ProviderSpec.model_validate(
        {"kind": row.kind, "base_url": row.base_url, **credentials.shown(row), **options}
    )


def wire(row: ProviderRow, kinds: Kinds) -> resources.Provider:
    """The provider as the admin API shows it, with the base URL that applies."""
    spec = read(row)
    url = spec.base_url
    if spec.kind in kinds.rows:  # an older gateway may not know it
        url = kinds.base_url(spec.kind, spec.base_url, settings(kinds, spec))
    return resources.Provider.model_validate(
        {
            **row.model_dump(include={"id", "name", "version"}),
            "created_at": row.created_at / 1000,
            "updated_at": row.updated_at / 1000,
            "kind": row.kind,
            "base_url": url or "",
            "credential": spec.credential,
            "credentials": [{"id": one.id, "reference": spec.credential or one.mask} for one in credentials.held(row)],
            "options": {
                name: value
                for name, value in spec.model_dump(mode="json", exclude=_APART, exclude_none=True).items()
                if value != {}
            },
        }
    )


def _url_problem(url: str) -> str | None:
    example = "must be an address such as https://api.example.com/v1"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return example
    if not usable or re.search(r"[\s\x00-\x1f\x7f]", url):
        return example
    if "@" in parts.netloc:
        return "must not hold a user or password: give them as the credential"
    if "?" in url or "#" in url:
        return "must not hold a query or a fragment"
    return None


def _normal(context: Context, row: ProviderRow | None, spec: ProviderSpec) -> ProviderSpec:
    for name, wrong in problems(context.kinds, spec):
        raise CatalogError("invalid", wrong, field=name)
    changes = credentials.normal(context.vault, row, spec)
    if spec.base_url is not None:
        changes["base_url"] = spec.base_url.rstrip("/")
    return spec.model_copy(update=changes)


def _write(edit: Edit, row: ProviderRow, spec: ProviderSpec) -> None:
    row.kind, row.base_url = spec.kind, spec.base_url
    row.options = spec.model_dump(mode="json", exclude=_APART, exclude_defaults=True)
    credentials.write(edit.vault, row, spec)
    edit.session.add(row)


def _read(session: Session, row: ProviderRow) -> ProviderSpec:
    return read(row)


def _unlink(edit: Edit, row: ProviderRow) -> None:
    routes = edit.session.exec(select(RouteRow)).all()
    users = [route.name for route in routes if any(member["provider"] == row.name for member in route.members)]
    if users:
        raise CatalogError(
            "in-use", f"The provider '{row.name}' is a member of the routes {', '.join(users)}: take it out first."
        )
    prices = [price.name for price in edit.session.exec(select(PriceRow)) if price.spec.get("provider") == row.name]
    if prices:
        raise CatalogError(
            "in-use", f"The provider '{row.name}' has prices of its own: {', '.join(prices)}; delete them first."
        )
    if all(route.name != row.name for route in routes):
        check_name_unused(edit.session, "provider", row.name)


def _blank(id: str, name: str, now: int) -> ProviderRow:
    return ProviderRow(id=id, name=name, kind="", created_at=now, updated_at=now)


SHAPE: ObjectType[ProviderRow, ProviderSpec] = ObjectType(
    kind="provider",
    prefix="prov",
    row=ProviderRow,
    spec=ProviderSpec,
    check_name=check_url_name,
    blank=_blank,
    normal=_normal,
    read=_read,
    write=_write,
    unlink=_unlink,
)
