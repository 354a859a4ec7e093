"""The identity provider: its addresses, its two login flows, and the claims of its tokens."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import httpx2

from paig_gateway.secrets.errors import SecretReferenceError
from paig_gateway.secrets.references import resolve
from paig_gateway.sso.keys import ALGORITHMS, KeySet
from paig_gateway.sso.settings import ProviderAwayError, SsoError, SsoSpec, is_encrypted, is_local

log = logging.getLogger(__name__)

Claims = Mapping[str, Any]

LEEWAY_SECONDS = 30
"""The tolerated difference between the provider's clock and ours."""
DISCOVERY_SECONDS = 3600.0
"""How long the provider's addresses are kept."""
TIMEOUT_SECONDS = 10.0
"""How long a step of a login may take, with all its requests to the provider."""
MAX_BYTES = 1_000_000
"""The most bytes of an answer of the provider."""
MAX_TEXT = 255
"""The most characters of a subject (OpenID Connect Core, 2), and of the provider's texts that are shown."""
MAX_DEVICE_SECONDS = 86_400
"""The longest that a person may take for a device login, and the longest pause between two polls."""
MAX_STEPS = 64
"""The most steps at the same time: a login needs no token, so it must not exhaust the gateway."""
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
PENDING = ("authorization_pending", "slow_down")


@dataclass(frozen=True, slots=True)
class Person:
    """A person that the provider has authenticated.

    Attributes:
        subject: Issuer and subject, which identify the person permanently.
        name: For display; it may change, and proves nothing.
        groups: The groups that the provider states.
        refresh_token: The provider's refresh token, or None; a secret.
    """

    subject: str
    name: str
    groups: list[str]
    refresh_token: str | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class DeviceLogin:
    """A login that a person completes on any device.

    Attributes:
        device_code: The secret by which the login is polled.
        user_code: What the person types.
        verification_uri: The page where they enter it.
        verification_uri_complete: The same with the code, where the provider has it.
        expires_in: Seconds until it expires.
        interval: Seconds to wait between two polls.
    """

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_in: int
    interval: int


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A login that is not completed yet.

    Attributes:
        slow_down: Whether the provider requires slower polling.
    """

    slow_down: bool


class IdentityProvider:
    """One provider. All methods are for one event loop."""

    def __init__(
        self,
        spec: SsoSpec,
        client_secret: str | None,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        """Connect to nothing yet.

        Args:
            spec: With `issuer` and `client_id`.
            client_secret: None for a public client.
            clock: Monotonic seconds.
            timeout: Seconds that a step may take.
        """
        if spec.issuer is None or spec.client_id is None:
            raise ValueError("single sign-on is not set up")
        self.spec = spec
        self.issuer: str = spec.issuer
        self._client_id: str = spec.client_id
        self._secret = client_secret
        self._now = now
        self._clock = clock
        self._timeout = timeout
        self._steps = 0
        self._discovered: Claims = {}
        self._discovered_at = 0.0
        self._keys = KeySet(self._fetch_keys, clock)
        # Made once: it reads hundreds of certificates, which is slow.
        self._tls = httpx2.create_ssl_context()

    async def authorization_url(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """The address to send a browser to; it comes back to `redirect_uri` with a code.

        Raises:
            ProviderAwayError: It does not answer.
        """
        challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code", "client_id": self._client_id, "redirect_uri": redirect_uri,
            "scope": " ".join(self.spec.scopes), "state": state, "nonce": nonce,
            "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        async with self._step():
            endpoint = await self._endpoint("authorization_endpoint")
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"

    async def exchange(self, code: str, redirect_uri: str, nonce: str, verifier: str) -> Person:
        """Complete a browser login; returns the person.

        Raises:
            SsoError: The login failed.
        """
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier
        }  # fmt: skip
        async with self._step():
            status, answer = await self._post("token_endpoint", form)
            if status != 200:
                raise _refusal(status, answer)
            return await self._person(answer, nonce, needs_nonce=True)

    async def start_device(self, nonce: str) -> DeviceLogin:
        """Begin a login that is completed elsewhere.

        Raises:
            SsoError: The provider refuses.
        """
        scope = " ".join(self.spec.scopes)
        async with self._step():
            status, answer = await self._post("device_authorization_endpoint", {"scope": scope, "nonce": nonce})
        if status != 200:
            raise _refusal(status, answer)
        try:
            complete = answer.get("verification_uri_complete")
            return DeviceLogin(
                device_code=str(answer["device_code"]),
                user_code=str(answer["user_code"]),
                verification_uri=str(answer["verification_uri"]),
                verification_uri_complete=str(complete) if complete else None,
                expires_in=min(int(answer["expires_in"]), MAX_DEVICE_SECONDS),
                interval=min(max(1, int(answer.get("interval", 5))), MAX_DEVICE_SECONDS),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ProviderAwayError("The identity provider's answer to the device login is not usable.") from error

    async def finish_device(self, device_code: str, nonce: str) -> Person | PendingLogin:
        """The person who has completed the device login, or None.

        Raises:
            SsoError: It was refused, or has expired.
        """
        async with self._step():
            form = {"grant_type": DEVICE_GRANT, "device_code": device_code}
            status, answer = await self._post("token_endpoint", form)
            if status == 200:
                # Providers need not repeat a nonce here; the device code itself binds the answer to the request.
                return await self._person(answer, nonce, needs_nonce=False)
        if answer.get("error") in PENDING:
            return PendingLogin(slow_down=answer["error"] == "slow_down")
        raise _refusal(status, answer)

    async def refresh(self, refresh_token: str, subject: str, nonce: str) -> Person:
        """Refresh a person's identity at the provider.

        Args:
            refresh_token: As the last answer gave it.
            subject: The person that it must be.
            nonce: That of the login.

        Raises:
            SsoError: The provider does not confirm the person any more.
        """
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        async with self._step():
            status, answer = await self._post("token_endpoint", form)
            if status != 200:
                raise _refusal(status, answer)
            person = await self._person(answer, nonce, needs_nonce=False)
        if person.subject != subject:
            raise SsoError("The identity provider's answer is about another person: log in again.")
        return person if person.refresh_token is not None else replace(person, refresh_token=refresh_token)

    @asynccontextmanager
    async def _step(self) -> AsyncIterator[None]:
        """Limits how long a step of a login may take.

        Raises:
            ProviderAwayError: It takes too long, or too many are under way.
        """
        if self._steps >= MAX_STEPS:
            raise ProviderAwayError("Too many logins are under way at once: try again.")
        self._steps += 1
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError:
            log.warning("The identity provider %s took too long", self.issuer)
            raise ProviderAwayError("The identity provider takes too long to answer.") from None
        finally:
            self._steps -= 1

    async def _person(self, answer: Claims, nonce: str, *, needs_nonce: bool) -> Person:
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise SsoError("The identity provider answered without an ID token: let the gateway ask for openid.")
        claims = await self._claims(token)
        given = claims.get("nonce")
        if (needs_nonce or given is not None) and given != nonce:
            raise SsoError("The login's token belongs to another login (its nonce differs): begin again.")
        groups = claims.get(self.spec.groups_claim)
        if groups is None:
            groups = (await self._userinfo(answer, claims["sub"])).get(self.spec.groups_claim)
        if isinstance(groups, str):
            groups = [groups]
        names = [claims.get(name) for name in ("preferred_username", "name", "sub")]
        if claims.get("email_verified") in (True, "true"):
            names.insert(0, claims.get("email"))
        return Person(
            subject=f"{self.issuer} {claims['sub']}",
            name=next(name for name in names if isinstance(name, str) and name.strip()).strip()[:MAX_TEXT],
            groups=[group for group in groups if isinstance(group, str)] if isinstance(groups, Sequence) else [],
            refresh_token=refresh if isinstance(refresh := answer.get("refresh_token"), str) and refresh else None,
        )

    async def _claims(self, token: str) -> Claims:
        """Check every part of an ID token; returns its claims."""
        import jwt  # late, as in `KeySet.get`

        try:
            header = jwt.get_unverified_header(token)
            algorithm, kid = str(header.get("alg")), header.get("kid")
            if algorithm not in ALGORITHMS:
                raise SsoError(f"The login's token is signed with {algorithm}, which is not taken.")
            key = await self._keys.get(kid if isinstance(kid, str) else None, algorithm)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._client_id,
                issuer=self.issuer,
                # Times are checked below, by the injected clock.
                options={
                    "require": ["iss", "sub", "aud", "exp", "iat"],
                    "verify_exp": False, "verify_iat": False, "verify_nbf": False,
                },
            )  # fmt: skip
        except jwt.PyJWTError as error:
            raise SsoError(f"The login's token is not valid: {error}.") from error
        now = self._now().timestamp()
        times = {name: claims.get(name, now) for name in ("exp", "iat", "nbf")}
        if not all(_is_number(at) for at in times.values()):
            raise SsoError("The login's token is not valid: its times are no numbers.")
        if times["exp"] <= now - LEEWAY_SECONDS:
            raise SsoError("The login's token has expired: begin again.")
        if max(times["iat"], times["nbf"]) > now + LEEWAY_SECONDS:
            raise SsoError("The login's token is of the future: compare the clocks of provider and gateway.")
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if (several or "azp" in claims) and claims.get("azp") != self._client_id:
            raise SsoError("The login's token was made for another client (azp).")
        subject: str = claims["sub"]
        if not (subject.strip() and subject.isprintable() and len(subject) <= MAX_TEXT):
            raise SsoError(f"The login's token is not valid: its sub must be of 1 to {MAX_TEXT} printable characters.")
        return claims

    async def _userinfo(self, answer: Claims, subject: str) -> Claims:
        """The provider's claims in addition to the ID token."""
        access = answer.get("access_token")
        if not isinstance(access, str) or "userinfo_endpoint" not in await self._discover():
            return {}
        endpoint = await self._endpoint("userinfo_endpoint")
        status, found = await self._ask("GET", endpoint, headers={"authorization": f"Bearer {access}"})
        if status != 200 or found.get("sub") != subject:
            raise SsoError("The identity provider's userinfo is of another person than the login.")
        return found

    async def _discover(self) -> Claims:
        if not self._discovered or self._clock() - self._discovered_at > DISCOVERY_SECONDS:
            where = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
            status, found = await self._ask("GET", where)
            if status != 200:
                raise ProviderAwayError(f"The identity provider has no configuration at {where} (HTTP {status}).")
            if found.get("issuer") != self.issuer:
                raise ProviderAwayError(
                    f"What answers at {where} calls itself {found.get('issuer')!r}: check `issuer`."
                )
            self._discovered, self._discovered_at = found, self._clock()
        return self._discovered

    async def _endpoint(self, name: str) -> str:
        found = (await self._discover()).get(name)
        if not isinstance(found, str):
            raise ProviderAwayError(f"The identity provider has no {name}: it does not offer this way to log in.")
        # A provider with https must not direct the gateway to other servers on this machine.
        if not is_encrypted(found) and (is_encrypted(self.issuer) or not is_local(found)):
            raise ProviderAwayError(f"The identity provider's {name} is not encrypted.")
        return found

    async def _fetch_keys(self) -> Sequence[Claims]:
        status, found = await self._ask("GET", await self._endpoint("jwks_uri"))
        keys = found.get("keys")
        if status != 200 or not isinstance(keys, list):
            raise ProviderAwayError("The identity provider's keys cannot be read.")
        return [key for key in keys if isinstance(key, dict)]

    async def _post(self, endpoint: str, form: Mapping[str, str]) -> tuple[int, Claims]:
        """Send a request with the client's credentials."""
        fields = {**form, "client_id": self._client_id}
        methods = (await self._discover()).get("token_endpoint_auth_methods_supported")
        auth = None
        if self._secret is not None and (not isinstance(methods, list) or "client_secret_basic" in methods):
            del fields["client_id"]
            auth = (quote_plus(self._client_id), quote_plus(self._secret))  # RFC 6749, 2.3.1
        elif self._secret is not None:
            fields["client_secret"] = self._secret
        return await self._ask("POST", await self._endpoint(endpoint), data=fields, auth=auth)

    async def _ask(self, method: str, url: str, **rest: Any) -> tuple[int, Claims]:
        # Uncompressed, so that the bytes read are the bytes counted.
        plain = {"accept": "application/json", "accept-encoding": "identity", **rest.pop("headers", {})}
        client = httpx2.AsyncClient(timeout=self._timeout, trust_env=not is_local(url), verify=self._tls)
        try:
            async with client as http, http.stream(method, url, headers=plain, **rest) as answer:
                content = bytearray()
                async for chunk in answer.aiter_raw():
                    content += chunk
                    if len(content) > MAX_BYTES:
                        raise ProviderAwayError(f"What {urlsplit(url).netloc} answers is too large.")
                found = httpx2.Response(answer.status_code, content=bytes(content)).json() if content else {}
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, RecursionError) as error:
            log.warning("The identity provider failed at %s: %s", url, error)
            raise ProviderAwayError(
                f"The identity provider at {urlsplit(url).netloc} does not answer as it should."
            ) from error
        return answer.status_code, found if isinstance(found, dict) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _refusal(status: int, answer: Claims) -> SsoError:
    if status >= 500 or status == 429:
        return ProviderAwayError(f"The identity provider fails at present (HTTP {status}).")
    says = str(answer.get("error_description") or answer.get("error") or f"HTTP {status}")[:MAX_TEXT]
    return SsoError(f"The identity provider refused the login: {says}.")


def identity_provider(spec: SsoSpec, now: Callable[[], datetime]) -> tuple[IdentityProvider | None, str | None]:
    """The identity provider, and the client secret for it; None and None if single sign-on is not set up.

    Raises:
        SsoError: The secret cannot be read.
    """
    if spec.issuer is None:
        return None, None
    try:
        secret = resolve(spec.client_secret) if spec.client_secret is not None else None
    except SecretReferenceError as error:
        raise SsoError(f"[sso] client_secret: {error}") from None
    return IdentityProvider(spec, secret, now=now), secret
