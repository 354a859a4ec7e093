"""Examples for the OpenAPI document, by the name of the schema that each is one of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from paig_client.api.limits import LimitsSpec

_STAMP = {"version": 3, "created_at": "2026-11-02T09:15:00Z", "updated_at": "2026-11-20T16:40:12Z"}
_NO_CAPS = LimitsSpec().model_dump(mode="json")
_REQUEST = {
    "id": "req_0193a1b2c3d4e5f6",
    "time": "2026-11-23T12:04:29.120Z",
    "state": "settled",
    "status": 200,
    "key": "ci",
    "project": "research",
    "user": None,
    "route": "openai",
    "provider": "openai",
    "model": "gpt-5",
    "format": "openai-chat",
    "stream": True,
    "usage": {"input_tokens": 812, "output_tokens": 164, "cache_read_tokens": 512, "cache_write_tokens": 0},
    "raw_usage": {"prompt_tokens": 812, "completion_tokens": 164, "prompt_tokens_details": {"cached_tokens": 512}},
    "cost": "0.002079",
    "reserved": "0.0215",
    "certainty": "exact",
    "price": "openai/gpt-5",
    "attempts": [
        {
            "provider": "openai",
            "model": "gpt-5",
            "credential": "3f9a12cd",
            "status": 200,
            "error": None,
            "cost": "0.002079",
            "began_ms": 1.4,
            "ms": 2011.4,
        }
    ],
    "tags": {"run": "nightly"},
    "run": None,
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "error": None,
    "ms_total": 2020.8,
    "ms_first_byte": 412.6,
    "ms_gateway": 1.9,
}
_FIGURES_OF_SESSION = {
    "began": "2026-11-23T12:00:02Z", "ended": "2026-11-23T12:04:29Z", "requests": 41, "errors": 1,
    "input_tokens": 812345, "output_tokens": 16402, "cache_read_tokens": 701120, "cache_write_tokens": 40112,
    "cost": "1.2032", "ms_busy": 181020.4,
}  # fmt: skip
_SESSION = {
    "session": "0193a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", "key": "ci", "project": "research", "user": None, "agents": 1,
    "stopped_by": None, **_FIGURES_OF_SESSION,
}  # fmt: skip
_AGENT = {**_FIGURES_OF_SESSION, "models": ["claude-sonnet-4-5"], "cost": "0.4122"}
_LIMIT = {
    "owner_kind": "key",
    "owner": "ci",
    "unit": "usd",
    "window": "daily",
    "amount": "1",
    "spent": "0.412",
    "held": "0.0215",
    "left": "0.5665",
    "resets_at": "2026-11-24T00:00:00Z",
    "soft": False,
}
_CHANGE = {
    "id": "aud_0193a1b2c3d40000f00dcafe",
    "time": "2026-11-20T16:40:12Z",
    "actor": "token:admin",
    "action": "update",
    "kind": "key",
    "name": "ci",
    "before": {"project": "research"},
    "after": {"project": "research", "limits": {"daily": "1"}},
}
_TOTAL = {
    "group": {"model": "gpt-5"},
    "requests": 1204,
    "errors": 11,
    "input_tokens": 1048576,
    "output_tokens": 262144,
    "cache_read_tokens": 524288,
    "cache_write_tokens": 0,
    "cost": "3.338",
}

_FIGURES = {"tries": 214, "ok_share": 0.967, "p95_ms": 3104.2, "throttled": 1, "failures": {"503": 6, "429": 1}}

EVENTS = f"""\
: here come the events

event: request
id: 1795435469.req_0193a1b2c3d4e5f6~aud_0193a1b2c3d40000f00dcafe~0
data: {json.dumps(_REQUEST)}

"""
"""The beginning of a stream of events."""

EXAMPLES: Mapping[str, list[Mapping[str, Any]]] = {
    "CreateProvider": [
        {"name": "openai", "kind": "openai", "credential": "env:OPENAI_API_KEY"},
        {"name": "house", "kind": "openai-compatible", "base_url": "http://10.0.0.7:8000/v1", "require_price": False},
    ],
    "ChangeProvider": [
        {"credential": "keyring:paig/openai"},
        {"credential": None, "credentials": ["env:OPENAI_KEY_1", "env:OPENAI_KEY_2"]},
    ],
    "Provider": [
        {
            "id": "prov_5f2c81d09a7b6e43", "name": "openai", **_STAMP, "kind": "openai",
            "base_url": "https://api.openai.com/v1", "credential": "env:OPENAI_API_KEY",
            "credentials": [{"id": "3f9a12cd", "reference": "env:OPENAI_API_KEY"}],
            "options": {"inject_cost": True, "on_disconnect": "drain"},
        }
    ],
    "CreateRoute": [
        {
            "name": "fast",
            "members": [{"provider": "groq", "priority": 10, "weight": 3}, {"provider": "openai", "priority": 5}],
        }
    ],
    "Route": [
        {
            "id": "route_7a6b5c4d3e2f1098", "name": "fast", **_STAMP, "choice": "weighted", "affinity": True,
            "members": [
                {"provider": "groq", "priority": 10, "weight": 3, "active": True, "models": {}},
                {"provider": "openai", "priority": 5, "weight": 1, "active": True, "models": {}},
            ],
            "timeouts": {"deadline": 60},
        }
    ],
    "ChangeRoute": [{"members": [{"provider": "openai"}]}],
    "CreateOwnPrice": [
        {"name": "my-model", "provider": "house", "input_mtok": "0.5", "output_mtok": "1.5", "context_window": 32768}
    ],
    "ChangeOwnPrice": [{"output_mtok": "1.2"}],
    "OwnPrice": [
        {
            "id": "price_1b2c3d4e5f607182", "name": "my-model", **_STAMP,
            "spec": {
                "model": None, "provider": "house", "since": None, "context_window": 32768, "max_output": None,
                "input_mtok": "0.5", "output_mtok": "1.5",
            },
        }
    ],
    "Repricing": [
        {
            "items": [
                {
                    "provider": "openai", "model": "gpt-5", "price": "openai/gpt-5", "new_price": "own/gpt-5",
                    "requests": 1204, "cost": "3.338", "repriced": "2.67", "difference": "-0.668",
                }
            ],
            "requests": 1204, "cost": "3.338", "repriced": "2.67", "difference": "-0.668", "left": 3,
        }
    ],
    "Pruned": [{"requests": 48210}],
    "PruneSpec": [{"before": "2026-08-01T00:00:00Z"}],
    "CreateProject": [{"name": "research", "limits": {"daily": "10", "monthly": "100"}}],
    "ChangeProject": [{"limits": {"daily": None}, "telemetry": {"content": True}}],
    "Project": [{"id": "proj_0c4d9e8f7a6b5c3d", "name": "research", **_STAMP, "limits": {**_NO_CAPS, "daily": "10"}}],
    "CreateOwner": [{"name": "ada", "limits": {"daily": "10", "monthly": "100"}}],
    "ChangeOwner": [{"limits": {"daily": None, "weekly": "50"}}],
    "OwnerSpec": [{"limits": {"monthly": "1000"}}],
    "Organisation": [{"limits": {**_NO_CAPS, "monthly": "1000"}, "timezone": "Europe/Berlin", "warnings": []}],
    "OrganisationSpec": [{"limits": {"monthly": "1000"}, "timezone": "Europe/Berlin"}],
    "ChangeOrganisation": [{"limits": {"daily": None}, "when_tight": "lower"}],
    "CreateNamedLimit": [
        {
            "name": "gpt-per-customer", "match": {"model": "gpt-*", "tag": "customer"}, "per": "tag:customer",
            "daily": "5",
        }
    ],
    "RaiseSpec": [
        {
            "owner_kind": "key", "owner": "ci", "window": "daily", "to": "20", "until": "2026-11-23T18:00:00Z",
            "why": "release day",
        }
    ],
    "LimitRaise": [
        {
            "id": "raise_0c4d9e8f7a6b5c3d", "owner_kind": "key", "owner": "ci", "unit": "usd", "window": "daily",
            "member": None, "amount": "20", "actor": "admin:ada", "why": "release day",
            "since": "2026-11-23T12:00:00Z", "until": "2026-11-23T18:00:00Z",
        }
    ],
    "LimitRequest": [
        {
            "id": "ask_0c4d9e8f7a6b5c3d", "owner_kind": "key", "owner": "ci", "unit": "usd", "window": "daily",
            "member": None, "key": "ci", "amount": "10", "why": "a long refactoring", "time": "2026-11-23T12:00:00Z",
            "state": "open", "actor": None, "decided_at": None, "answer": None,
        }
    ],
    "AskSpec": [{"to": "10", "why": "a long refactoring"}],
    "AnswerSpec": [{"until": "2026-11-23T18:00:00Z", "answer": "until this evening"}],
    "ChangeNamedLimit": [{"daily": "10"}],
    "NamedLimit": [
        {
            "id": "nlim_0c4d9e8f7a6b5c3d", "name": "gpt-per-customer", **_STAMP, **_NO_CAPS, "daily": "5",
            "match": {"model": "gpt-*", "tag": "customer"}, "per": "tag:customer", "max_members": 10000,
        }
    ],
    "Owner": [{"id": "user_0c4d9e8f7a6b5c3d", "name": "ada", **_STAMP, "limits": {**_NO_CAPS, "daily": "10"}}],
    "CreateKey": [
        {
            "name": "ci", "project": "research", "routes": ["openai", "fast"], "models": ["gpt-5*"],
            "limits": {"daily": "1", "total": "20", "requests_per_minute": 600}, "expires_at": "2027-01-31T00:00:00Z",
        }
    ],
    "ChangeKey": [{"limits": {"daily": "2"}, "expires_at": None}],
    "Key": [
        {
            "id": "key_9f86d081884c7d65", "name": "ci", **_STAMP, "hint": "paig_7f3a", "status": "active",
            "project": "research", "user": None, "routes": ["openai", "fast"], "models": ["gpt-5*"],
            "limits": {**_NO_CAPS, "daily": "1"}, "expires_at": "2027-01-31T00:00:00Z",
        }
    ],
    "NewKey": [{"id": "key_9f86d081884c7d65", "name": "ci", "key": "paig_7f3aXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX"}],
    "CreateAdmin": [
        {"name": "ada@example.com", "grants": [{"role": "admin"}]},
        {"name": "research-bot", "grants": [{"role": "editor", "project": "research"}]},
    ],
    "ChangeAdmin": [{"grants": [{"role": "viewer"}]}, {"active": False}],
    "Admin": [
        {
            "id": "adm_1f0e2d3c4b5a6978", "name": "research-bot", **_STAMP,
            "grants": [{"role": "editor", "project": "research"}], "active": True, "sso": False,
        }
    ],
    "CreateToken": [
        {
            "name": "ci", "admin": "research-bot", "scopes": ["keys:write", "catalog:read"],
            "expires_at": "2027-01-31T00:00:00Z",
        }
    ],
    "Token": [
        {
            "id": "tok_8c7b6a5948372615", "name": "ci", "admin": "research-bot", "hint": "paig_admin_7f3a",
            "session": False, "scopes": ["catalog:read", "keys:write"], "expires_at": "2027-01-31T00:00:00Z",
            "created_at": "2026-11-20T16:40:12Z",
        }
    ],
    "NewToken": [
        {"id": "tok_8c7b6a5948372615", "name": "ci", "token": "paig_admin_7f3aXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX"}
    ],
    "FinishDeviceSpec": [{"handle": "gAAAAABk…"}],
    "DeviceStart": [
        {
            "handle": "gAAAAABk…", "user_code": "WDJB-MJHT", "verification_uri": "https://login.example.com/device",
            "verification_uri_complete": "https://login.example.com/device?user_code=WDJB-MJHT", "expires_in": 600,
            "interval": 5,
        }
    ],
    "DeviceState": [
        {
            "admin": None, "token": None, "expires_at": None, "slow_down": False,
            "key": None, "key_name": None, "key_expires_at": None, "handle": None,
        },
        {
            "admin": "ada@example.com", "token": "paig_admin_7f3aXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
            "expires_at": "2026-11-24T00:00:00Z", "slow_down": False,
            "key": "paig_9c1bXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX", "key_name": "ada@example.com 5a10c3d2",
            "key_expires_at": "2026-11-23T20:00:00Z", "handle": "gAAAAABk…",
        },
    ],
    "SpentSpec": [{"amount": "12.34", "time": "2026-11-20T00:00:00Z", "source": "litellm:5d1c0a7e"}],
    "PersonalKeySpec": [{"handle": "gAAAAABk…"}],
    "PersonalKeyState": [{"expires_at": "2026-11-23T22:00:00Z", "handle": "gAAAAABk…"}],
    "Identity": [
        {
            "name": "admin:research-bot/ci", "permissions": [],
            "projects": {"research": ["catalog:read", "keys:write"]}, "expires_at": "2027-01-31T00:00:00Z",
            "session": False,
        }
    ],
    "LimitStatus": [_LIMIT],
    "Me": [
        {
            "key": "ci", "project": "research", "user": "ada", "expires_at": None, "routes": ["fast", "openai"],
            "models": ["gpt-5*"], "when_tight": "fit", "spent_today": "0.42", "requests_today": 17,
            "limits": [{**_LIMIT, "reached_at": None}], "requests": [],
        }
    ],
    "MyRequestList": [
        {
            "items": [
                {
                    "id": "req_019b3a5e7c", "time": "2026-11-23T12:00:00Z", "state": "settled", "status": 200,
                    "model": "gpt-5-mini", "route": "fast", "cost": "0.00042", "error": None, "refusal": None,
                    "provider": "openai", "usage": {"input_tokens": 120, "output_tokens": 190}, "certainty": "exact",
                    "certainty_reason": None, "fitted": "max_completion_tokens=4096",
                }
            ]
        }
    ],
    "Request": [_REQUEST],
    "Session": [_SESSION],
    "SessionTree": [
        {
            **_SESSION,
            "tree": [
                {**_AGENT, "id": None, "name": None, "depth": 0, "total_cost": "1.2032"},
                {**_AGENT, "id": "a7f3", "name": "Explore", "depth": 1, "cost": "0.791", "total_cost": "0.791"},
            ],
        }
    ],
    "StoredObjectPage": [
        {
            "items": [
                {
                    "provider": "openai", "id": "file-9f86d081", "kind": "file", "key": "ci", "project": "research",
                    "created_at": "2026-11-23T12:04:29Z",
                }
            ],
            "next_cursor": None,
        }
    ],
    "AdoptSpec": [{"route": "openai", "project": "research"}],
    "Adopted": [
        {"route": "openai", "project": "research", "adopted": {"batch": 2, "file": 31}, "owned": 7, "problems": []}
    ],
    "UsageReport": [{"items": [_TOTAL], "total": {**_TOTAL, "group": {}}}],
    "AuditEntry": [_CHANGE],
    "AuditVerification": [{"rows": 1284, "head": "1284:5d1c0a7e", "problem": None}],
    "ProviderCheck": [
        {
            "provider": "openai", "ok": False, "outcome": "unauthorised",
            "message": "It does not take the credential: is it whole, of this provider, and not revoked?",
            "request": "GET https://api.openai.com/v1/models", "status": 401, "models": None, "ms": 182.4,
        }
    ],
    "ProviderHealth": [
        {
            "provider": "openai", "state": "half-open", **_FIGURES,
            "credentials": [
                {
                    "credential": "cred_5f2c81d09a7b", "state": "half-open", "since": "2026-11-23T12:04:31Z",
                    "until": None, "reason": "503", "waits": [], "last_error": "503",
                    "last_error_at": "2026-11-23T12:04:25Z", **_FIGURES,
                    "nodes": [
                        {
                            "node": "node_4be1f02a", "state": "half-open", "since": "2026-11-23T12:04:31Z",
                            "until": None, "reason": "503", "own": True,
                        }
                    ],
                }
            ],
        }
    ],
    "Health": [
        {
            "status": "ok", "version": "0.1.0", "database": "sqlite", "node": "node_4be1f02a", "nodes": 1,
            "started_at": "2026-11-23T08:00:00Z",
        }
    ],
    "ApplySpec": [{"config": '[projects.research]\nlimits = { daily = 10 }\n', "dry_run": True}],
    "AppliedConfig": [
        {
            "items": [
                {
                    "action": "change", "kind": "project", "name": "research",
                    "changes": {"limits": [{"daily": "5"}, {"daily": "10"}]},
                }
            ],
            "keys": [],
            "drift": [_CHANGE],
        }
    ],
    "Problem": [
        {
            "type": "/admin/docs#invalid",
            "title": "The request is not valid",
            "status": 422,
            "detail": "limits.daily: must be zero or more, and at most a billion dollars",
            "code": "invalid",
            "errors": [
                {"field": "limits.daily", "message": "must be zero or more, and at most a billion dollars"}
            ],
        }
    ],
}  # fmt: skip
