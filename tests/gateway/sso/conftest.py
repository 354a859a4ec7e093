"""A real identity provider, started by the tests: oidc-provider, from npm, in a folder under .cache."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

HERE = Path(__file__).parent / "identity_provider"
CACHE = Path(__file__).parents[3] / ".cache"
GROUPS = {"ada": ["paig-admins", "staff"], "bob": ["team-research"], "eve": ["staff"]}
CLIENT_ID, CLIENT_SECRET = "paig", "a secret: of/the tests+"


def new_key(kid: str) -> dict[str, Any]:
    """A private RSA key as JSON."""
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return {**jwt.algorithms.RSAAlgorithm.to_jwk(made, as_dict=True), "kid": kid, "use": "sig", "alg": "RS256"}


@pytest.fixture(scope="session")
def node() -> Path:
    """The folder in which the identity provider is installed."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("SINGLE SIGN-ON IS NOT TESTED AGAINST A REAL IDENTITY PROVIDER: there is no Node.js here")
    return installed()


def installed() -> Path:
    """Install the identity provider, unless it is there; where it is."""
    made_from = b"".join(file.read_bytes() for file in sorted(HERE.iterdir()))
    folder = CACHE / f"identity-provider-{sha256(made_from).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)  # the tests run in several processes
        if not (folder / "installed").exists():
            shutil.copytree(HERE, folder, dirs_exist_ok=True)
            install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
            done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, done.stderr
            (folder / "groups.json").write_text(json.dumps(GROUPS), "utf-8")
            (folder / "installed").touch()
    return folder


@contextmanager
def running_provider(
    node: Path,
    keys: Sequence[Mapping[str, Any]],
    *,
    port: int = 0,
    only_userinfo: bool = False,
    groups: Path | None = None,
    back: str = "https://gateway.example/admin/sso/callback",
) -> Iterator[str]:
    """An identity provider that knows the gateway; yields its issuer.

    Args:
        node: Where it is installed.
        keys: What it signs with.
        port: Where it listens; a free port by default.
        only_userinfo: Whether it tells of groups by userinfo alone.
        groups: A file with everybody's groups, read at each question; `GROUPS` by default.
        back: Where a login may lead back to, besides this machine.
    """
    client = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "application_type": "native",  # may come back to any port of this machine
        "redirect_uris": ["http://127.0.0.1/admin/sso/callback", back],
        "grant_types": ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
        "scope": "openid profile email groups offline_access",
    }
    settings = {
        "clients": [client],
        "keys": list(keys),
        "groups": str(groups or node / "groups.json"),
        "port": port,
        "only_userinfo": only_userinfo,
    }
    with subprocess.Popen(
        ["node", "server.mjs"], cwd=node, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        late = threading.Timer(30, process.kill)
        late.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            print(json.dumps(settings), file=process.stdin, flush=True)
            issuer = process.stdout.readline().strip()
            assert issuer.startswith("http://"), "the identity provider did not start"
            late.cancel()
            yield issuer
        finally:
            late.cancel()
            process.kill()
