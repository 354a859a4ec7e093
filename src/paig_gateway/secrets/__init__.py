"""The secrets of the gateway, and the credentials of its providers.

`home` keeps the secret key and the admin token, `vault` encrypts credentials at rest, `references` resolves `env:`,
`file:` and `keyring:` references, `keyring` asks the operating system within a time limit, `local_ca` makes
certificates for `--tls`. No secret value ever enters a log, an error or a process list.
"""

from __future__ import annotations
