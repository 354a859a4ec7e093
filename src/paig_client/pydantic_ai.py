"""pydantic-ai through the gateway: `gateway/<api_format>:<model>` for everything that the gateway serves.

pydantic-ai itself knows `gateway/openai`, `-chat`, `-responses`, `anthropic`, `google`, `google-cloud`, `groq` and
`bedrock`, from two environment variables. With `register()`, `PaigGateway` or `gateway_model` it also knows older
spellings, the other providers, and routes by their names; keys come from the keyring too, tags and budgets travel
along, and Bedrock works over http.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio.to_thread
from pydantic_ai.exceptions import ModelAPIError, UserError
from pydantic_ai.models import Model, infer_model
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.providers import Provider, gateway

from paig_client import attribution, charges, credentials, errors, providers
from paig_client.sdks import add_hooks

if TYPE_CHECKING:
    from pydantic_ai import RunContext
    from pydantic_ai.capabilities import ResolveModelId

PREFIX = "gateway/"


def gateway_provider(
    upstream_provider: str,
    /,
    *,
    route: str | None = None,
    api_key: str | None = None,
    base_url: str | None = None,
    profile: str | None = None,
    http_client: Any | None = None,
) -> Provider[Any]:
    """A pydantic-ai provider whose requests go through the gateway; fit for `infer_model(…, provider_factory=…)`.

    Args:
        upstream_provider: The API format, with or without `gateway/`, such as `openai`, `anthropic`, `google-vertex` or
            `mistral`; or the name of any other route, which is then spoken to as OpenAI chat completions.
        route: The gateway's route; by default the one of that name.
        api_key: The gateway key; by default from the environment, the keyring or the file.
        base_url: The gateway's address; by default from the environment or a profile.
        profile: A profile of `paig login`.
        http_client: An httpx client to send through, where the format's SDK takes one.

    Raises:
        UserError: There is no key, or the format cannot go through a gateway.
    """
    name = upstream_provider.removeprefix(PREFIX)
    try:
        access = credentials.resolve(api_key=api_key, base_url=base_url, profile=profile)
    except credentials.CredentialError as error:
        raise UserError(str(error)) from error
    target = f"{access.base_url}/{route or providers.route(name)}"
    provider = providers.build(name, target, access.secret.value, http_client)
    _adopt(provider, charges.GatewayAccess.of(target, access.secret.value), http_client)
    return provider


def gateway_model(
    model: str,
    *,
    route: str | None = None,
    api_key: str | None = None,
    base_url: str | None = None,
    profile: str | None = None,
    http_client: Any | None = None,
) -> Model:
    """A pydantic-ai model whose requests go through the gateway, without any global state.

    Refusals of the gateway's are raised as `PaigError`s, such as `LimitExceeded`, that are also the exceptions which
    pydantic-ai would raise.

    Args:
        model: `<api_format>:<model>`, with or without `gateway/` before it, such as `openai:gpt-5`.
        route: As for `gateway_provider`, and so the others.
        api_key: The gateway key.
        base_url: The gateway's address.
        profile: A profile of `paig login`.
        http_client: An httpx client to send through.

    Raises:
        UserError: There is no key, or the model is not named so, or cannot go through a gateway.
    """
    name, colon, model_name = model.removeprefix(PREFIX).partition(":")
    if not colon:
        raise UserError(f"name the model like 'openai:gpt-5', not {model!r}")
    provider = gateway_provider(
        name, route=route, api_key=api_key, base_url=base_url, profile=profile, http_client=http_client
    )
    return GatewayModel(infer_model(f"{providers.kind(name)}:{model_name}", provider_factory=lambda _: provider))


class GatewayModel(WrapperModel):
    """A model that raises what the gateway refused as the gateway's typed errors."""

    async def request(self, *args: Any, **kwargs: Any) -> Any:
        """As the model that is wrapped."""
        with _typed_refusals():
            return await super().request(*args, **kwargs)

    async def count_tokens(self, *args: Any, **kwargs: Any) -> Any:
        """As the model that is wrapped."""
        with _typed_refusals():
            return await super().count_tokens(*args, **kwargs)

    @asynccontextmanager
    async def request_stream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """As the model that is wrapped."""
        with _typed_refusals():
            async with super().request_stream(*args, **kwargs) as stream:
                yield stream


@contextmanager
def _typed_refusals() -> Iterator[None]:
    try:
        yield
    except ModelAPIError as raised:
        error = errors.from_exception(raised)
        if error is None or isinstance(raised, errors.PaigError):
            raise
        raise _refusal(error, raised) from raised


def _refusal(error: errors.PaigError, raised: ModelAPIError) -> errors.PaigError:
    """The gateway's error that is also what pydantic-ai raised, so that programs which handle that go on to do so."""
    kind, base = type(error), type(raised)

    def reduce(_: object) -> tuple[Any, ...]:
        return _refusal, (error, raised)

    # Categories of pydantic-ai's errors are classes made on demand, so this one cannot be written down either.
    made: Any = type(kind.__name__, (kind, base), {"__module__": kind.__module__, "__reduce__": reduce})
    refusal: errors.PaigError = made.__new__(made, error.message)
    vars(refusal).update({**vars(raised), **vars(error)})
    return refusal


@dataclass(frozen=True, slots=True)
class _Settings:
    api_key: str | None = field(repr=False)
    base_url: str | None
    profile: str | None


class Registration:
    """What `register` did; `undo` takes it back, and so does the end of a `with`."""

    def __init__(self, settings: _Settings | None) -> None:
        self._settings = settings

    def undo(self) -> None:
        """Take the registration back; nothing happens the second time."""
        settings, self._settings = self._settings, None
        if settings is not None:
            _active.remove(settings)
            _install()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()


_active: list[_Settings] = []
_own: dict[str, object] = {name: getattr(gateway, name) for name in ("gateway_provider", "normalize_gateway_provider")}


def register(*, api_key: str | None = None, base_url: str | None = None, profile: str | None = None) -> Registration:
    """Make `gateway/…` models of pydantic-ai go through this gateway, in this process.

    Call it before agents are made: an `Agent` with a model's name makes the model at once. Keys are looked for when a
    model is made, not now. Registering what is registered already changes nothing; another registration goes before
    earlier ones until it is undone.

    Args:
        api_key: The gateway key; by default from the environment, the keyring or the file.
        base_url: The gateway's address; by default from the environment or a profile.
        profile: A profile of `paig login`.

    Returns:
        A handle that takes it back; also a context manager.
    """
    settings = _Settings(api_key, base_url, profile)
    if _active and _active[-1] == settings:
        return Registration(None)
    if settings in _active:
        _active.remove(settings)
    _active.append(settings)
    _install()
    return Registration(settings)


def unregister() -> None:
    """Take every registration back."""
    _active.clear()
    _install()


def _install() -> None:
    """Put our functions in the place of pydantic-ai's, which looks them up at each call, or put its own back."""
    ours: dict[str, object] = {"gateway_provider": _registered, "normalize_gateway_provider": providers.kind}
    for name, function in (ours if _active else _own).items():
        setattr(gateway, name, function)


def _registered(
    upstream_provider: str,
    /,
    *,
    route: str | None = None,
    api_key: str | None = None,
    base_url: str | None = None,
    http_client: Any | None = None,
) -> Provider[Any]:
    if upstream_provider.removeprefix(PREFIX) == "bedrock-mantle":  # its model class goes by the unprefixed name alone
        raise UserError("write gateway_model('bedrock-mantle:MODEL'), or give the agent the capability PaigGateway()")
    settings = _active[-1]
    return gateway_provider(
        upstream_provider,
        route=route,
        api_key=api_key or settings.api_key,
        base_url=base_url or settings.base_url,
        profile=settings.profile,
        http_client=http_client,
    )


def PaigGateway(
    *, api_key: str | None = None, base_url: str | None = None, profile: str | None = None, prefix: str = PREFIX
) -> ResolveModelId[Any]:
    """A capability: the `gateway/…` models of `Agent(…, capabilities=[PaigGateway()])` go through this gateway.

    Each run is an agent of a session: of the one that the run around it belongs to, else of its conversation. What its
    tools' agents spend counts as its own, too (`spend_of`). A refusal of the gateway's is raised as a `PaigError`, such
    as `LimitExceeded`, which is also the exception that pydantic-ai raised.

    No global state: give each agent its own, or several with a `prefix` each, such as `prod/` for `prod/openai:gpt-5`.
    Models are made when first used, off the event loop, and kept.

    Args:
        api_key: The gateway key; by default from the environment, the keyring or the file.
        base_url: The gateway's address; by default from the environment or a profile.
        profile: A profile of `paig login`.
        prefix: What model names begin with that this gateway is for.

    Raises:
        ImportError: This pydantic-ai is too old to have capabilities that resolve models.
    """
    capability = _capability()
    models: dict[str, Model] = {}

    async def resolve(_: object, model_id: str) -> Model | None:
        if not model_id.startswith(prefix):
            return None
        if model_id not in models:
            make = lambda: gateway_model(  # noqa: E731
                model_id.removeprefix(prefix), api_key=api_key, base_url=base_url, profile=profile
            )
            models[model_id] = await anyio.to_thread.run_sync(make)
        return models[model_id]

    return capability(resolve)


@cache
def _capability() -> type[ResolveModelId[Any]]:
    """The class of the capability, made when pydantic-ai is known to be new enough.

    Raises:
        ImportError: It is not.
    """
    try:
        from pydantic_ai.capabilities import ResolveModelId
    except ImportError as error:
        raise ImportError("PaigGateway needs pydantic-ai 2.13 or newer: pip install -U pydantic-ai-slim") from error

    @dataclass
    class Gateway(ResolveModelId[Any]):
        """Resolves the models, and has each run of an agent send its ids."""

        async def wrap_run(self, ctx: RunContext[Any], *, handler: Callable[[], Awaitable[Any]]) -> Any:
            """Run the agent as a branch of its session."""
            name = getattr(getattr(ctx, "agent", None), "name", None)
            with (
                attribution.agent(_plain(name), id=_plain(ctx.run_id), session=_plain(ctx.conversation_id)),
                charges.run_spending(ctx.run_id or ""),
            ):
                return await handler()

    return Gateway


def _plain(text: str | None) -> str | None:
    """A name or an id as attribution takes it; None where nothing is left of it."""
    return re.sub(r"[^\w.:/@ -]", "-", text or "").strip()[:128].strip() or None


@dataclass(frozen=True, slots=True)
class _RunHook:
    """The hook of attribution, which also names the conversation of a run that nothing else names."""

    hook: attribution.RequestHook

    async def __call__(self, request: attribution.HttpRequest) -> None:
        self.hook(request)
        context = _present_run()
        if context is not None and self.hook.applies(request) and attribution.SESSION_HEADER not in request.headers:
            name = _plain(getattr(getattr(context, "agent", None), "name", None))
            found = {attribution.SESSION_HEADER: _plain(context.conversation_id), attribution.NAME_HEADER: name}
            if found[attribution.SESSION_HEADER] is not None:
                attribution.add(request, {header: text for header, text in found.items() if text is not None})


def _present_run() -> RunContext[Any] | None:
    """The run whose request is being sent; None if pydantic-ai does not say, and then the session has no name."""
    try:
        from pydantic_ai._run_context import get_current_run_context
    except ImportError:
        return None
    return get_current_run_context()


def _adopt(provider: Provider[Any], asked: charges.GatewayAccess, http_client: Any | None) -> None:
    """Send attribution along, note answers, and let pydantic-ai know the provider for a gateway's.

    The attributes are pydantic-ai's private ones; where a version has them not, nothing is lost but what they do.
    """
    own, make = getattr(provider, "_own_http_client", None), getattr(provider, "_http_client_factory", None)
    hook = _RunHook(attribution.RequestHook.for_gateway(asked.root))
    noting = charges.AsyncResponseHook(charges.ResponseHook(asked))
    for client in (own, http_client):
        if client is not None:
            add_hooks(client, hook, noting)
    if make is not None:

        def make_hooked() -> Any:
            client = make()
            add_hooks(client, hook, noting)
            return client

        provider._http_client_factory = make_hooked
    provider._model_id_namespace = f"{PREFIX}{provider.name}"
    if (known := getattr(gateway, "_gateway_providers", None)) is not None:
        known.add(provider)
