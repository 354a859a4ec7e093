"""Single sign-on by OpenID Connect.

Enters: a browser or a device code, and the answers of the identity provider. Leaves: a verified person with groups, or
an error that says which setting to change.

`settings` is the section `[sso]`, `provider` speaks to the identity provider, `keys` reads its signing keys. Issuer,
audience, signature and time of a token are checked before anything in it is used. Nothing a provider sends is
unbounded.
"""

from __future__ import annotations
