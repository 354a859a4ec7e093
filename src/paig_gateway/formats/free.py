"""Operations that cost nothing by themselves, and those whose cost cannot be seen from here.

What is free is listed; what costs and is not metered is listed as well, so that it can be refused to keys with a cap.
What is on neither list, nor metered, the gateway does not pass at all.
"""

from __future__ import annotations

import re
from dataclasses import replace

from paig_gateway.formats import reading
from paig_gateway.formats.base import Call, ErrorShape, Format

_ANY = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"})
_POST = frozenset({"POST"})
_LOOK = frozenset({"GET", "HEAD"})
_LOOK_OR_DELETE = _LOOK | {"DELETE"}
_LARGEST_READ = 1024 * 1024
"""Bytes of a body that is looked into for a model's name; uploads are larger and name none."""


def _read(model: str | None, body: bytes) -> Call:
    if model or body.lstrip()[:1] != b"{" or len(body) > _LARGEST_READ:
        return Call(model=model or "")
    return Call(model=reading.string(reading.members(body).get("model")) or "")


def _free(name: str, methods: frozenset[str], path: str, errors: ErrorShape = "openai") -> Format:
    return Format(name=name, path=re.compile(path), methods=methods, read=_read, errors=errors, metered=False)


def _unmetered(methods: frozenset[str], path: str, errors: ErrorShape = "openai") -> Format:
    return replace(_free("unmetered", methods, path, errors), unmetered=True)


_COLON = r"(?::|%3[Aa])"
# What may stand before a name below which everything is free; a project or a model of that name may not.
_VERSIONS = r"^(?:/(?:api|openai|paas|inference|compatibility|upload|download|v\d\w*))*/?"

COUNT_TOKENS = (
    _free("count-tokens", _POST, r"(?:^|/)responses/input_tokens/?$"),
    _free("count-tokens", _POST, r"(?:^|/)messages/count_tokens/?$", "anthropic"),
    _free(
        "count-tokens",
        _POST,
        r"(?:^|/)(?:models|tunedModels|endpoints)/(?P<model>[^/:]+?)" + _COLON + "(?:countTokens|computeTokens)$",
        "google",
    ),
    _free("count-tokens", _POST, r"(?:^|/)model/(?P<model>.+)/count-tokens$", "bedrock"),
    _free("count-tokens", _POST, r"(?:^|/)(?:de)?tokenize/?$"),
)

FREE = (
    _free("models", _LOOK, r"(?:^|/)models(?:/.+)?$"),
    _free("files", _ANY, _VERSIONS + r"(?:files|uploads|fileSearchStores)(?:[/:](?P<stored>[^/:]*).*)?$"),
    _free("moderations", _POST, r"(?:^|/)moderations/?$"),
    _free("conversations", _ANY, r"(?:^|/)conversations(?:/(?P<stored>[^/]+)(?:/items(?:/[^/]+)?)?)?/?$"),
    _free("other-free", frozenset({"DELETE"}), r"(?:^|/)responses/(?P<stored>[^/]+)/?$"),
    _free("other-free", _POST, r"(?:^|/)responses/(?P<stored>[^/]+)/cancel/?$"),
    _free("other-free", _LOOK, r"(?:^|/)responses/(?P<stored>[^/]+)/input_items/?$"),
    _free("other-free", _LOOK_OR_DELETE, r"(?:^|/)chat/completions(?:/(?P<stored>[^/]+)(?:/messages)?)?/?$"),
    _free("other-free", _ANY, _VERSIONS + r"(?:vector_stores|skills)(?:/(?P<stored>[^/]*).*)?$"),
    _free("other-free", _LOOK_OR_DELETE, r"(?:^|/)(?:batches|batch/jobs)(?:/(?P<stored>[^/]*).*)?$"),
    _free("other-free", _POST, r"(?:^|/)(?:messages/)?batches/(?P<stored>[^/]+)/cancel/?$"),
    _free("other-free", _LOOK_OR_DELETE, r"(?:^|/)(?:cachedContents|containers|videos)(?:/(?P<stored>[^/]*).*)?$"),
    _free("other-free", _LOOK_OR_DELETE, r"(?:^|/)fine_tuning(?:/(?:jobs|checkpoints)(?:/(?P<stored>[^/]*).*)?|/.*)?$"),
    _free("other-free", _LOOK_OR_DELETE, r"(?:^|/)(?:assistants|threads)(?:/(?P<stored>[^/]*).*)?$"),
)

# Calls over WebRTC, work that is done and billed later, what is billed by the hour or by the second.
UNMETERED = (
    _unmetered(_POST, r"(?:^|/)realtime/(?:calls|client_secrets|sessions|transcription_sessions)(?:/.*)?$"),
    _unmetered(_POST, r"(?:^|/)messages/batches/?$", "anthropic"),
    _unmetered(_POST, r"(?:^|/)batches/?$"),
    _unmetered(_POST, r"(?:^|/)batch/jobs/?$"),
    _unmetered(_POST, r"(?:^|/)fine_tuning/.+$"),
    _unmetered(_POST, r"(?:^|/)(?:assistants|threads)(?:/.*)?$"),
    _unmetered(_POST, r"(?:^|/)videos(?:/.*)?$"),
    _unmetered(_POST, r"(?:^|/)containers(?:/.*)?$"),
    _unmetered(_POST, r"(?:^|/)audio/(?:speech|transcriptions|translations)/?$"),
    _unmetered(_POST | {"PATCH"}, r"(?:^|/)cachedContents(?:/.*)?$", "google"),
    _unmetered(
        _POST,
        r"(?:^|/)models/(?P<model>[^/:]+?)"
        + _COLON
        + "(?:predict|predictLongRunning|batchGenerateContent|asyncBatchEmbedContent)$",
        "google",
    ),
    _unmetered(_POST, r"(?:^|/)async-invoke/?$", "bedrock"),
)
