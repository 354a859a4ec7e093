"""Providers in the catalogue. A literal credential is sealed; a reference is kept as written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from sqlmodel import select

from paig_client.api import resources
from paig_client.api.specs import ProviderSpec
from paig_gateway.catalog import credentials
from paig_gateway.catalog.base import CatalogError, Edit, Secrets, check_url_name, suggestion
from paig_gateway.catalog.objects import ObjectType, spec_of
from paig_gateway.catalog.references import check_name_unused, check_serves_no_model, check_unlimited
from paig_gateway.database.tables import PriceRow, ProviderRow, RouteRow
from paig_gateway.providers.kinds import KINDS
from paig_gateway.providers.kinds import base_url as completed_url
from paig_gateway.secrets.addresses import is_metadata_host
from paig_gateway.secrets.errors import SecretReferenceError
from paig_gateway.secrets.references import References

SETTINGS = ("project", "location", "token_url", "storage_url", "region", "workspace", "api_version")
"""The fields of a ProviderSpec that only some kinds take."""

_APART = {"kind", "base_url", "credential", "credentials"}


def problems(spec: ProviderSpec, references: References | None = None) -> Iterator[tuple[str, str]]:
    """The errors in a provider: (field, message).

    Args:
        references: The references that it may name; None does not check them.
    """
    kind = KINDS.get(spec.kind)
    if kind is None:
        close = suggestion(spec.kind, KINDS)
        yield "kind", f"is not a known provider kind{close or '; known are ' + ', '.join(sorted(KINDS))}"
    for name in ("base_url", "token_url", "storage_url"):
        url = getattr(spec, name)
        if url is not None and (wrong := _url_problem(url, references)):
            yield name, wrong
    proxy = spec.upstream_proxy or ""
    if references is not None and is_metadata_host(urlsplit(proxy if "://" in proxy else f"//{proxy}").hostname or ""):
        yield "upstream_proxy", "must not be a link-local or metadata address"
    for name in SETTINGS:
        value = getattr(spec, name)
        if value is None:
            continue
        if kind is not None and name not in kind.settings:
            takes = f"it takes {', '.join(kind.settings)}" if kind.settings else "it takes no settings of its own"
            yield name, f"is not a setting of the kind {spec.kind}: {takes}"
        elif not name.endswith("_url") and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]*", value):
            yield name, "must hold only letters, digits, '.', '_', ':' and '-'"
    if kind is not None and spec.base_url is None and base_url(spec) is None:
        yield "base_url", f"is needed: the kind {spec.kind} has no address of its own"
    yield from credentials.problems(spec, references)


def settings(spec: ProviderSpec) -> dict[str, str]:
    """The kind's own settings: those given, over the kind's defaults."""
    kind = KINDS.get(spec.kind)
    given = {name: getattr(spec, name) for name in SETTINGS}
    return {**(kind.defaults or {} if kind else {}), **{name: value for name, value in given.items() if value}}


def base_url(spec: ProviderSpec) -> str | None:
    """The provider's address: the given one, completed, or the kind's own; None if there is none."""
    kind = KINDS.get(spec.kind)
    return completed_url(kind, spec.base_url, settings(spec)) if kind else spec.base_url


def read(row: ProviderRow) -> ProviderSpec:
    """The Spec of a row; a literal credential is shown as stored."""
    return spec_of(PROVIDERS, row.spec)


def _shown(row: ProviderRow, spec: ProviderSpec, now: int) -> Mapping[str, Any]:
    options = spec.model_dump(mode="json", exclude=_APART, exclude_none=True)
    return {
        "base_url": base_url(spec) or "",
        "credentials": [
            {"id": one.id, "reference": credentials.LOST_MASK if one.is_lost else spec.credential or one.mask}
            for one in credentials.stored(row)
        ],
        "options": {name: value for name, value in options.items() if value != {}},
    }


def _url_problem(url: str, references: References | None) -> str | None:
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
    try:
        if references is not None:
            references.check_upstream(url)
    except SecretReferenceError as error:
        return str(error)
    return None


def _normal(secrets: Secrets, row: ProviderRow | None, spec: ProviderSpec) -> ProviderSpec:
    for name, wrong in problems(spec, secrets.references):
        raise CatalogError("invalid", wrong, field=name)
    changes = credentials.normal(secrets, row, spec)
    if spec.base_url is not None:
        changes["base_url"] = spec.base_url.rstrip("/")
    return spec.model_copy(update=changes)


def _unlink(edit: Edit, row: ProviderRow) -> None:
    routes = edit.session.exec(select(RouteRow)).all()
    users = [
        route.name
        for route in routes
        if any(member["provider"] == row.name for member in route.spec.get("members", ()))
    ]
    if users:
        raise CatalogError(
            "in-use", f"The provider '{row.name}' is a member of the routes {', '.join(users)}: remove it there first."
        )
    prices = [price.name for price in edit.session.exec(select(PriceRow)) if price.spec.get("provider") == row.name]
    if prices:
        raise CatalogError(
            "in-use", f"The provider '{row.name}' has its own prices: {', '.join(prices)}; delete them first."
        )
    check_unlimited(edit.session, "provider", row.name)
    if all(route.name != row.name for route in routes):
        check_name_unused(edit.session, "provider", row.name)
        check_unlimited(edit.session, "route", row.name)
        check_serves_no_model(edit.session, "provider", row.name)


PROVIDERS: ObjectType[ProviderRow, ProviderSpec, resources.Provider] = ObjectType(
    kind="provider",
    prefix="prov",
    row=ProviderRow,
    spec=ProviderSpec,
    resource=resources.Provider,
    check_name=check_url_name,
    normal=_normal,
    store=lambda edit, row, spec: credentials.store(edit.secrets, row, spec),
    unlink=_unlink,
    shown=_shown,
)
