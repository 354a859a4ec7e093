"""All of `paig_client.api` under one name: specs, resources, limits, error codes and the words with fixed values."""

from __future__ import annotations

from paig_client.api.errors import *  # noqa: F403
from paig_client.api.fields import *  # noqa: F403
from paig_client.api.limits import *  # noqa: F403
from paig_client.api.resources import *  # noqa: F403
from paig_client.api.specs import *  # noqa: F403
from paig_client.api.vocabulary import *  # noqa: F403
