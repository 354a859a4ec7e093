"""The command `paig`: options in, text or JSON out, an exit code that a script can use.

`app` names the commands; `kinds` has one row for each kind of object, from which `resources` makes its commands and
`spec_options` their options; `reports`, `requests`, `limits` and `audit` read; `session` logs in; `programs` starts
other programs with the gateway's environment. Modules of commands are imported when a command is used, and the gateway
and the terminal UI only inside functions.

Never true: `paig --help` loads either of them; a secret is taken from the command line's arguments, or printed twice.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper

OK, FAILED, USAGE, UNREACHABLE, NOT_AUTHORISED, INTERRUPTED = 0, 1, 2, 3, 4, 130
"""Exit codes: done; refused or failed; wrongly called; no gateway answers; no token, or one that may not do this;
stopped with Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; a failure is one line on standard error, never a traceback."""
    code: str | int | None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console or pipe of another encoding has no ● or …
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of our output has closed it
        code = OK
        _discard_output()
    except Exception as error:
        if (failure := _failure(error)) is None:
            raise
        code, message = failure
        if isinstance(error, OSError):
            _discard_output()
        _print_error(message)
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> str | int | None:
    """Run a command; returns its exit code."""
    from paig_client.cli.app import app

    try:
        app(args=arguments, prog_name="paig")
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # Typer treats it as a failure
            raise ended.__context__ from None
        return ended.code
    return OK


def _discard_output() -> None:
    """Discard the rest of standard output; otherwise Python reports an error at its end."""
    with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _failure(error: Exception) -> tuple[int, str] | None:
    """The exit code and the message of an expected failure; the exception types are imported only then."""
    from paig_client.admin import AdminError, GatewayUnreachable, NotAuthorised, NotTheAdminApi
    from paig_client.credentials import AddressError, CredentialError
    from paig_client.keychain import KeyringError
    from paig_client.profiles import ProfilesError

    match error:
        case GatewayUnreachable():
            return UNREACHABLE, f"{error}. Is it running? `paig serve` starts one; --url says where it is."
        case NotTheAdminApi():
            return UNREACHABLE, f"{error}. --url says where the gateway is; `paig status` where that comes from."
        case AddressError():
            return USAGE, str(error)
        case CredentialError() | NotAuthorised():
            return NOT_AUTHORISED, str(error)
        case AdminError() | KeyringError() | ProfilesError():
            return FAILED, str(error)
        case OSError():
            return FAILED, f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
        case _:
            return None


def _print_error(message: str) -> None:
    from paig_client.cli.output import plain

    print(f"paig: {plain(message)}", file=sys.stderr)
