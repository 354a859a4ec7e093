"""A configuration from LiteLLM's."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from paig_client.cli.importers import to_toml
from paig_client.cli.importers.litellm import KINDS, NOWHERE, from_litellm
from paig_gateway.config import Config, parse
from paig_gateway.providers.kinds import KINDS as GATEWAY_KINDS


def entry(name: str, model: str, **parameters: Any) -> dict[str, Any]:
    """One deployment."""
    return {"model_name": name, "litellm_params": {"model": model, **parameters}}


def made(*entries: dict[str, Any], **sections: Any) -> tuple[Config, list[str]]:
    """The configuration, as the gateway reads it, and what was noted."""
    draft = from_litellm({"model_list": list(entries), **sections})
    return parse(to_toml(draft, "A test.")), draft.notes


def test_deployments_become_providers_and_names_routes() -> None:
    """One provider for each account, one route for each name, models renamed at their members."""
    azure = {"api_base": "https://eu.openai.azure.com/", "api_key": "os.environ/EU_KEY", "api_version": "2024-10-21"}
    config, notes = made(
        entry("gpt", "azure/gpt-4o-eu", weight=3, **azure),
        entry("gpt", "openai/gpt-4o", api_key="os.environ/OPENAI_API_KEY", order=1),
        entry("mini", "azure/mini-eu", **azure),
        entry("nova", "bedrock/converse/amazon.nova-micro-v1:0", aws_region_name="eu-west-1"),
        entry("gem", "vertex_ai/gemini-2.5-flash", vertex_project="p", vertex_credentials="/keys/sa.json"),
    )
    assert notes == []
    assert {name: spec.credential for name, spec in config.providers.items()} == {
        **{
            "azure": "env:EU_KEY",
            "openai": "env:OPENAI_API_KEY",
            "bedrock": None,
            "google-vertex": "file:/keys/sa.json",
        },
    }
    assert config.providers["azure"].base_url == "https://eu.openai.azure.com"
    assert config.providers["bedrock"].region == "eu-west-1"
    first, second = config.routes["gpt"].members
    assert (first.provider, first.weight, first.models) == ("azure", 3, {"gpt": "gpt-4o-eu"})
    assert second.priority < first.priority
    assert config.routes["mini"].members[0].provider == "azure"
    assert config.routes["nova"].members[0].models == {"nova": "amazon.nova-micro-v1:0"}


def test_secrets_are_noted_and_never_copied() -> None:
    """Neither into the file nor into what is said."""
    draft = from_litellm(
        {
            "model_list": [
                entry("a", "anthropic/claude-sonnet-4-6", api_key="sk-ant-literal"),
                entry("b", "bedrock/x", aws_access_key_id="AKIALITERAL", aws_secret_access_key="aws-literal"),
                entry("c", "openai/c", api_base="https://user:pass-literal@gw.example/v1"),
                entry("d", "vertex_ai/g", vertex_credentials='{"private_key": "literal"}'),
            ],
            "general_settings": {"master_key": "sk-master-literal", "database_url": "postgresql://u:literal@h/d"},
            "environment_variables": {"OPENAI_API_KEY": "sk-env-literal"},
        }
    )
    text = to_toml(draft, "A test.")
    assert "literal" not in text.lower()
    assert parse(text).providers["anthropic"].credential == "env:ANTHROPIC_API_KEY"
    assert any("model_list[0]: its api_key is in the file" in note for note in draft.notes)
    assert "environment_variables.OPENAI_API_KEY" in draft.notes


def test_a_providers_own_key_goes_to_no_other_address() -> None:
    """A server at an address of its own gets the key that is named for it, or none."""
    config, notes = made(
        entry("mine", "openai/mine", api_base="http://10.0.0.1:8000/v1", api_key="none"),
        entry("named", "openai/named", api_base="http://10.0.0.2:8000/v1", api_key="os.environ/MINE"),
        entry("proxied", "anthropic/claude-sonnet-4-6", api_base="https://proxy.example"),
    )
    kinds = {spec.base_url: (spec.kind, spec.credential) for spec in config.providers.values()}
    assert kinds == {
        "http://10.0.0.1:8000/v1": ("openai-compatible", None),
        "http://10.0.0.2:8000/v1": ("openai-compatible", "env:MINE"),
        "https://proxy.example": ("anthropic", None),
    }
    assert any("model_list[0]: its api_key" in note for note in notes)


def test_an_address_that_cannot_be_copied_leads_nowhere() -> None:
    """Rather than to the provider's own, and it is noted."""
    config, notes = made(entry("a", "groq/a", api_base="os.environ/BASE", api_key="os.environ/KEY"))
    assert config.providers["groq"].base_url == NOWHERE
    assert notes == ["model_list[0]: its api_base is os.environ/BASE there; write it out here, as base_url."]


def test_fallbacks_stand_below() -> None:
    """In their order, from either section; unknown names are noted."""
    models = [entry(name, f"groq/{name}") for name in ("a", "b", "c")]
    config, notes = made(
        *models,
        litellm_settings={"fallbacks": [{"a": ["b", "ghost"]}, {"nobody": ["a"]}]},
        router_settings={"default_fallbacks": ["c"]},
    )
    assert [member.models.get("a", "a") for member in config.routes["a"].members] == ["a", "b"]
    assert [member.models.get("b", "b") for member in config.routes["b"].members] == ["b", "c"]
    priorities = [member.priority for member in config.routes["a"].members]
    assert priorities == sorted(priorities, reverse=True)
    assert len(set(priorities)) == 2
    assert notes == [
        "The fallback ghost of a is not a model of the list.",
        "The fallbacks of nobody are left out: it is not a model of the list.",
    ]


@pytest.mark.parametrize(
    ("duration", "window", "amount"),
    [
        *((text, "daily", "12.6") for text in ("1d", "24h", "1440m", "86400s", "daily")),
        *((text, "weekly", "12.6") for text in ("7d", "1w", "168h", "weekly")),
        *((text, "monthly", "12.6") for text in ("30d", "1mo", "31d", "4w", "720h", "monthly")),
        (None, "total", "12.6"),
    ],
)
def test_the_budget_becomes_the_organisations_cap(duration: str | None, window: str, amount: str) -> None:
    """In the window that is as long."""
    config, notes = made(litellm_settings={"max_budget": 12.6, "budget_duration": duration})
    assert config.organisation is not None
    assert getattr(config.organisation.limits, window) == Decimal(amount)
    assert notes == []


@pytest.mark.parametrize(
    ("duration", "window", "amount"),
    [
        ("12h", "daily", "25.2"),
        ("90m", "daily", "201.6"),
        ("30s", "daily", "36288"),
        ("2d", "weekly", "44.1"),
        ("14d", "monthly", "27"),
        ("3mo", "monthly", "4.2"),
        ("1y", "monthly", "1.035616"),
    ],
)
def test_a_budget_of_another_length_keeps_its_rate(duration: str, window: str, amount: str) -> None:
    """No window is as long, so the next longer one gets as much for its time, and the note says so."""
    config, notes = made(litellm_settings={"max_budget": 12.6, "budget_duration": duration})
    assert config.organisation is not None
    assert getattr(config.organisation.limits, window) == Decimal(amount)
    [note] = notes
    assert f"$12.6 for {duration} is {window} = {amount} here" in note
    assert (f"{window} = 12.6 would be stricter" in note) == (duration not in ("3mo", "1y"))


@pytest.mark.parametrize("duration", ["0s", "soon", "-1d", "1.5d", "9" * 20 + "s"])
def test_a_budget_of_no_length_is_left_out(duration: str) -> None:
    """The note asks for another limit."""
    config, notes = made(litellm_settings={"max_budget": 12.6, "budget_duration": duration})
    assert config.organisation is None
    assert "is left out: set a daily" in notes[0]


@pytest.mark.parametrize(
    ("budget", "duration", "notes"),
    [(0, None, 0), (-1, "30d", 0), ("1e999999", None, 1), (1e9, "1s", 1), (".inf", None, 0)],
)
def test_a_budget_that_no_limit_can_say_caps_nothing(budget: object, duration: str | None, notes: int) -> None:
    """LiteLLM enforces one for all only above 0; one that is too large is noted, and the file stays valid."""
    config, said = made(litellm_settings={"max_budget": budget, "budget_duration": duration})
    assert (config.organisation, len(said)) == (None, notes)
    assert all("more than any limit here" in note and len(note) < 200 for note in said)


def test_prices_are_for_a_million() -> None:
    """Also those that YAML takes for text."""
    config, notes = made(entry("m", "openai/m", input_cost_per_token="2e-6", output_cost_per_token=0.00001))
    assert config.prices["openai-m"].rates == {"input_mtok": 2, "output_mtok": 10}
    assert config.prices["openai-m"].provider == "openai"
    assert notes == []


def test_whatever_is_not_understood_is_listed() -> None:
    """By its place, at every level, without its value."""
    _, notes = made(
        {**entry("m", "groq/m", rpm=7, num_retries=2), "model_info": {"id": "x"}},
        entry("odd", "sagemaker/x"),
        {"model_name": "empty"},
        entry("openai/*", "openai/*"),
        litellm_settings={"drop_params": True},
        router_settings={"redis_host": "h"},
        general_settings={"alerting": ["email"]},
        mcp_servers={},
    )
    assert notes == [
        "model_list[0].model_info.id",
        "model_list[0].litellm_params.rpm",
        "model_list[0].litellm_params.num_retries",
        "model_list[1] (odd): sagemaker is not a known provider; sagemaker/x is left out.",
        "model_list[2] has no model_name, or no model in its litellm_params.",
        "The model openai/* needs no route: send requests for any model to …/proxy/openai.",
        "mcp_servers",
        "litellm_settings.drop_params",
        "router_settings.redis_host",
        "general_settings.alerting",
    ]


@pytest.mark.parametrize("name", ["team/gpt 4", "ключ", "a\nb", '"quoted"', "../x"])
def test_odd_names_give_a_file_that_can_be_read(name: str) -> None:
    """A route is called something that a URL can hold, and the note says what."""
    config, notes = made(entry(name, "groq/m"))
    [(route, spec)] = config.routes.items()
    assert spec.members[0].models == {name: "m"}
    assert any(route in note for note in notes)


@pytest.mark.parametrize("config", [None, [], {}, {"model_list": {}}, "text"])
def test_a_file_that_is_not_a_configuration_is_refused(config: object) -> None:
    """With a word on what was expected."""
    with pytest.raises(ValueError, match="model_list"):
        from_litellm(config)


def test_kinds_are_those_of_the_gateway() -> None:
    """No provider is made of a kind that there is not."""
    assert set(KINDS.values()) <= set(GATEWAY_KINDS)


def test_budgets_of_providers_and_deployments_become_named_limits() -> None:
    """A provider that is several accounts here has no one counter, so that is told."""
    draft = from_litellm(
        {
            "model_list": [
                {
                    "model_name": "chat",
                    "litellm_params": {"model": "openai/gpt-5", "max_budget": 5, "budget_duration": "1d"},
                },
                {"model_name": "a", "litellm_params": {"model": "azure/a", "api_base": "https://a.openai.azure.com"}},
                {"model_name": "b", "litellm_params": {"model": "azure/b", "api_base": "https://b.openai.azure.com"}},
            ],
            "router_settings": {
                "provider_budget_config": {
                    "openai": {"budget_limit": 100, "time_period": "30d"},
                    "azure": {"budget_limit": 1e-12, "time_period": "1d"},
                    "groq": {"budget_limit": 1, "time_period": "1d"},
                }
            },
        }
    )
    limits = {
        name: (limit.match.model_dump(exclude_none=True), limit.daily, limit.monthly)
        for name, limit in parse(to_toml(draft, "A test.")).limits.items()
    }
    assert limits == {
        "openai gpt-5": ({"provider": "openai", "model": "gpt-5"}, 5, None),
        "openai": ({"provider": "openai"}, None, 100),
    }
    assert draft.notes == [
        "router_settings.provider_budget_config.azure: give each of azure, azure-2 a share, as a limit with match = {"
        " provider = … }.",
        "router_settings.provider_budget_config.groq: there is no such provider in model_list.",
    ]


def test_alerts_go_where_they_went() -> None:
    """LiteLLM reads the address of Slack's webhook from one variable."""
    draft = from_litellm({"model_list": [], "general_settings": {"alerting": ["slack"]}})
    assert draft.alerts == {"webhook": "env:SLACK_WEBHOOK_URL"}
    assert draft.notes == ["Alerts go to the webhook in SLACK_WEBHOOK_URL, as there: set it where the gateway runs."]
