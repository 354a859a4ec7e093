"""The output maximum is written into the member that the provider heeds; no other byte changes."""

from __future__ import annotations

import pytest

from paig_gateway.formats.maximum import set_maximum


@pytest.mark.parametrize(
    ("fmt", "field", "body", "after", "said"),
    [
        (
            "openai-chat", "max_completion_tokens", b'{"n":1}',
            b'{"max_completion_tokens":9,"n":1}', "max_completion_tokens",
        ),
        ("openai-chat", "max_tokens", b'{"n":1}', b'{"max_tokens":9,"n":1}', "max_tokens"),
        ("openai-chat", "max_completion_tokens", b'{"max_tokens": 500}', b'{"max_tokens": 9}', "max_tokens"),
        (
            "openai-chat", "max_tokens", b'{"max_tokens":5,"max_completion_tokens":7}',
            b'{"max_tokens":9,"max_completion_tokens":9}', "max_completion_tokens,max_tokens",
        ),
        ("openai-responses", "max_output_tokens", b'{}', b'{"max_output_tokens":9}', "max_output_tokens"),
        ("anthropic", "max_tokens", b'{"max\\u005ftokens":64000}', b'{"max\\u005ftokens":9}', "max_tokens"),
        (
            "gemini", "generationConfig.maxOutputTokens", b'{"contents":[]}',
            b'{"generationConfig":{"maxOutputTokens":9},"contents":[]}', "generationConfig.maxOutputTokens",
        ),
        (
            "gemini", "generationConfig.maxOutputTokens", b'{"generation_config":{"top_k":1}}',
            b'{"generation_config":{"max_output_tokens":9,"top_k":1}}', "generation_config.max_output_tokens",
        ),
        (
            "gemini", "generationConfig.maxOutputTokens", b'{"generationConfig":{"maxOutputTokens":800}}',
            b'{"generationConfig":{"maxOutputTokens":9}}', "generationConfig.maxOutputTokens",
        ),
        (
            "bedrock-converse", "inferenceConfig.maxTokens", b'{"inferenceConfig":{"topP":1}}',
            b'{"inferenceConfig":{"maxTokens":9,"topP":1}}', "inferenceConfig.maxTokens",
        ),
        (
            "bedrock-converse", "inferenceConfig.maxTokens", b'{"inferenceConfig":null}',
            b'{"inferenceConfig":{"maxTokens":9}}', "inferenceConfig.maxTokens",
        ),
        ("bedrock-invoke", "", b'{"anthropic_version":"x"}', b'{"max_tokens":9,"anthropic_version":"x"}', "max_tokens"),
        (
            "bedrock-invoke", "", b'{"schemaVersion":"messages-v1","inferenceConfig":{"max_new_tokens":70}}',
            b'{"schemaVersion":"messages-v1","inferenceConfig":{"max_new_tokens":9}}', "inferenceConfig.max_new_tokens",
        ),
    ],
)  # fmt: skip
def test_the_maximum_goes_where_it_is_heeded(fmt: str, field: str, body: bytes, after: bytes, said: str) -> None:
    assert set_maximum(body, fmt, field, 9) == (after, said)


@pytest.mark.parametrize(
    ("fmt", "body"),
    [
        ("openai-images", b'{"n":1}'),
        ("bedrock-invoke", b'{"prompt":"x"}'),
        ("bedrock-converse", b'{"additionalModelRequestFields":{"max_tokens":100}}'),
    ],
)
def test_what_no_known_member_bounds_is_left_alone(fmt: str, body: bytes) -> None:
    assert set_maximum(body, fmt, "max_tokens", 9) is None


@pytest.mark.parametrize(
    ("body", "after"),
    [
        (b'{"max_completion_tokens":5}', b'{"max_tokens":9,"max_completion_tokens":5}'),
        (b'{"max_completion_tokens":5,"max_tokens":6}', b'{"max_completion_tokens":9,"max_tokens":9}'),
    ],
)
def test_a_member_that_is_not_heeded_does_not_stand_in(body: bytes, after: bytes) -> None:
    """DeepSeek ignores `max_completion_tokens`: a maximum that only it states would bound nothing."""
    changed = set_maximum(body, "openai-chat", "max_tokens", 9, alone=True)
    assert changed is not None
    assert changed[0] == after
