"""A web service whose customers each have a daily cap, kept by the gateway.

Each customer gets a key of their own when they first appear. The service never counts money itself.

Run it with `PAIG_ADMIN_TOKEN` in the environment: `uvicorn --app-dir examples customer_caps:app`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from openai import APIStatusError, AsyncOpenAI
from pydantic import BaseModel

import paig_client
from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec

DAILY = Decimal("1.00")
GATEWAY = os.environ.get("PAIG_URL", "http://127.0.0.1:8787")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the admin client once; keys are kept for the life of the process."""
    async with paig_client.AsyncAdminClient(GATEWAY, token=os.environ["PAIG_ADMIN_TOKEN"]) as admin:
        app.state.admin, app.state.keys = admin, {}
        yield


app = FastAPI(lifespan=lifespan)


class Question(BaseModel):
    """What a customer asks."""

    text: str


async def customer_client(request: Request, customer: str) -> AsyncOpenAI:
    """An OpenAI client that pays from the customer's cap."""
    keys: dict[str, str] = request.app.state.keys
    if customer not in keys:
        spec = KeySpec(limits=LimitsSpec(daily=DAILY), routes=["openai"])
        keys[customer] = (await request.app.state.admin.keys.create(f"customer-{customer}", spec)).key
    return AsyncOpenAI(api_key=keys[customer], base_url=f"{GATEWAY}/proxy/openai/v1", max_retries=0)


@app.post("/customers/{customer}/questions")
async def ask(question: Question, client: Annotated[AsyncOpenAI, Depends(customer_client)]) -> dict[str, str | None]:
    """Answer a question, or say that the day's cap is used up."""
    async with client:
        try:
            answer = await client.chat.completions.create(
                model="gpt-4o-mini",
                messages=[{"role": "user", "content": question.text}],
                max_completion_tokens=300,
            )
        except APIStatusError as error:
            refusal = paig_client.from_exception(error)
            if isinstance(refusal, paig_client.LimitExceeded):
                raise HTTPException(
                    402, f"Your budget for today is used up; it resets at {refusal.resets_at}."
                ) from error
            raise
    return {"answer": answer.choices[0].message.content}
