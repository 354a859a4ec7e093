"""How a client's path becomes an upstream's.

Users add, forget or double a version prefix (`/v1`, `/openai/v1`); every usual spelling means the same. Paths stay
percent-encoded as they came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

PathRule = Callable[[str, str, Mapping[str, str]], str]
"""`(base_url, path, settings) -> URL`, `path` with a leading slash and without a query."""


def fixed(*prefixes: str) -> PathRule:
    """The base URL holds the version: any of `prefixes`, however often, at the path's start is dropped."""
    strip = re.compile(f"(?:(?:{'|'.join(map(re.escape, prefixes))})(?=/))+")

    def rule(base: str, path: str, settings: Mapping[str, str]) -> str:
        match = strip.match(path)
        rest = path[match.end() :] if match else path
        return base + rest

    return rule


_V1 = re.compile(r"(?:(?:/openai)?/v1(?=/))+")


def compatible(base: str, path: str, settings: Mapping[str, str]) -> str:
    """Any OpenAI-compatible server: as `fixed`, but a base URL that is a bare origin leaves the client's `/v1`."""
    own = base.split("://", 1)[-1].partition("/")[2]
    if own and path.startswith(f"/{own}/"):
        path = path.removeprefix(f"/{own}")
    match = _V1.match(path)
    if match is None:
        return base + path
    return base + ("" if own else "/v1") + path[match.end() :]


def versioned(default: str, *others: str) -> PathRule:
    """The path holds the version: the last of repeated ones counts, `default` where there is none."""
    one = f"(?:{'|'.join([re.escape(default), *others])})(?=/)"
    prefixes = re.compile(f"(?:{one})*({one})")
    tail = re.compile(f"(?:{one.removesuffix('(?=/)')})$")

    def rule(base: str, path: str, settings: Mapping[str, str]) -> str:
        match = prefixes.match(path)
        version, rest = (match.group(1), path[match.end() :]) if match else (default, path)
        if rest.startswith("/upload/"):
            version = ""
        return tail.sub("", base) + version + rest

    return rule


_AZURE = re.compile(r"(?:(?:/openai)?/v1(?=/)|/openai(?=/))+")


def azure(base: str, path: str, settings: Mapping[str, str]) -> str:
    """Azure OpenAI: `/openai/deployments/…` or the versionless `/openai/v1/…`."""
    match = _AZURE.match(path)
    rest = path[match.end() :] if match else path
    origin = re.sub(r"(?:/openai)?(?:/v1)?$", "", base)
    return f"{origin}/openai{rest}" if rest.startswith("/deployments/") else f"{origin}/openai/v1{rest}"


def bedrock(base: str, path: str, settings: Mapping[str, str]) -> str:
    """Amazon Bedrock runtime: paths as they are, the model's percent-encoding untouched."""
    return base + path


_VERTEX = re.compile(r"(?:/(v1beta1|v1beta|v1alpha|v1)(?=/))+")
_VERTEX_LOCATION = re.compile(r"/projects/[^/]+/locations/([^/]+)/")


def vertex(base: str, path: str, settings: Mapping[str, str]) -> str:
    """Vertex AI: project and location are filled in where the client names none.

    Clients of the Gemini API's spelling (`/v1beta/models/…`) mean Google's own publisher.
    """
    match = _VERTEX.match(path)
    version, rest = (match.group(1), path[match.end() :]) if match else ("v1beta1", path)
    if version in ("v1beta", "v1alpha"):
        version = "v1beta1"
    if rest.startswith("/models/"):
        rest = "/publishers/google" + rest
    location = settings.get("location", "global")
    if rest.startswith("/publishers/") and (project := settings.get("project")):
        rest = f"/projects/{project}/locations/{location}{rest}"
    elif (found := _VERTEX_LOCATION.match(rest)) and base.endswith("aiplatform.googleapis.com"):
        named = found.group(1)
        base = (
            "https://aiplatform.googleapis.com" if named == "global" else f"https://{named}-aiplatform.googleapis.com"
        )
    return f"{base}/{version}{rest}"
