"""Single sign-on by OpenID Connect.

Enters: a browser or a device code, and the answers of the identity provider. Leaves: a verified person with groups, or
an error that says which setting to change.

`settings` is the section `[sso]`, `provider` speaks to the identity provider, `keys` reads its signing keys.

Never true: something in a token is used before issuer, audience, signature and time are checked; a name, which proves
nothing, identifies a person; an answer of the provider is read without a bound.
"""

from __future__ import annotations
