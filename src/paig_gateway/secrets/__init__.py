"""Secrets: where they are kept, how they are sealed, and which of them a reference may name.

In come the environment, the home folder and the OS keyring (`home`, `keyring`), and references such as `env:NAME`
(`references`). Out go the gateway's own secret key and admin token, sealed values (`vault`), the secrets that
references name, and the certificates of `paig serve --tls` (`local_ca`).

What must never be true: a secret in a log, an error or a `repr`; a secret of the gateway itself handed out as a
provider's credential; a sealed value that opens for another object or another address than it was sealed for.
"""
