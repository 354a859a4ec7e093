"""What the data plane, the admin API and telemetry of one node share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from paig_gateway.catalog.key_uses import KeyUses
from paig_gateway.catalog.snapshot import Directory
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.session_loops import LoopLog
from paig_gateway.listener.connections import Connections
from paig_gateway.pricing.overrides import PriceSources
from paig_gateway.proxy.admission import Admission
from paig_gateway.proxy.loops import Loop, Loops
from paig_gateway.proxy.provider_client import ProviderClient
from paig_gateway.proxy.sessions import FirstSessions
from paig_gateway.proxy.stored import StoredObjects
from paig_gateway.routing.affinity import Affinity
from paig_gateway.routing.candidates import MemberOrder
from paig_gateway.routing.deadlines import Deadlines
from paig_gateway.routing.health import HealthTracker
from paig_gateway.secrets.attempts import Attempts


@dataclass(frozen=True, slots=True)
class Core:
    """The shared parts of a running node.

    Attributes:
        node_id: This process among the nodes.
        clock: Seconds from any start, for durations.
        directory: The catalogue in memory.
        client: The HTTP client for providers, and what signs its requests.
        connections: The listener's connections.
        open_sockets: WebSocket sessions that are open, by route.
        ended_sockets: WebSocket sessions that have ended, by route and reason.
    """

    node_id: str
    now: Callable[[], datetime]
    clock: Callable[[], float]
    engine: Engine
    directory: Directory
    ledger: Ledger
    prices: PriceSources
    client: ProviderClient
    health: HealthTracker
    deadlines: Deadlines
    affinity: Affinity
    member_order: MemberOrder
    admission: Admission
    stored: StoredObjects
    attempts: Attempts
    loops: Loops
    loop_log: LoopLog[Loop]
    connections: Connections
    key_uses: KeyUses = field(default_factory=KeyUses)
    first_sessions: FirstSessions = field(default_factory=FirstSessions)
    open_sockets: Counter[str] = field(default_factory=Counter)
    ended_sockets: Counter[tuple[str, str]] = field(default_factory=Counter)
