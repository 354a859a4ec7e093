"""The command `paig`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

OK, FAILED, USAGE, UNREACHABLE, NOT_AUTHORISED = 0, 1, 2, 3, 4
"""Exit codes: done; refused or failed; wrongly called; no gateway answers; no token, or one that may not do this."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; a failure is one line on standard error, never a traceback."""
    from paig_client.cli.app import app

    try:
        app(args=arguments, prog_name="paig")
    except BrokenPipeError:  # the reader of our output has enough
        sys.stderr.close()
        sys.exit(OK)
    except Exception as error:
        if (failure := _failure(error)) is None:
            raise
        _exit(*failure)


def _failure(error: Exception) -> tuple[int, str] | None:
    """The exit code and the line for a failure that is expected; what they are told by is imported only then."""
    from paig_client.admin import AdminError, GatewayUnreachable, NotAuthorised
    from paig_client.credentials import CredentialError
    from paig_client.keychain import KeyringTrouble
    from paig_client.store import StoreTrouble

    match error:
        case GatewayUnreachable():
            return UNREACHABLE, f"{error}. Is it running? `paig serve` starts one; --url says where it is."
        case CredentialError() | NotAuthorised():
            return NOT_AUTHORISED, str(error)
        case AdminError() | KeyringTrouble() | StoreTrouble():
            return FAILED, str(error)
        case _:
            return None


def _exit(code: int, message: str) -> None:
    from paig_client.cli.output import plain

    print(f"paig: {plain(message)}", file=sys.stderr)
    sys.exit(code)
