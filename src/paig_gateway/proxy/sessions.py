"""The session of a request, and the agent in it, from the ids that coding agents send.

The ids are not verified. They are bounded in length, and anything that does not look like an id is ignored, except in
one of our own headers, where it is an error.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from paig_gateway.domain.errors import GatewayError

MOST_NESTED = 10_000
"""The most nested sessions whose first session is remembered."""

_OURS = re.compile(r"[\w.:/@ -]{1,128}")
_ID = re.compile(r"[\w.:/@+=~-]{1,128}")
_OLD_CLAUDE = re.compile(r"_session_([0-9a-fA-F-]{8,64})$")


@dataclass(frozen=True, slots=True)
class AgentIds:
    """A client's ids of its session and of the agent in it.

    Attributes:
        agent: The agent; None for the session's main agent.
        parent: The agent that started it; None if that is the main agent, or not known.
        name: The kind of agent, for people.
        nested: Whether `session` is only the parent's session, which may have a parent itself.
    """

    session: str
    agent: str | None = None
    parent: str | None = None
    name: str | None = None
    nested: bool = False


@dataclass(frozen=True, slots=True)
class _IdHeaders:
    """The headers in which a client states its ids.

    Attributes:
        session: The headers that state the session; the first one present counts.
        agent: The header that states the agent.
        parent: The one that states the agent's parent; with `nests`, the parent's session.
        name: The one that states the agent's kind.
        nests: Whether each agent has its own session, which names its parent's.
    """

    session: tuple[bytes, ...]
    agent: bytes = b""
    parent: bytes = b""
    name: bytes = b""
    nests: bool = False


OURS = _IdHeaders((b"x-paig-session",), b"x-paig-agent", b"x-paig-agent-parent", b"x-paig-agent-name")
CLIENTS = (
    OURS,
    _IdHeaders(  # Claude Code
        (b"x-claude-code-session-id",),
        b"x-claude-code-agent-id",
        b"x-claude-code-parent-agent-id",
        b"x-claude-code-agent-type",
    ),
    _IdHeaders(  # Codex; pi sends `session-id` too
        (b"session-id", b"session_id", b"conversation_id"),
        b"thread-id",
        b"x-codex-parent-thread-id",
        b"x-openai-subagent",
    ),
    _IdHeaders((b"x-session-id", b"x-session-affinity"), parent=b"x-parent-session-id", nests=True),  # OpenCode
    _IdHeaders((b"agent-session-id",)),  # goose
)
"""By client, ours first: a session that `x-paig-session` names keeps the agents that the client itself names."""
STATED = frozenset(name for client in CLIENTS for name in client.session)


def read(headers: Mapping[bytes, bytes]) -> AgentIds | None:
    """The ids in a request's headers (lower-case names), or None if they name no session.

    Raises:
        GatewayError: `bad-request` if one of our own headers is not valid.
    """
    if not STATED & headers.keys():
        return None
    found = [(client, ids) for client in CLIENTS if (ids := _of(client, headers)) is not None]
    if not found:
        return None
    session = found[0][1].session
    inner = next((ids for _, ids in found if ids.agent is not None), None)
    return found[0][1] if inner is None else replace(inner, session=inner.session if inner.nested else session)


def _of(client: _IdHeaders, headers: Mapping[bytes, bytes]) -> AgentIds | None:
    session = next((value for name in client.session if (value := _id(name, headers))), None)
    if session is None:
        return None
    agent, parent, name = (_id(where, headers) for where in (client.agent, client.parent, client.name))
    if client.nests:
        return AgentIds(session) if parent is None or parent == session else AgentIds(parent, session, nested=True)
    if agent is None or agent == session:
        return AgentIds(session)
    return AgentIds(session, agent, None if parent in (session, agent) else parent, name)


def _id(name: bytes, headers: Mapping[bytes, bytes]) -> str | None:
    value = headers.get(name, b"").strip() if name else b""
    if not value:
        return None
    text = value.decode("utf-8", "replace")
    if name.startswith(b"x-paig-"):
        if not _OURS.fullmatch(text):
            raise GatewayError(
                "bad-request", f"The header {name.decode()} must be a name of at most 128 plain characters."
            )
        return text
    return text if _ID.fullmatch(text) else None


def of_user_id(user_id: str | None) -> AgentIds | None:
    """The session in an Anthropic request's `metadata.user_id`, where Claude Code wrote it; it has no agents."""
    if not user_id or len(user_id) > 1024:
        return None
    if match := _OLD_CLAUDE.search(user_id):
        return AgentIds(match[1])
    if not user_id.startswith("{"):
        return None
    try:
        session = json.loads(user_id).get("session_id")
    except ValueError:
        return None
    return AgentIds(session) if isinstance(session, str) and _ID.fullmatch(session) else None


@dataclass(slots=True)
class FirstSessions:
    """Finds the session that nested sessions began in, as far as their requests came through this process."""

    _known: OrderedDict[tuple[str, str], str] = field(default_factory=OrderedDict)

    def resolve(self, key_id: str, ids: AgentIds) -> AgentIds:
        """The same agent, in the session that the nested ones began in."""
        if not ids.nested or ids.agent is None:
            return ids
        first = self._known.get((key_id, ids.session), ids.session)
        self._known[key_id, ids.agent] = first
        self._known.move_to_end((key_id, ids.agent))
        while len(self._known) > MOST_NESTED:
            self._known.popitem(last=False)
        return replace(ids, session=first, parent=None if first == ids.session else ids.session)
