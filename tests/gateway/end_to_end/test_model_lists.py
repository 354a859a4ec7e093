"""Lists of models: the gateway's own at the one address, and a provider's as a confined key sees it."""

from __future__ import annotations

from decimal import Decimal

import anthropic
import openai
import pytest

from paig_client.api.specs import KeySpec, PriceSpec
from tests.gateway.end_to_end.conftest import World
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio

VERSION = {"anthropic-version": "2023-06-01"}


async def key_for(world: World, name: str, **spec: object) -> str:
    """A new key."""
    return (await world.admin.keys.create(name, KeySpec.model_validate(spec))).key


async def test_sdks_list_what_the_key_may_use(simulated: World) -> None:
    """OpenAI's and Anthropic's SDKs read the list, and one model of it; no model outside the key's is in it."""
    key = await key_for(simulated, "lists", routes=["openai", "anthropic"], models=["gpt-5*", "claude-sonnet-4*"])
    async with openai.AsyncOpenAI(api_key=key, base_url=f"{simulated.origin}/v1") as client:
        listed = {model.id: model.owned_by async for model in client.models.list()}
        one = await client.models.retrieve("gpt-5-mini")
        with pytest.raises(openai.NotFoundError, match="no model 'gpt-4o' that this key may use"):
            await client.models.retrieve("gpt-4o")
    assert {"gpt-5-mini": "openai", "claude-sonnet-4-5": "anthropic"}.items() <= listed.items()
    assert all(name.startswith(("gpt-5", "claude-sonnet-4")) for name in listed)
    assert (one.id, one.owned_by) == ("gpt-5-mini", "openai")
    async with anthropic.AsyncAnthropic(auth_token=key, base_url=simulated.origin) as claude:
        found = {model.id async for model in claude.models.list()}
        sonnet = await claude.models.retrieve("claude-sonnet-4-5")
    assert found == set(listed)
    assert sonnet.type == "model"


async def test_geminis_shape(simulated: World) -> None:
    """Under /v1beta, with the names that Gemini gives its models."""
    key = await key_for(simulated, "gemini lists", routes=["google"])
    answer = await simulated.http.get("/v1beta/models", headers={"x-goog-api-key": key})
    assert "models/gemini-2.5-flash" in {model["name"] for model in answer.json()["models"]}
    one = await simulated.http.get("/v1beta/models/gemini-2.5-flash", headers={"x-goog-api-key": key})
    assert one.json()["name"] == "models/gemini-2.5-flash"
    missing = await simulated.http.get("/v1beta/models/gpt-5", headers={"x-goog-api-key": key})
    assert (missing.status_code, missing.json()["error"]["status"]) == (404, "NOT_FOUND")


async def test_models_and_own_prices_are_listed(simulated: World) -> None:
    """What `[models]` and the operator's prices name; not a model whose route the key may not use."""
    key = await key_for(simulated, "own names", routes=["openai"])
    await simulated.admin.prices.create(
        "house-model", PriceSpec.model_validate({"provider": "openai", "input_mtok": 1})
    )
    await simulated.admin.update_organisation({"models": {"listed-name": "openai", "gpt-5-mini": "groq"}})
    headers = {"authorization": f"Bearer {key}"}

    async def listed() -> set[str]:
        answer = await simulated.http.get("/v1/models", headers=headers)
        return {model["id"] for model in answer.json()["data"]}

    async def known() -> bool:
        return {"listed-name", "house-model"} <= await listed()

    try:
        await until(known)
        assert "gpt-5" in await listed()
        assert "gpt-5-mini" not in await listed()
    finally:
        await simulated.admin.update_organisation({"models": None})
        await simulated.admin.prices.delete("house-model")


async def test_a_list_needs_a_key(simulated: World) -> None:
    """And one that may use the format."""
    assert (await simulated.http.get("/v1/models")).headers["x-paig-error"] == "missing-key"
    key = await key_for(simulated, "chat alone", formats=["openai-chat"])
    answer = await simulated.http.get("/v1/models", headers={"authorization": f"Bearer {key}"})
    assert answer.headers["x-paig-error"] == "not-allowed"


@pytest.mark.parametrize(
    ("path", "pattern", "array", "name"),
    [
        ("/proxy/openai/v1/models", "gpt-5*", "data", "id"),
        ("/proxy/anthropic/v1/models", "claude-haiku*", "data", "id"),
        ("/proxy/google/v1beta/models", "gemini-2.5-flash", "models", "name"),
    ],
)
async def test_a_confined_key_sees_its_models_in_a_providers_list(
    simulated: World, path: str, pattern: str, array: str, name: str
) -> None:
    """The others are cut out, and the elements that stay are as the provider sent them."""
    headers = {"authorization": f"Bearer {simulated.key}", **VERSION}
    whole = (await simulated.http.get(path, headers=headers)).json()
    key = await key_for(simulated, f"confined {path}", models=[pattern])
    cut = (await simulated.http.get(path, headers={**headers, "authorization": f"Bearer {key}"})).json()
    stays = pattern.rstrip("*")
    kept = [model for model in whole[array] if model[name].removeprefix("models/").startswith(stays)]
    assert cut[array] == kept
    assert 0 < len(kept) < len(whole[array])
    if "first_id" in whole:
        assert (cut["first_id"], cut["last_id"]) == (kept[0]["id"], kept[-1]["id"])
    one = await simulated.http.get(
        f"{path}/{kept[0][name].removeprefix('models/')}", headers={**headers, "authorization": f"Bearer {key}"}
    )
    assert one.status_code == 200
    barred = next(model for model in whole[array] if model not in kept)
    name_of = barred[name].removeprefix("models/")
    refused = await simulated.http.get(f"{path}/{name_of}", headers={**headers, "authorization": f"Bearer {key}"})
    assert (refused.status_code, refused.headers["x-paig-error"]) == (403, "model-not-allowed")
    assert name_of in refused.text


async def test_a_list_leaves_a_row(simulated: World) -> None:
    """The gateway's own lists can be looked up like any request, and count for a limit on requests."""
    key = await simulated.make_key("counted lists", requests_per_minute=2)
    headers = {"authorization": f"Bearer {key}"}
    listed = await simulated.http.get("/v1/models", headers=headers)
    missing = await simulated.http.get("/v1/models/no-such-model", headers=headers)
    refused = await simulated.http.get("/v1/models", headers=headers)
    assert [answer.status_code for answer in (listed, missing, refused)] == [200, 404, 429]
    found = [await simulated.admin.request(one.headers["x-paig-request-id"]) for one in (listed, missing, refused)]
    assert [(row.status, row.format, row.model, row.cost, row.error) for row in found] == [
        (200, "models", "", Decimal(0), None),
        (404, "models", "no-such-model", Decimal(0), "not-found"),
        (429, "models", "", Decimal(0), "rate-limited"),
    ]
