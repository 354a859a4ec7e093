"""What an operator may set of single sign-on: the table `[sso]` of `paig.toml`."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, JsonValue, model_validator

from paig_client.api.fields import SecretReference, Spec
from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import GrantSpec
from paig_client.api.vocabulary import Role, WhenTight


def is_encrypted(address: str) -> bool:
    """Whether what is sent to an address is read there alone."""
    return urlsplit(address).scheme == "https"


def is_local(address: str) -> bool:
    """Whether an address is of this machine itself."""
    host = urlsplit(address).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an address such as https://login.example.com")
    if not is_encrypted(value) and not is_local(value):
        raise ValueError("must begin with https://, for it decides who may do what")
    return value


def _origin(value: str) -> str:
    scheme, netloc, *rest = urlsplit(value.rstrip("/"))
    if any(rest) or "@" in netloc:
        raise ValueError("must be scheme and host alone, such as https://gateway.example")
    return f"{scheme}://{netloc.lower().removesuffix(':443' if scheme == 'https' else ':80')}"


Address = Annotated[str, AfterValidator(_address)]
Origin = Annotated[Address, AfterValidator(_origin)]


class GroupKeySpec(Spec):
    """The personal key that members of a group get."""

    project: str | None = None
    """The project that it belongs to."""
    limits: LimitsSpec = LimitsSpec()
    """The limits of each member, for all their keys together."""
    routes: list[str] | None = None
    models: list[str] | None = None
    when_tight: WhenTight | None = None


class SsoSpec(Spec):
    """Single sign-on, for administrators and for people's own keys; needs a restart to change."""

    issuer: Address | None = None
    """The identity provider, exactly as its tokens name it. Without it there is no single sign-on."""
    client_id: str | None = None
    """The gateway's client id at the provider."""
    client_secret: SecretReference | None = None
    """Left out for a public client, which PKCE alone protects."""
    groups: dict[str, Role | GrantSpec] = Field(default_factory=dict)
    """What members of a group may do: a role, or a role in a project."""
    groups_claim: str = "groups"
    """The claim that lists a person's groups."""
    scopes: list[str] = Field(default=["openid", "profile", "email", "groups"])
    """The scopes that are requested."""
    device_login: bool = True
    """Whether people may log in with a device code, as `paig login --sso` does."""
    session_hours: int = Field(default=12, ge=1, le=720)
    """How long a login lasts."""
    keys: dict[str, GroupKeySpec] = Field(default_factory=dict)
    """For each group the personal key that its members get; of several groups the first in the file counts."""
    key_hours: int = Field(default=8, ge=1, le=720)
    """How long a personal key lasts after a login or a renewal."""
    claude_settings: dict[str, JsonValue] = Field(default_factory=dict)
    """Managed settings of Claude Code, for all people who logged in with its `/login`."""
    public_url: Origin | None = None
    """The gateway's own address as browsers see it, where that is not the one that their requests name."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.issuer is not None and not self.client_id:
            raise ValueError("issuer needs client_id beside it")
        if self.issuer is not None and not (self.groups or self.keys):
            raise ValueError("issuer needs groups or keys beside it: without them a login gives nothing")
        if "openid" not in self.scopes:
            raise ValueError("scopes must hold openid")
        return self

    def grants(self, groups: list[str]) -> list[GrantSpec]:
        found = [self.groups[group] for group in groups if group in self.groups]
        return [GrantSpec(role=grant) if isinstance(grant, str) else grant for grant in found]

    def key(self, groups: list[str]) -> GroupKeySpec | None:
        """The key of the first group, in the file's order, that the person is in."""
        return next((spec for group, spec in self.keys.items() if group in groups), None)


class SsoError(Exception):
    """A login failed; the message says why, without a token or a secret."""


class ProviderAwayError(SsoError):
    """The identity provider does not answer, or not as it should."""
