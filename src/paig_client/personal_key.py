"""The personal key of a login by single sign-on: kept where other keys are, and renewed before it is used.

Beside the key, under the kind `login`, the handle is kept that renews it; the gateway alone can read what is in it.
"""

from __future__ import annotations

from datetime import datetime

from paig_client import profiles
from paig_client.api.resources import DeviceState, PersonalKeyState
from paig_client.api.vocabulary import SecretStore
from paig_client.credentials import Access, CredentialError


def keep(root: str, state: DeviceState, place: SecretStore) -> None:
    """Store what a login gave: the key, the handle that renews it, and the admin token of a person with a role.

    Raises:
        ProfilesError: The file cannot be used.
        keychain.KeyringError: The keyring is to keep it, and cannot.
    """
    if state.token is not None:
        profiles.put(root, "admin", state.token, place)
    if state.key is not None and state.handle is not None:
        profiles.put(root, "key", state.key, place)
        profiles.put(root, "login", state.handle, place)


def renew(access: Access) -> datetime | None:
    """Let the stored personal key last longer, if it is the one that `access` found.

    Returns:
        When it ends; None if the key is not a personal key.

    Raises:
        CredentialError: The login has ended; the message says how to begin another one.
        AdminError: The gateway does not answer.
    """
    from paig_client.admin import AdminClient, Refused
    from paig_client.tls import verification

    root = access.root.value
    stored = profiles.get(root, "key")
    found = profiles.get(root, "login")
    if found is None or stored is None or access.secret.value != stored[0]:
        return None
    with AdminClient(root, token="", verify=verification(root)) as admin:
        try:
            state: PersonalKeyState = admin.renew_key(found[0])
        except Refused as error:
            if error.problem.code == "login-refused":
                raise CredentialError(str(error)) from error
            raise
    profiles.put(root, "login", state.handle, profiles.read().secrets[root]["login"].place)
    return state.expires_at


def end(root: str) -> None:
    """End the stored personal key, if there is one, at the gateway too.

    Raises:
        AdminError: The gateway does not answer.
    """
    from paig_client.admin import AdminClient, Refused
    from paig_client.tls import verification

    if (found := profiles.get(root, "login")) is None:
        return
    with AdminClient(root, token="", verify=verification(root)) as admin:
        try:
            admin.end_key(found[0])
        except Refused as error:
            if error.problem.code != "login-refused":  # otherwise it has ended already
                raise
