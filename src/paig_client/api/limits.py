"""Limits: what a person writes of them. `windows` has the table of what can be capped."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from paig_client.api.fields import Spec, Usd
from paig_client.api.windows import LABELS as LABELS
from paig_client.api.windows import SPENDING as SPENDING
from paig_client.api.windows import WINDOWS as WINDOWS
from paig_client.api.windows import LimitWindow as LimitWindow
from paig_client.api.windows import Unit as Unit
from paig_client.api.windows import Window as Window

Count = Annotated[int, Field(ge=0)]


class Amounts(BaseModel):
    """Caps. A field left out is no cap."""

    daily: Usd | None = None
    weekly: Usd | None = None
    monthly: Usd | None = None
    total: Usd | None = None
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    soft: bool = False
    """Refuse once what is spent reaches the cap, and reserve nothing: availability over exactness."""


class LimitsSpec(Amounts, Spec):
    """Caps of one owner. A field left out is no cap."""
