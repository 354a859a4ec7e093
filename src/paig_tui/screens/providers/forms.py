"""The dialogs of providers."""

from __future__ import annotations

from paig_client.api.resources import Provider
from paig_client.api.specs import ProviderSpec
from paig_tui.screens.dialog import Dialog, Field
from paig_tui.screens.keys.forms import checked

REFERENCES = ("env:", "keyring:", "file:", "value:")


def reference(text: str, secret: str) -> str | None:
    """A credential: the reference, or the secret itself, which the gateway encrypts.

    Raises:
        ValueError: Both were given, or the reference is none.
    """
    if text and secret:
        raise ValueError("credential: give a reference or the key itself, not both")
    if secret:
        return f"value:{secret}"
    if text and not text.startswith(REFERENCES[:3]):
        raise ValueError("reference: write env:NAME, keyring:SERVICE/USER or file:PATH")
    return text or None


def fields() -> list[Field]:
    """What a credential is given by."""
    return [
        Field("secret", "Its key", hint="paste it; kept encrypted", secret=True),
        Field("reference", "… or where", hint="env:OPENAI_API_KEY, keyring:SERVICE/USER, file:PATH"),
    ]


class NewProvider(Dialog[tuple[str, ProviderSpec]]):
    """A new provider."""

    def __init__(self) -> None:
        own = [
            Field("kind", "Kind", hint="openai, anthropic, google, groq, bedrock, …"),
            Field("name", "Name", hint="the kind"),
            *fields(),
            Field("base_url", "Address", hint="the kind's own"),
        ]
        super().__init__("new provider", own, do="Add")

    def answer(self) -> tuple[str, ProviderSpec]:
        """The provider as it was written."""
        kind = self.value("kind")
        if not kind:
            raise ValueError("kind: such as openai")
        spec = {
            "kind": kind,
            "credential": reference(self.value("reference"), self.value("secret")),
            "base_url": self.value("base_url") or None,
        }
        given = {name: value for name, value in spec.items() if value is not None}
        return self.value("name") or kind, checked(ProviderSpec, given)


class Credential(Dialog[str]):
    """Another credential, in place of all that there are."""

    def __init__(self, provider: Provider) -> None:
        instead = " (all replaced by the one given here)" if len(provider.credentials) > 1 else ""
        super().__init__(f"credential of {provider.name}", fields(), intro=f"Now: {provider.references}{instead}")

    def answer(self) -> str:
        """The reference."""
        found = reference(self.value("reference"), self.value("secret"))
        if found is None:
            raise ValueError("credential: nothing was given")
        return found
