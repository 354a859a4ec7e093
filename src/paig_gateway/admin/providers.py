"""What only providers can do: be tried out."""

from __future__ import annotations

import anyio.to_thread
from fastapi import APIRouter

from paig_client.schema import ProviderCheck
from paig_gateway.admin.access import Guarded
from paig_gateway.admin.objects import Reference
from paig_gateway.admin.services import AdminServices


def provider_routes(services: AdminServices) -> APIRouter:
    """The endpoint `providers/{name}/test`."""
    router = APIRouter(prefix="/providers", tags=["providers"], route_class=Guarded)

    @router.post(
        "/{reference}/test",
        operation_id="test_provider",
        summary="Try a provider out",
        description="Sends it one small free request from the gateway, and explains what comes of it.",
        response_model=ProviderCheck,
    )
    async def test(reference: Reference) -> ProviderCheck:
        provider = await anyio.to_thread.run_sync(services.catalog.providers.get, reference)
        await anyio.to_thread.run_sync(services.changed)  # it may have been made on another node a moment ago
        return await services.test_provider(provider.name)

    return router
