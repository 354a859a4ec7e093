"""`paig serve`, `paig demo` and `paig tui`: each imports its package only when it is run."""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import typer

from paig_client.cli.options import Profile, Url, admin_access, extra
from paig_client.cli.output import say

Level = Literal["debug", "info", "warning", "error"]
PROFILE = "profile "
"""The beginning of the source of an address that comes from a profile."""


def serve(
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", help="Where to listen. Default: 127.0.0.1.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Default: 8787.")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Serve https, with a local certificate authority.")] = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", exists=True, dir_okay=False, help="Apply this paig.toml first."),
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", min=1, help="Processes. Default: 1.")] = None,
    keep_drift: Annotated[
        bool, typer.Option("--keep-drift", help="Keep changes made by hand since the file was last applied.")
    ] = False,
    log_level: Annotated[
        Level | None, typer.Option("--log-level", help="Log from this level on. Default: warning.", show_default=False)
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="If it cannot start, show the whole error instead of one line.")
    ] = False,
) -> None:
    """Run the gateway."""
    gc.disable()  # collecting garbage during the imports takes a seventh of their time
    with extra("gateway"):
        from paig_gateway.server import serve
    gc.freeze()
    gc.enable()
    code = serve(
        host=host,
        port=port,
        tls=tls,
        config=config,
        workers=workers,
        keep_drift=keep_drift,
        log_level=log_level,
        verbose=verbose,
    )
    raise typer.Exit(code)


def demo(
    live: Annotated[
        bool, typer.Option("--live", help="Use the real provider whose key is in the environment.")
    ] = False,
) -> None:
    """Try it, with a simulated provider.

    Gateway and provider run in one process: calls, costs, and a cap that holds.
    """
    with extra("gateway,pydantic-ai,openai,anthropic"):
        from paig_gateway.demo import main

        for name in ("pydantic_ai", "openai", "anthropic"):
            import_module(name)  # pydantic-ai itself reports it only at the first call
    raise typer.Exit(main(live=live))


def tui(
    url: Url = None,
    profile: Profile = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Change nothing.")] = False,
    web: Annotated[bool, typer.Option("--web", help="Serve it to browsers, behind a link that works once.")] = False,
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", help="With --web: where to listen. Default: 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", metavar="PORT", min=0, max=65535, help="With --web. Default: 8788.")
    ] = None,
    tls: Annotated[
        bool, typer.Option("--tls", help="With --web: serve https, with the gateway's certificate authority.")
    ] = False,
    public_url: Annotated[
        str | None,
        typer.Option("--public-url", metavar="URL", help="With --web: the https address of a proxy in front."),
    ] = None,
) -> None:
    """Open the terminal UI."""
    if not web and (tls or (host, port, public_url) != (None, None, None)):
        raise typer.BadParameter("--host, --port, --tls and --public-url go with --web")
    if not web and not (sys.stdin.isatty() and sys.stdout.isatty()):
        say("paig: `paig tui` needs a terminal. `paig tui --web` serves it to browsers; `paig tail` needs neither.")
        raise typer.Exit(1)
    with extra("tui"):
        from paig_tui.app import main
    access = admin_access(url, profile)
    root, token = access.root.value, access.secret.value
    name = access.root.source.removeprefix(PROFILE) if access.root.source.startswith(PROFILE) else ""
    if not web:
        raise typer.Exit(main(url=root, token=token, profile=name, read_only=read_only))
    with extra("tui"):
        from paig_tui.web import serve as server
        from paig_tui.web.child import Opening
    host = host or server.DEFAULT_HOST
    raise typer.Exit(
        server.main(
            Opening(root, token, name, read_only),
            host=host,
            port=server.DEFAULT_PORT if port is None else port,
            public_url=public_url,
            tls=server.Tls(*_certificate(host)) if tls else None,
        )
    )


def _certificate(host: str) -> tuple[Path, Path]:
    from paig_client.profiles import home

    with extra("gateway"):
        from paig_gateway.secrets.local_ca import local_certificate
    made = local_certificate(home(), host, name="web")
    return made.certificate, made.key
