"""Roles and what each may do: one table. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import get_args

from paig_client.api.vocabulary import Permission, Role

_ALL: tuple[Role, ...] = ("owner", "admin", "editor", "viewer")
_EDIT: tuple[Role, ...] = ("owner", "admin", "editor")
_RULE: tuple[Role, ...] = ("owner", "admin")

HOLDERS: Mapping[Permission, tuple[Role, ...]] = {
    "access:own": _ALL,
    "access:owners": ("owner",),
    "access:read": _RULE,
    "access:write": _RULE,
    "audit:read": _ALL,
    "catalog:read": _ALL,
    "config:read": _ALL,
    "config:write": _RULE,
    "gateway:read": _ALL,
    "keys:write": _EDIT,
    "ledger:read": _ALL,
    "ledger:write": _RULE,
    "limits:write": _RULE,
    "organisation:write": _RULE,
    "owners:write": _EDIT,
    # An address and a reference to a credential, set together, can send any secret of the gateway anywhere.
    "routing:write": _RULE,
}
"""Each permission and the roles that hold it."""

ROLES: Mapping[Role, frozenset[Permission]] = {
    role: frozenset(permission for permission, holders in HOLDERS.items() if role in holders) for role in _ALL
}
EVERYTHING: frozenset[Permission] = frozenset(get_args(Permission))


@dataclass(frozen=True, slots=True)
class AdminIdentity:
    """The admin that sends a request.

    Attributes:
        id: The admin's id; empty for the bearer of the gateway's own token.
        name: For the audit log.
        everywhere: Permissions in the whole gateway.
        projects: Permissions in single projects, by the project's id.
        names: Those projects' names, by id.
        scopes: What their token is confined to; None for no such bounds.
        expires_at: When their token ends.
        token_id: Which token it is; empty for the gateway's own.
        session: Whether a login made it.
        browser: Whether it was sent in a browser's cookie.
    """

    id: str
    name: str
    everywhere: frozenset[Permission]
    projects: Mapping[str, frozenset[Permission]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    scopes: frozenset[str] | None = None
    expires_at: datetime | None = None
    token_id: str = ""
    session: bool = False
    browser: bool = False

    def may(self, permission: Permission) -> bool:
        """Whether the permission holds in the whole gateway."""
        return permission in self.everywhere

    def may_somewhere(self, permission: Permission) -> bool:
        """Whether the permission holds in the whole gateway or in some project."""
        return self.may(permission) or any(permission in held for held in self.projects.values())

    def within(self, permission: Permission) -> frozenset[str] | None:
        """The ids of the projects that the permission holds in; None for the whole gateway."""
        if self.may(permission):
            return None
        return frozenset(project for project, held in self.projects.items() if permission in held)

    def project_names(self, permission: Permission) -> frozenset[str] | None:
        """The names of those projects; None for the whole gateway."""
        within = self.within(permission)
        return None if within is None else frozenset(self.names[project] for project in within)

    def may_all_of(self, other: AdminIdentity) -> bool:
        """Whether this identity has every permission of the other one."""
        inside = (held <= self.everywhere | self.projects.get(id, frozenset()) for id, held in other.projects.items())
        return other.everywhere <= self.everywhere and all(inside)


def effective_permissions(
    grants: Iterable[tuple[Role, str | None]], scopes: frozenset[str] | None = None
) -> tuple[frozenset[Permission], dict[str, frozenset[Permission]]]:
    """The permissions from grants, everywhere and by project; a token may be limited to some of them.

    Args:
        grants: Roles, each with the id of the project that it holds in, None for everywhere.
        scopes: The permissions that are left; None leaves all.
    """
    everywhere: frozenset[Permission] = frozenset()
    projects: dict[str, frozenset[Permission]] = {}
    for role, project in grants:
        allowed = ROLES[role] if scopes is None else ROLES[role] & scopes
        if project is None:
            everywhere |= allowed
        else:
            projects[project] = projects.get(project, frozenset()) | allowed
    return everywhere, projects
