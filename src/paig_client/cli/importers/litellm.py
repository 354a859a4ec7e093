"""A configuration from LiteLLM's `config.yaml`: its deployments become providers, its model names routes.

What has no counterpart is noted, never dropped in silence; a secret that stands in the file is noted, never copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal, InvalidOperation

from paig_client.cli.importers.draft import Draft, Table
from paig_client.cli.importers.environment import ADDRESSES, KEYS

Object = Mapping[str, object]

KINDS: Mapping[str, str] = {
    **{kind: kind for kind in KEYS},
    **{"gemini": "google", "vertex_ai": "google-vertex", "vertex_ai_beta": "google-vertex"},
    **{"text-completion-openai": "openai", "azure_text": "azure", "cohere_chat": "cohere", "voyage": "voyageai"},
    **{"together_ai": "together", "fireworks_ai": "fireworks", "ollama": "ollama", "ollama_chat": "ollama"},
    **{"vllm": "vllm", "hosted_vllm": "vllm", "openai_like": "openai-compatible", "custom_openai": "openai-compatible"},
    **{"litellm_proxy": "openai-compatible", "lm_studio": "openai-compatible", "azure_ai": "openai-compatible"},
}
"""Our kind for each of LiteLLM's names of a provider."""

SETTINGS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "bedrock": {"region": ("aws_region_name", "region_name")},
    "google-vertex": {"project": ("vertex_project",), "location": ("vertex_location",)},
    "azure": {"api_version": ("api_version",)},
}
"""For each kind, our settings and LiteLLM's names for them."""

PRICES: Mapping[str, str] = {
    "input_cost_per_token": "input_mtok",
    "output_cost_per_token": "output_mtok",
    "cache_read_input_token_cost": "cache_read_mtok",
    "cache_creation_input_token_cost": "cache_write_mtok",
}
"""For each of LiteLLM's prices of one token, our price of a million."""

DAY = 86_400
WINDOWS: Mapping[str, int] = {"daily": DAY, "weekly": 7 * DAY, "monthly": 30 * DAY}
"""Our windows, the shortest first, and their seconds."""
UNITS: Mapping[str, int] = {"s": 1, "m": 60, "h": 3600, "d": DAY, "w": 7 * DAY, "mo": 30 * DAY, "y": 365 * DAY}
"""The seconds of LiteLLM's units of a `budget_duration`."""
NANO, MOST = Decimal("0.000000001"), Decimal(10**9)
"""The smallest step and the largest amount of a limit."""

UNDERSTOOD = frozenset(
    {"model", "api_base", "base_url", "api_key", "custom_llm_provider", "weight", "order", *PRICES}
    | {"max_budget", "budget_duration"}
    | {"api_version", "region_name", "aws_region_name", "vertex_project", "vertex_location", "vertex_credentials"}
)
"""The parameters that are read from `litellm_params`."""

NOWHERE = "https://write-the-address-here.invalid"

TOP, STEP = 100, 10
"""The priority of a model's own deployments, and how much lower that of each further fallback is."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One entry of `model_list`.

    Attributes:
        name: What clients call the model.
        model: What the provider calls it.
        provider: The provider's name in the draft.
        weight: Its share among its equals.
        order: Lower ones are tried first.
    """

    name: str
    model: str
    provider: str
    weight: int
    order: int


def from_litellm(config: object) -> Draft:
    """The draft of a configuration.

    Args:
        config: What the YAML file holds.

    Raises:
        ValueError: It is not a LiteLLM configuration.
    """
    listed = config.get("model_list") if isinstance(config, Mapping) else None
    if not isinstance(config, Mapping) or not isinstance(listed, list):
        raise ValueError("it has no model_list: is it LiteLLM's config.yaml?")
    draft = Draft()
    deployments = [found for number, entry in enumerate(listed) if (found := _deployment(draft, number, entry))]
    settings = object_of(config.get("litellm_settings"))
    router = object_of(config.get("router_settings"))
    _routes(draft, deployments, _fallbacks(settings, router, draft), _choice(router))
    _budget(draft, settings)
    _provider_budgets(draft, router)
    general = object_of(config.get("general_settings"))
    if "slack" in _list(general.get("alerting")):
        draft.alerts["webhook"] = "env:SLACK_WEBHOOK_URL"
        draft.note("Alerts go to the webhook in SLACK_WEBHOOK_URL, as there: set it where the gateway runs.")
    _leave(draft, config)
    _leave(draft, settings, "litellm_settings", {"max_budget", "budget_duration", "fallbacks", "default_fallbacks"})
    understood = {"fallbacks", "default_fallbacks", "provider_budget_config"}
    _leave(draft, router, "router_settings", understood | ({"routing_strategy"} if _choice(router) else set()))
    _leave(draft, general, "general_settings", ("alerting",) if general.get("alerting") == ["slack"] else ())
    _leave(draft, object_of(config.get("environment_variables")), "environment_variables")
    return draft


def _deployment(draft: Draft, number: int, entry: object) -> Deployment | None:
    """Put a deployment's provider and price into the draft, and return it; None if its provider is not supported."""
    found, where = object_of(entry), f"model_list[{number}]"
    parameters = object_of(found.get("litellm_params"))
    name, spoken = _text(found.get("model_name")), _text(parameters.get("model"))
    if not name or not spoken:
        draft.note(f"{where} has no model_name, or no model in its litellm_params.")
        return None
    info = object_of(found.get("model_info"))
    draft.models.add(name)
    for group in _list(info.get("access_groups")):
        draft.groups.setdefault(str(group), []).append(name)
    address = _text(parameters.get("api_base")) or _text(parameters.get("base_url"))
    service, model = _service(spoken, _text(parameters.get("custom_llm_provider")), address)
    kind = KINDS.get(service)
    if kind is None and address:
        kind = "openai-compatible"
        draft.note(f"{where} ({name}): {service} is treated as an OpenAI-compatible server at its api_base.")
    if kind == "openai" and address and "api.openai.com" not in address:
        kind = "openai-compatible"  # what LiteLLM's users write for any such server
    if kind is None or (kind in ("azure", "openai-compatible", "snowflake") and not address):
        why = "is not a known provider" if kind is None else "needs an api_base"
        draft.note(f"{where} ({name}): {service} {why}; {spoken} is left out.")
        return None
    _leave(draft, found, where, {"model_name", "litellm_params", "model_info"})
    _leave(draft, info, f"{where}.model_info", {"access_groups"})
    _leave(draft, parameters, f"{where}.litellm_params", UNDERSTOOD)
    provider = _provider(draft, where, kind, address, parameters)
    _price(draft, model, provider, parameters)
    if (budget := _number(parameters.get("max_budget"))) is not None:
        duration = _text(parameters.get("budget_duration"))
        _limit(draft, f"{where} ({name})", {"provider": provider, "model": model}, budget, duration)
    weight = _number(parameters.get("weight"))
    order = _number(parameters.get("order"))
    # Shares may be fractions there; ours are whole.
    whole = int(weight * (1 if weight == int(weight) else 100)) if weight is not None and weight >= 0 else 1
    if weight is not None and weight != int(weight):
        draft.note(f"{where} ({name}): its weight {weight} is {whole} here: give its peers weights in hundredths too.")
    return Deployment(name, model, provider, whole, int(order or 0))


def _service(spoken: str, given: str | None, address: str | None) -> tuple[str, str]:
    """LiteLLM's provider and the provider's own name of the model, from `provider/model`."""
    first, slash, rest = spoken.partition("/")
    if given:
        return given, rest if slash and first == given else spoken
    if slash and (first in KINDS or (address is None and first.replace("_", "").isalnum())):
        # bedrock/converse/MODEL, bedrock/us-west-2/MODEL
        return first, re.sub(r"^(converse|invoke|[a-z]{2}-[a-z]+-\d)/", "", rest) if first == "bedrock" else rest
    if address:
        return "openai_like", spoken
    known = (("claude", "anthropic"), ("gemini", "vertex_ai"), ("command", "cohere"), ("mistral", "mistral"))
    return next((service for start, service in known if spoken.startswith(start)), "openai"), spoken


def _provider(draft: Draft, where: str, kind: str, address: str | None, parameters: Object) -> str:
    """The name of the provider in the draft that is this account; made if there is none."""
    fields: Table = {"kind": kind}
    if address:
        fields["base_url"] = _address(draft, where, address)
    if (credential := _credential(draft, where, kind, address, parameters)) is not None:
        fields["credential"] = credential
    for setting, names in SETTINGS.get(kind, {}).items():
        value = next((found for name in names if (found := _text(parameters.get(name)))), None)
        if value and value.startswith("os.environ/"):
            draft.note(f"{where}: {setting} is {value} there; write it out here.")
        elif value:
            fields[setting] = value
    for name, known in draft.providers.items():
        if known == fields:
            return name
    name = draft.name_for(kind, draft.providers)
    draft.providers[name] = fields
    return name


def _address(draft: Draft, where: str, address: str) -> str:
    """The address; one that cannot be copied becomes one that leads nowhere, so that no request goes elsewhere."""
    if address.startswith("os.environ/"):
        draft.note(f"{where}: its api_base is {address} there; write it out here, as base_url.")
        return NOWHERE
    if "@" in address or "?" in address:
        draft.note(f"{where}: its api_base holds more than an address; write that out here, as base_url.")
        return NOWHERE
    return address.rstrip("/")


def _credential(draft: Draft, where: str, kind: str, address: str | None, parameters: Object) -> str | None:
    """A reference to the credential, never the credential; the usual variable only for the provider's own address."""
    if kind == "google-vertex":
        given = _text(parameters.get("vertex_credentials"))
        if given and not given.startswith(("os.environ/", "{")):
            return f"file:{given}"
        draft.note(f'{where}: name the file of the service account, as credential = "file:PATH".')
        return None
    given = _text(parameters.get("api_key"))
    usual = next(iter(KEYS.get(kind, ())), None) if address is None or kind in ADDRESSES else None
    if given and given.startswith("os.environ/"):
        return f"env:{given.removeprefix('os.environ/')}"
    if kind == "bedrock":
        if any(name.startswith("aws_") and name != "aws_region_name" for name in parameters):
            draft.note(
                f"{where}: put its AWS credentials into one variable, as ID:SECRET or a Bedrock API key, and name that"
                " as credential; without one the gateway signs with those of its own machine."
            )
        return None
    if given:
        instead = f"put it into the variable {usual}" if usual else "name one as credential, if it needs one"
        draft.note(f"{where}: its api_key is in the file and is not copied: {instead}.")
    return f"env:{usual}" if usual else None


def _price(draft: Draft, model: str, provider: str, parameters: Object) -> None:
    rates = {
        ours: amount * 1_000_000
        for theirs, ours in PRICES.items()
        if (amount := _number(parameters.get(theirs))) is not None
    }
    if rates:
        name = draft.name_for(f"{provider}-{model}", draft.prices)
        draft.prices[name] = {"model": model, "provider": provider, **rates}


def _choice(router: Object) -> Table:
    """How a route chooses among equals: by latency where LiteLLM does."""
    return {"choice": "latency"} if router.get("routing_strategy") == "latency-based-routing" else {}


def _routes(draft: Draft, deployments: Iterable[Deployment], fallbacks: Mapping[str, list[str]], choice: Table) -> None:
    """A route for each name of a model: its own deployments first, then those of its fallbacks."""
    groups: dict[str, list[Deployment]] = {}
    for deployment in deployments:
        if "*" in deployment.name:
            at = f"…/proxy/{deployment.provider}"
            draft.note(f"The model {deployment.name} needs no route: send requests for any model to {at}.")
        else:
            groups.setdefault(deployment.name, []).append(deployment)
    for name, group in groups.items():
        later = [other for other in fallbacks.get(name, fallbacks.get("*", [])) if other != name]
        for other in later:
            if other not in groups:
                draft.note(f"The fallback {other} of {name} is not a model of the list.")
        steps = [group, *(groups.get(other, []) for other in later)]
        members = [
            {
                "provider": deployment.provider,
                "priority": TOP - STEP * step - deployment.order,
                **({"weight": deployment.weight} if deployment.weight != 1 else {}),
                **({"models": {name: deployment.model}} if deployment.model != name else {}),
            }
            for step, found in enumerate(steps)
            for deployment in found
        ]
        route = draft.name_for(name, draft.routes)
        draft.routes[route] = {"members": members, **choice}
        if route != name:
            draft.note(f"The route of the model {name} is called {route}.")
    for name in fallbacks:
        if name != "*" and name not in groups:
            draft.note(f"The fallbacks of {name} are left out: it is not a model of the list.")


def _fallbacks(settings: Object, router: Object, draft: Draft) -> dict[str, list[str]]:
    """The fallbacks of each model, by name; `*` for all other models."""
    found: dict[str, list[str]] = {}
    for source in (settings, router):
        for entry in _list(source.get("fallbacks")):
            for name, others in object_of(entry).items():
                found[str(name)] = [str(other) for other in _list(others) if isinstance(other, str)]
                if len(found[str(name)]) != len(_list(others)):
                    draft.note(f"Fallbacks of {name} that change more than the model are left out.")
        if defaults := _list(source.get("default_fallbacks")):
            found["*"] = [str(other) for other in defaults]
    return found


def limit_of(draft: Draft, where: str, budget: Decimal, duration: str | None) -> tuple[str, Decimal] | None:
    """Our window and amount for a budget of LiteLLM's; None if a limit cannot say it.

    A duration that is not a window becomes the next longer window, or a month if none is longer, at the same rate, and
    a note says so: that is better than a key without a cap.
    """
    budget = max(budget, Decimal(0))
    too_much = f"{where}: its budget of ${budget:.6g} is more than any limit here, and is left out."
    if budget > MOST:
        draft.note(too_much)
        return None
    budget = budget.quantize(NANO, ROUND_FLOOR).normalize()
    if not duration:
        return "total", budget
    if duration in WINDOWS:
        return duration, budget
    found = re.fullmatch(r"(\d{1,9})(s|m|h|d|w|mo|y)", duration)
    seconds = int(found[1]) * UNITS[found[2]] if found else 0
    if not seconds:
        draft.note(
            f"{where}: its budget of ${budget:f} is for {duration}, and is left out: set a daily, weekly, monthly "
            "or total limit in its place."
        )
        return None
    if 28 * DAY <= seconds <= 31 * DAY:
        return "monthly", budget
    window = next((name for name, length in WINDOWS.items() if seconds <= length), "monthly")
    if seconds == WINDOWS[window]:
        return window, budget
    amount = (budget * WINDOWS[window] / seconds).quantize(Decimal("0.000001"), ROUND_FLOOR).normalize()
    if amount > MOST:
        draft.note(too_much)
        return None
    stricter = f"; {window} = {budget:f} would be stricter" if seconds < WINDOWS[window] else ""
    draft.note(
        f"{where}: its budget of ${budget:f} for {duration} is {window} = {amount:f} here, the same rate: no window has"
        f" that length{stricter}."
    )
    return window, amount


def _budget(draft: Draft, settings: Object) -> None:
    budget, duration = _number(settings.get("max_budget")), _text(settings.get("budget_duration"))
    if budget is None or budget <= 0:  # for the whole proxy, unlike for a key, 0 stands for no budget
        return
    if (limit := limit_of(draft, "litellm_settings.max_budget", budget, duration)) is not None:
        draft.organisation = {"limits": {limit[0]: limit[1]}}


def _provider_budgets(draft: Draft, router: Object) -> None:
    """A limit for each provider that has a budget, if it is one account here."""
    for service, given in object_of(router.get("provider_budget_config")).items():
        where = f"router_settings.provider_budget_config.{service}"
        found = object_of(given)
        budget = _number(found.get("budget_limit", found.get("max_budget")))
        duration = _text(found.get("time_period", found.get("budget_duration")))
        kind = KINDS.get(str(service))
        accounts = [name for name, fields in draft.providers.items() if fields["kind"] == kind]
        if budget is not None and len(accounts) == 1:
            _limit(draft, where, {"provider": accounts[0]}, budget, duration)
        elif budget is not None:
            several = f"give each of {', '.join(accounts)} a share, as a limit with match = {{ provider = … }}"
            draft.note(f"{where}: {several if accounts else 'there is no such provider in model_list'}.")


def _limit(draft: Draft, where: str, match: Table, budget: Decimal, duration: str | None) -> None:
    """Put a named limit on what a provider is paid into the draft."""
    if (limit := limit_of(draft, where, budget, duration)) is not None:
        name = draft.label_for(" ".join(map(str, match.values())), draft.limits)
        draft.limits[name] = {"match": match, limit[0]: limit[1]}


_HINTS: Mapping[str, str] = {
    "general_settings.master_key": "the admin token is PAIG_ADMIN_TOKEN, or made at the first start",
    "general_settings.database_url": "the database is PAIG_DATABASE_URL; --dump brings keys and budgets from LiteLLM's",
    "router_settings.model_group_alias": "give the route another name, or the member a model map",
    "router_settings.routing_strategy": "members of one priority share requests by weight",
}


def _leave(draft: Draft, found: Object, where: str = "", known: Iterable[str] = ()) -> None:
    """Note each field that is not taken over; never its value."""
    sections = {"model_list", "litellm_settings", "router_settings", "general_settings", "environment_variables"}
    for name in found:
        path = f"{where}.{name}" if where else str(name)
        if name not in known and not (not where and name in sections):
            draft.note(f"{path}{f': {_HINTS[path]}' if path in _HINTS else ''}")


def object_of(value: object) -> Object:
    """The value if it is an object; else an empty one."""
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) and value != "" else None


def _number(value: object) -> Decimal | None:
    """A number, also one that YAML takes for text, such as 1e-6."""
    try:
        number = Decimal(str(value)) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() else None
