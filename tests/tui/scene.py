"""A fixed scene: a gateway's answers at one moment, always the same, for what is compared by its looks.

Every flow is tested at a real gateway; here only the answers are made up, so that a picture depends on nothing but the
code that draws it.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar, get_args

from pydantic import BaseModel

from paig_client.admin import AsyncAdminClient, Event, GatewayUnreachable
from paig_client.api.limits import LimitsSpec
from paig_client.api.resources import (
    Attempt,
    AuditEntry,
    Health,
    Identity,
    Key,
    LimitRaise,
    LimitRequest,
    LimitStatus,
    NamedLimit,
    Owner,
    Project,
    Provider,
    ProviderHealth,
    Request,
    RequestPage,
    Route,
    Session,
    SessionAgent,
    SessionLoop,
    SessionTree,
    UsageReport,
    UsageTotal,
)
from paig_client.api.specs import MemberSpec
from paig_client.api.vocabulary import Permission
from paig_client.endpoints import ApiCall, QueryValue

T = TypeVar("T")

NOW = datetime(2026, 11, 12, 12, 4, 31, tzinfo=UTC)
MADE = datetime(2026, 10, 1, 8, 0, tzinfo=UTC)
ENDS = {
    "daily": datetime(2026, 11, 13, tzinfo=UTC),
    "weekly": datetime(2026, 11, 16, tzinfo=UTC),
    "monthly": datetime(2026, 12, 1, tzinfo=UTC),
    "total": None,
}
SESSION = "5d1b7c62-0f0e-4a7e-9c55-2f6d0f3f1c9a"
MODELS = (
    ("openai", "openai-chat", "gpt-5", 0.012),
    ("anthropic", "anthropic", "claude-sonnet-4-5", 0.021),
    ("google-vertex", "gemini", "gemini-2.5-pro", 0.008),
    ("groq", "openai-chat", "llama-3.3-70b-versatile", 0.0006),
    ("bedrock", "bedrock-converse", "amazon.nova-micro-v1:0", 0.00004),
)
# name, status, project, user, then spent of cap by window
KEYS: tuple[tuple[str, str, str | None, str | None, Mapping[str, tuple[str, str]]], ...] = (
    ("alice-dev", "active", "research", "alice", {"daily": ("0.42", "1"), "weekly": ("2.1", "5")}),
    ("batch-2025", "expired", "research", None, {"total": ("19.2", "20")}),
    ("bob-notebook", "active", "research", "bob", {"daily": ("1.87", "2"), "monthly": ("11.4", "40")}),
    ("ci-bot", "active", "platform", None, {"daily": ("4.56", "5"), "weekly": ("15.5", "25"), "monthly": ("44", "50")}),
    ("crawler", "disabled", "platform", None, {"daily": ("0", "3")}),
    ("eval-batch", "limit-exceeded", "research", None, {"daily": ("25", "25"), "monthly": ("301", "1000")}),
    ("night-jobs", "active", None, None, {}),
    ("support-chat", "active", "product", None, {"daily": ("6.2", "40"), "monthly": ("188.5", "900")}),
    ("vision-poc", "blocked", "product", "alice", {"daily": ("0.11", "0.5"), "monthly": ("1.2", "20")}),
)
OWNERS = {
    "projects": {"platform": {"monthly": ("61", "200")}, "product": {}, "research": {"daily": ("27.3", "40")}},
    "users": {"alice": {"daily": ("0.53", "5")}, "bob": {"daily": ("1.87", "2"), "total": ("64", "500")}},
}


def _stamped(name: str, kind: str) -> dict[str, object]:
    return {"id": f"{kind}_{name}", "name": name, "version": 1, "created_at": MADE, "updated_at": MADE}


def _limits(caps: Mapping[str, tuple[str, str]]) -> LimitsSpec:
    return LimitsSpec.model_validate({window: cap for window, (_, cap) in caps.items()})


def keys() -> list[Key]:
    """The keys."""
    return [
        Key.model_validate(
            {
                **_stamped(name, "key"),
                **{"hint": f"paig_{0x7F3A + 977 * place:04x}", "status": status, "project": project, "user": user},
                **{"routes": None, "models": ["gpt-5*"] if name == "ci-bot" else None, "limits": _limits(caps)},
                "expires_at": NOW - timedelta(days=9) if status == "expired" else None,
            }
        )
        for place, (name, status, project, user, caps) in enumerate(KEYS)
    ]


def owners(kind: str) -> list[dict[str, object]]:
    """Projects or users."""
    model = Project if kind == "projects" else Owner
    return [
        model.model_validate({**_stamped(name, kind), "limits": _limits(caps)}).model_dump(mode="json")
        for name, caps in OWNERS[kind].items()
    ]


def limits() -> list[LimitStatus]:
    """Where every cap stands."""
    every = [("key", name, caps) for name, _, _, _, caps in KEYS]
    every += [(kind[:-1], name, caps) for kind, found in OWNERS.items() for name, caps in found.items()]
    return [
        LimitStatus.model_validate(
            {
                **{"owner_kind": kind, "owner": name, "unit": "usd", "window": window, "amount": cap, "spent": spent},
                **{"held": "0", "left": str(Decimal(cap) - Decimal(spent)), "resets_at": ENDS[window], "soft": False},
            }
        )
        for kind, name, caps in every
        for window, (spent, cap) in caps.items()
    ]


def named_limits() -> list[NamedLimit]:
    """Limits on what requests have in common."""
    found: tuple[tuple[str, dict[str, object]], ...] = (
        ("agents", {"per": "session", "total": "5"}),
        ("gpt-per-customer", {"match": {"model": "gpt-*", "tag": "customer"}, "per": "tag:customer", "daily": "5"}),
        ("opus", {"match": {"model": "claude-opus-*"}, "monthly": "200", "requests_per_minute": 60}),
    )
    return [NamedLimit.model_validate({**_stamped(name, "nlim"), **spec}) for name, spec in found]


def raises() -> list[LimitRaise]:
    """What is raised at present."""
    about = {"owner_kind": "key", "owner": "ci-bot", "unit": "usd", "window": "daily", "member": None}
    more = {"amount": "20", "actor": "token:admin", "why": "release day", "since": NOW - timedelta(hours=1)}
    return [LimitRaise.model_validate({"id": "raise_1", **about, **more, "until": NOW + timedelta(hours=5)})]


def asks() -> list[LimitRequest]:
    """Requests for more that wait for an answer."""
    told = (
        ("alice-dev", "key", "alice-dev", "daily", "3", "a long refactoring of the importers"),
        ("bob-notebook", "user", "bob", "total", "800", "the evaluation of the new models takes until Friday"),
    )
    rest = {"unit": "usd", "member": None, "state": "open", "actor": None, "decided_at": None, "answer": None}
    return [
        LimitRequest.model_validate(
            {
                **{"id": f"ask_{place}", "key": key, "owner_kind": kind, "owner": owner, "window": window},
                **{"amount": amount, "why": why, "time": NOW - timedelta(minutes=8 + 30 * place), **rest},
            }
        )
        for place, (key, kind, owner, window, amount, why) in enumerate(told)
    ]


def session() -> SessionTree:
    """A session of a coding agent: its agents, and what each of them spent."""
    # id, kind, depth, requests, tokens in, those from a cache, tokens out, cost, with those below, seconds, model
    told = (
        (None, None, 0, 14, 61200, 48100, 5210, "0.9134", "4.1", 1430, "claude-sonnet-4-5"),
        ("a1f09c3d", "Explore", 1, 22, 184300, 121000, 3120, "0.7421", "2.411", 320, "claude-sonnet-4-5"),
        ("b27e4410", "Explore", 2, 41, 402100, 310200, 8020, "1.6689", "1.6689", 260, "claude-sonnet-4-5"),
        ("c90d77aa", "Test", 1, 9, 30800, 9100, 940, "0.0287", "0.0287", 95, "claude-haiku-4-5"),
        ("d4415e02", "Review", 1, 6, 88000, 20000, 2300, "0.7469", "0.7469", 71, "claude-opus-4-5"),
    )
    began = NOW - timedelta(minutes=31)
    agents = [
        SessionAgent(
            id=id, name=kind, depth=depth, requests=count, errors=0, input_tokens=read, cache_read_tokens=cached,
            cache_write_tokens=0, output_tokens=wrote, cost=cost, total_cost=total, models=[model],
            began=began + timedelta(minutes=place), ended=began + timedelta(minutes=place, seconds=lasted),
            ms_busy=lasted * 600,
        )
        for place, (id, kind, depth, count, read, cached, wrote, cost, total, lasted, model) in enumerate(told)
    ]  # fmt: skip
    return SessionTree(
        session=SESSION, key="alice-dev", project="research", user="alice", agents=4, requests=92, errors=1,
        input_tokens=766400, cache_read_tokens=508400, cache_write_tokens=0, output_tokens=19590, cost=Decimal("4.1"),
        began=began, ended=began + timedelta(seconds=1430), ms_busy=1_305_600, tree=agents,
    )  # fmt: skip


def sessions() -> list[Session]:
    """Sessions, with something wrong with most of them."""
    first = session()
    shared = first.model_dump(exclude={"tree"})
    told: tuple[dict[str, object], ...] = (
        {},
        {"session": "01998f6e-77aa-7c01-b2f4-6f2c41d0a9b2", "key": "bob-notebook", "user": "bob", "cost": "0.8",
         "agents": 0, "requests": 31, "ended": NOW - timedelta(minutes=2)},
        {"session": "nightly-evaluation", "key": "ci-bot", "project": "platform", "user": None, "cost": "0.0941",
         "agents": 1, "requests": 44, "ended": NOW - timedelta(hours=3),
         "loop": SessionLoop(kind="repeated", at=NOW - timedelta(hours=3), requests=20)},
        {"session": "refactoring", "cost": "5", "requests": 210, "errors": 12, "last_error": "limit-exceeded"},
        {"session": "runaway", "key": "ci-bot", "project": "platform", "user": None, "cost": "0.0021", "errors": 3,
         "requests": 19, "stopped_by": "token:admin", "ended": NOW - timedelta(hours=5)},
    )  # fmt: skip
    return [Session.model_validate({**shared, **more}) for more in told]


def counters() -> list[LimitStatus]:
    """Where the counters of named limits stand, and a limit on tokens."""
    told = (
        ("limit", "agents", "5d1b7c62-0f0e-4a7e-9c55-2f6d0f3f1c9a", "usd", "total", "5", "4.1", "0.35"),
        ("limit", "agents", "01998f6e-77aa-7c01-b2f4-6f2c41d0a9b2", "usd", "total", "5", "0.8", "0"),
        ("limit", "gpt-per-customer", "acme", "usd", "daily", "5", "5", "0"),
        ("limit", "gpt-per-customer", "", "usd", "daily", "5", "0.02", "0"),
        ("limit", "opus", None, "requests", "minute", "60", "12", "0"),
        ("key", "support-chat", None, "tokens", "minute", "200000", "91300", "4096"),
    )
    return [
        LimitStatus(
            owner_kind=kind, owner=owner, member=member, unit=unit, window=window, amount=cap, spent=spent, held=held,
            left=str(Decimal(cap) - Decimal(spent) - Decimal(held)), soft=False,
            resets_at=NOW + timedelta(seconds=29) if window == "minute" else ENDS[window],
            reached_at=NOW + timedelta(hours=3) if member and member.startswith("5d1b") else None,
        )  # type: ignore[arg-type]
        for kind, owner, member, unit, window, cap, spent, held in told
    ]  # fmt: skip


def providers() -> list[Provider]:
    """The upstream accounts."""
    addresses = {
        "anthropic": "https://api.anthropic.com",
        "bedrock": "https://bedrock-runtime.us-east-1.amazonaws.com",
        "google-vertex": "https://aiplatform.googleapis.com",
        "groq": "https://api.groq.com/openai/v1",
        "mistral": "https://api.mistral.ai/v1",
        "openai": "https://api.openai.com/v1",
    }
    return [
        Provider.model_validate(
            {
                **_stamped(name, "provider"),
                **{"kind": name, "base_url": address, "options": {"region": "us-east-1"} if name == "bedrock" else {}},
                "credential": None if name == "groq" else f"env:{variable(name)}",
                "credentials": [
                    {"id": f"cred_{name}_{number}", "reference": f"env:{variable(name)}{number or ''}"}
                    for number in range(2 if name == "groq" else 1)
                ],
            }
        )
        for name, address in addresses.items()
    ]


def provider_health() -> list[ProviderHealth]:
    """How the providers fare: one is left alone, one was told to wait."""
    figures = {
        **{
            "anthropic": (0.998, 3100.0, 0, 812),
            "bedrock": (0.31, 2400.0, 0, 96),
            "google-vertex": (1.0, 1730.0, 0, 240),
        },
        **{"groq": (0.991, 402.0, 12, 1204), "mistral": (None, None, 0, 0), "openai": (0.947, 2210.0, 3, 1530)},
    }
    found = []
    for provider in providers():
        name = provider.name
        share, p95, throttled, tries = figures[name]
        sums = {"ok_share": share, "p95_ms": p95, "throttled": throttled, "tries": tries, "failures": {}}
        credentials = []
        for one in provider.credentials:
            told: dict[str, object] = {"state": "closed", "since": MADE, "until": None, "reason": None, "waits": []}
            if name == "bedrock":
                told |= {"state": "open", "until": NOW + timedelta(seconds=40), "reason": "503"}
            if one.id == "cred_groq_1":
                wait = {"model": "llama-3.3-70b-versatile", "until": NOW + timedelta(seconds=17), "reason": "429"}
                told |= {"state": "cooling", "until": wait["until"], "reason": "429", "waits": [wait]}
            node = {"node": "gw-1", "own": True, **{key: told[key] for key in ("state", "since", "until", "reason")}}
            error = {
                "last_error": told["reason"],
                "last_error_at": NOW - timedelta(seconds=4) if told["reason"] else None,
            }
            credentials.append({"credential": one.id, **told, **error, **sums, "nodes": [node]})
        state = "open" if name == "bedrock" else "closed"
        found.append(
            ProviderHealth.model_validate({"provider": name, "state": state, **sums, "credentials": credentials})
        )
    return found


def variable(provider: str) -> str:
    """The variable that holds a provider's credential."""
    return f"{provider.upper().replace('-', '_')}_API_KEY"


def routes() -> list[Route]:
    """The routes."""
    members = {
        "cheap": [
            MemberSpec(provider="groq", models={"fast": "llama-3.3-70b-versatile"}),
            MemberSpec(provider="bedrock"),
        ],
        "fast": [
            MemberSpec(provider="groq", priority=10, weight=2),
            MemberSpec(provider="openai", priority=10, weight=1),
            MemberSpec(provider="anthropic", priority=0, weight=1),
            MemberSpec(provider="mistral", priority=0, weight=1, active=False),
        ],
        "vision": [MemberSpec(provider="google-vertex")],
    }
    return [Route.model_validate({**_stamped(name, "route"), "members": found}) for name, found in members.items()]


def _request(number: int, time: datetime, chance: random.Random) -> Request:
    provider, shape, model, dear = chance.choices(MODELS, (6, 5, 3, 4, 2))[0]
    name, _, project, user, _ = chance.choice([key for key in KEYS if key[1] == "active"])
    read, wrote = chance.randrange(200, 9000), chance.randrange(20, 1200)
    cost = f"{Decimal(str(round(dear * (0.3 + chance.random() * 1.9), 6)))}"
    ms = round(240 + chance.expovariate(1 / 1100), 1)
    answered = round(ms * (0.2 + chance.random() / 2), 1)
    row: dict[str, object] = {
        **{
            "id": f"req_{number:020x}",
            "time": time,
            "state": "settled",
            "status": 200,
            "key": name,
            "project": project,
        },
        **{"user": user, "route": provider, "provider": provider, "model": model, "format": shape},
        **{"stream": chance.random() < 0.6, "cost": cost, "reserved": f"{Decimal(cost) * 4}", "certainty": "exact"},
        "usage": {"input_tokens": read, "output_tokens": wrote, "cache_read_tokens": read // 3},
        "raw_usage": {"prompt_tokens": read, "completion_tokens": wrote},
        **{"price": f"{provider}/{model}", "tags": {}, "run": None, "error": None, "ms_total": ms},
        **{"ms_first_byte": round(answered + 31, 1), "ms_gateway": 1.3},
        "attempts": [Attempt(provider=provider, model=model, status=200, cost=cost, began_ms=1, ms=answered)],
    }
    dice = number % 17
    if dice == 3:
        first = Attempt(provider="groq", model="fast", status=429, error="too many requests", began_ms=1, ms=31)
        second = Attempt(provider=provider, model=model, status=200, cost=cost, began_ms=33, ms=answered)
        row |= {"attempts": [first, second], "route": "fast"}
    elif dice == 9:
        refused = {"status": 402, "error": "limit-exceeded", "key": "eval-batch", "project": "research", "user": None}
        row |= {**refused, "cost": "0", "certainty": None, "attempts": [], "usage": None, "raw_usage": None}
        row |= {"provider": None, "ms_total": 3.0, "ms_first_byte": None, "price": None}
    elif dice == 14:
        row |= {"certainty": "estimated", "tags": {"customer": "acme", "run": "nightly"}, "run": "nightly-1112"}
    if number % 41 == 30:
        broken = [Attempt(provider="bedrock", model=model, status=503, error="upstream-unreachable", ms=2010)]
        row |= {"status": 502, "error": "upstream-unreachable", "attempts": broken, "provider": "bedrock"}
        row |= {"cost": "0", "usage": None, "raw_usage": None, "certainty": None, "ms_total": 2013.0}
    if number % 5 == 0:
        row["trace_id"] = f"{number * 7919:032x}"
    return Request.model_validate(row)


def requests() -> list[Request]:
    """The last hour's requests, newest first."""
    chance = random.Random(1112)
    found: list[Request] = []
    time = NOW - timedelta(seconds=2)
    while time > NOW - timedelta(hours=1):
        found.append(_request(4000 - len(found), time, chance))
        wave = 5 + 14 * abs((time.minute % 20) - 8) / 8
        time -= timedelta(seconds=round(chance.expovariate(1 / wave), 2) + 0.4)
    return found


def _total(group: Mapping[str, str | None], requests: int, cost: float, errors: int = 0) -> UsageTotal:
    return UsageTotal(
        group=dict(group),
        requests=requests,
        errors=errors,
        input_tokens=requests * 2310,
        output_tokens=requests * 407,
        cache_read_tokens=requests * 771,
        cache_write_tokens=0,
        cost=f"{cost:.6f}",
    )


NAMES: Mapping[str, tuple[str | None, ...]] = {
    "model": tuple(model for _, _, model, _ in MODELS),
    "key": tuple(name for name, _, _, _, _ in KEYS[:6]),
    "project": ("research", "product", "platform", None),
    "user": (None, "bob", "alice"),
    "provider": tuple(provider for provider, _, _, _ in MODELS),
    "route": ("openai", "anthropic", "fast", "google-vertex"),
    "session": ("5d1b7c62-0f0e-4a7e-9c55-2f6d0f3f1c9a", "01998f6e-77aa-7c01-b2f4-6f2c41d0a9b2", None),
}
SHARES = (0.44, 0.29, 0.16, 0.07, 0.03, 0.01)


def usage(by: Iterable[str], since: datetime, until: datetime | None) -> UsageReport:
    """Totals, by whatever is asked for."""
    cost = 36.57 if until is None else 32.6
    whole = _total({}, 4127, cost, 88)
    bucket = next((name for name in by if name in ("hour", "day")), None)
    group = next((name for name in by if name != bucket), None)
    shares: list[tuple[dict[str, str | None], float]] = [({}, 1.0)]
    if group is not None:
        shares = [({group: name}, share) for name, share in zip(NAMES[group], SHARES, strict=False)]
    if bucket is not None:
        chance = random.Random(f"{bucket} {group}")
        step = timedelta(hours=1) if bucket == "hour" else timedelta(days=1)
        count = int((NOW - since) / step) + 1
        sizes = [0.4 + abs(place % 12 - 6) / 4 + chance.random() for place in range(count)]
        shares = [
            ({bucket: (since + place * step).isoformat(), **names}, share * size / sum(sizes) * (0.6 + chance.random()))
            for place, size in enumerate(sizes)
            for names, share in shares
        ]
    items = [_total(names, int(4127 * share), cost * share, int(70 * share)) for names, share in shares]
    return UsageReport(items=items if group or bucket else [], total=whole)


def audit() -> list[AuditEntry]:
    """What was changed."""
    entries: tuple[tuple[str, str, str, str, dict[str, object] | None, dict[str, object] | None], ...] = (
        ("admin", "update", "key", "ci-bot", {"limits": {"daily": "3"}}, {"limits": {"daily": "5"}}),
        ("admin", "create", "key", "vision-poc", None, {"project": "product", "user": "alice"}),
        ("deploy", "apply", "route", "fast", {"members": 3}, {"members": 4}),
        ("admin", "disable", "key", "crawler", {"state": "active"}, {"state": "disabled"}),
        ("admin", "rotate", "key", "support-chat", {"hint": "paig_91ab"}, {"hint": "paig_9249"}),
        ("deploy", "delete", "key", "old-crawler", {"project": "platform"}, None),
        ("deploy", "create", "provider", "bedrock", None, {"kind": "bedrock", "credential": "env:BEDROCK_API_KEY"}),
    )
    return [
        AuditEntry(
            id=f"audit_{900 - place}",
            time=NOW - timedelta(minutes=7 + 53 * place),
            actor=actor,
            action=action,
            kind=kind,
            name=name,
            before=before,
            after=after,
        )
        for place, (actor, action, kind, name, before, after) in enumerate(entries)
    ]


def identity() -> Identity:
    """The user: one with every permission."""
    every: list[Permission] = [*get_args(Permission)]
    return Identity(name="token:admin", permissions=every, projects={}, expires_at=None, session=False)


def health() -> Health:
    """The gateway's own state."""
    return Health(status="ok", version="0.1.0", database="postgresql", node="gw-1", nodes=2, started_at=MADE)


class Still(AsyncAdminClient):
    """The admin API of a gateway at which nothing moves.

    Args:
        empty: Whether it has just been set up.
    """

    def __init__(self, *, empty: bool = False) -> None:
        super().__init__("https://gw.internal:8787", token="none")
        self.empty = empty
        self.down = False

    async def send(self, call: ApiCall[T], /) -> T:
        """The scene's answer, read as a real one is."""
        if self.down:
            raise GatewayUnreachable(self.url, "connection refused")
        return call.read(json.dumps(self._answer(call.path, call.query or {})).encode())

    def _answer(self, path: str, query: Mapping[str, QueryValue]) -> object:
        if path == "health":
            return health().model_dump(mode="json")
        if path == "organisation":
            return {"limits": {"monthly": "2000"}}
        if path == "whoami":
            return identity().model_dump(mode="json")
        if path == "usage":
            since, until, by = query.get("since"), query.get("until"), query.get("by")
            assert isinstance(since, datetime)
            found = usage(by or (), since, until if isinstance(until, datetime) else None)  # type: ignore[arg-type]
            nothing = UsageReport(items=[], total=_total({}, 0, 0))
            return (nothing if self.empty else found).model_dump(mode="json")
        if path == "requests":
            rows = [] if self.empty else requests()
            return RequestPage(items=rows[: int(str(query.get("limit") or 100))], next_cursor=None).model_dump(
                mode="json"
            )
        if path == f"sessions/{SESSION}":
            return session().model_dump(mode="json")
        lists: Mapping[str, Iterable[BaseModel]] = {
            **{
                "keys": keys(),
                "limits": [*limits(), *counters()],
                "providers": providers(),
                "routes": routes(),
                "audit": audit(),
            },
            "health/providers": provider_health(),
            "limits/requests": asks(),
            "limits/raises": raises(),
            "named-limits": named_limits(),
            "sessions": sessions(),
        }
        if path in OWNERS:
            return {"items": [] if self.empty else owners(path)}
        return {"items": [] if self.empty else [item.model_dump(mode="json") for item in lists[path]]}

    async def events(self, *, last_event_id: str | None = None) -> AsyncGenerator[Event]:
        """None, ever."""
        await asyncio.Event().wait()
        yield Event("", "", None, None, None, "")
