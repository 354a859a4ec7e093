"""The admin API: a FastAPI app over the store, speaking the wire models of `paig_client.schema`."""

from __future__ import annotations

from paig_gateway.admin.app import admin_app
from paig_gateway.admin.services import AdminServices, ApplyResult, ConfigurationError

__all__ = ["AdminServices", "ApplyResult", "ConfigurationError", "admin_app"]
