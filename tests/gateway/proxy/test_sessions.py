"""Which session and agent a request belongs to, by what coding agents send."""

from __future__ import annotations

import json

import pytest

from paig_gateway.domain.errors import GatewayError
from paig_gateway.proxy.sessions import MOST_NESTED, AgentIds, FirstSessions, of_user_id, read

CLAUDE = {b"x-claude-code-session-id": b"s1"}
CODEX = {b"session-id": b"s1", b"thread-id": b"s1"}
OPENCODE = {b"x-session-id": b"child", b"x-session-affinity": b"child"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({b"x-claude-code-agent-id": b"a1"}, None),
        (CLAUDE, AgentIds("s1")),
        ({**CLAUDE, b"x-claude-code-agent-id": b"a1"}, AgentIds("s1", "a1")),
        (
            {
                **CLAUDE,
                b"x-claude-code-agent-id": b"a2",
                b"x-claude-code-parent-agent-id": b"a1",
                b"x-claude-code-agent-type": b"Explore",
            },
            AgentIds("s1", "a2", "a1", "Explore"),
        ),
        (CODEX, AgentIds("s1")),
        (
            {
                **CODEX,
                b"thread-id": b"t2",
                b"x-codex-parent-thread-id": b"s1",
                b"x-openai-subagent": b"review",
            },
            AgentIds("s1", "t2", None, "review"),
        ),
        ({**CODEX, b"thread-id": b"t3", b"x-codex-parent-thread-id": b"t2"}, AgentIds("s1", "t3", "t2")),
        ({b"session_id": b"s1", b"conversation_id": b"s1"}, AgentIds("s1")),
        ({b"conversation_id": b"s1"}, AgentIds("s1")),
        (OPENCODE, AgentIds("child")),
        ({**OPENCODE, b"x-parent-session-id": b"root"}, AgentIds("root", "child", nested=True)),
        ({b"agent-session-id": b"20261130_1"}, AgentIds("20261130_1")),
        ({b"x-paig-session": b"chat 7"}, AgentIds("chat 7")),
        (
            {
                b"x-paig-session": b"c",
                b"x-paig-agent": b"r2",
                b"x-paig-agent-parent": b"r1",
                b"x-paig-agent-name": b"w",
            },
            AgentIds("c", "r2", "r1", "w"),
        ),
        (
            {**CLAUDE, b"x-paig-session": b"mine", b"x-claude-code-agent-id": b"a1"},
            AgentIds("mine", "a1"),
        ),
    ],
)
def test_each_client_s_headers_are_read(headers: dict[bytes, bytes], expected: AgentIds | None) -> None:
    assert read(headers) == expected


@pytest.mark.parametrize("value", [b"x" * 129, b"two words", b"a\x00b", b"<script>", b"\xff\xfe"])
def test_a_wrong_id_in_a_foreign_header_is_ignored(value: bytes) -> None:
    assert read({b"x-claude-code-session-id": value}) is None
    assert read({**CLAUDE, b"x-claude-code-agent-id": value}) == AgentIds("s1")


@pytest.mark.parametrize("name", [b"x-paig-session", b"x-paig-agent", b"x-paig-agent-parent", b"x-paig-agent-name"])
def test_a_wrong_id_in_our_header_is_refused(name: bytes) -> None:
    with pytest.raises(GatewayError, match=name.decode()) as refused:
        read({b"x-paig-session": b"s", name: b"x" * 129})
    assert refused.value.code == "bad-request"


@pytest.mark.parametrize(
    ("user_id", "session"),
    [
        (None, None),
        ("user-17", None),
        ("user_ab_account_cd_session_01234567-89ab-cdef-0123-456789abcdef", "01234567-89ab-cdef-0123-456789abcdef"),
        (json.dumps({"device_id": "d", "account_uuid": "", "session_id": "s9"}), "s9"),
        (json.dumps({"session_id": 7}), None),
        ('{"session_id": ', None),
        ("[]", None),
        ('{"a":' * 200, None),
        (json.dumps({"session_id": "s", "more": "x" * 2000}), None),
    ],
)
def test_older_claude_code_writes_its_session_into_the_body(user_id: str | None, session: str | None) -> None:
    assert of_user_id(user_id) == (None if session is None else AgentIds(session))


def test_nested_sessions_lead_to_the_first() -> None:
    """Each names only its parent; keys do not see one another's."""
    first = FirstSessions()
    assert first.resolve("k", AgentIds("root")) == AgentIds("root")
    child = first.resolve("k", AgentIds("root", "child", nested=True))
    assert (child.session, child.agent, child.parent) == ("root", "child", None)
    grandchild = first.resolve("k", AgentIds("child", "grandchild", nested=True))
    assert (grandchild.session, grandchild.agent, grandchild.parent) == ("root", "grandchild", "child")
    other = first.resolve("other", AgentIds("child", "grandchild", nested=True))
    assert (other.session, other.parent) == ("child", None)


def test_nested_sessions_are_bounded_in_number() -> None:
    first = FirstSessions()
    for number in range(MOST_NESTED + 10):
        first.resolve("k", AgentIds("root", f"child-{number}", nested=True))
    assert len(first._known) == MOST_NESTED
