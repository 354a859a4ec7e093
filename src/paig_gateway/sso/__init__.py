"""Single sign-on by OpenID Connect.

A browser or a device code goes in; a verified identity and its groups come out. Tokens are checked for issuer,
audience, signature and time before anything in them is believed.
"""

from __future__ import annotations
