"""How a client's path becomes an upstream's, and which paths have one meaning at a kind of provider.

Users add, forget or double a version prefix (`/v1`, `/openai/v1`); every usual spelling means the same. The end of a
path tells its API format. What may stand before it is listed per kind, because after `/engines/gpt-5-pro` or in another
Vertex project the same ending would mean another model or account. Paths stay percent-encoded as they came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

BuildUrl = Callable[[str, str, Mapping[str, str]], str]
"""`(base_url, path, settings) -> URL`, `path` with a leading slash and without a query."""


@dataclass(frozen=True, slots=True)
class PathRule:
    """The paths of a kind of provider.

    Attributes:
        build: Makes the upstream's URL.
        before: What may stand in a client's path before the part that tells the API format.
        deployments: Whether `deployments/NAME/` in a path names the model.
    """

    build: BuildUrl
    before: re.Pattern[str]
    deployments: bool = False

    def __call__(self, base: str, path: str, settings: Mapping[str, str]) -> str:
        """The upstream's URL for a client's path."""
        return self.build(base, path, settings)

    def knows(
        self, base: str, path: str, claimed_at: int, settings: Mapping[str, str], *, metered: bool = True
    ) -> bool:
        """Whether a path has the meaning at this kind of provider that its ending suggests.

        Args:
            base: The provider's base URL.
            path: The client's path.
            claimed_at: Where the part begins in it that tells the API format.
            settings: The provider's settings.
            metered: Whether the request has a model, which `deployments/` in a path could name.
        """
        before, rest = path[:claimed_at], path[claimed_at:]
        own = "/" + base.split("://", 1)[-1].partition("/")[2]
        if own != "/":
            before = before.removeprefix(own)
        if self.before.fullmatch(before) is None or (
            metered and not self.deployments and "deployments/" in rest.lower()
        ):
            return False
        named = _VERTEX_PROJECT.match(path)
        return named is None or named[1] == ANY_PROJECT or settings.get("project", named[1]) == named[1]


def _joined(*prefixes: str) -> str:
    return "|".join(prefixes)


def fixed(*prefixes: str, keeps: str = "", messages: tuple[str, str] | None = None) -> PathRule:
    """The base URL holds the version: any of `prefixes` at the path's start is dropped, even if repeated.

    Args:
        *prefixes: The prefixes, besides OpenAI's own spelling (`/openai/v1`).
        keeps: A pattern of what may follow them, and is kept.
        messages: For another base URL of the Messages API: a pattern of the end of the base URL, and its replacement.
    """
    prefixes = (*prefixes, "/openai/v1")
    strip = re.compile(f"(?:(?:{_joined(*map(re.escape, prefixes))})(?=/))+")

    def build(base: str, path: str, settings: Mapping[str, str]) -> str:
        if messages is not None and (found := _MESSAGES.search(path)) is not None:
            return _messages_base(base, *messages) + found[1]
        match = strip.match(path)
        return base + (path[match.end() :] if match else path)

    before = _joined(*map(re.escape, prefixes), *(["/anthropic"] if messages else []))
    return PathRule(build, re.compile(f"(?:{before})*(?:{keeps})?"))


_MESSAGES = re.compile(r"^(?:/(?:api|anthropic|openai|paas|v\d+))*(/messages(?:/.*)?)$")


def _messages_base(base: str, own: str, instead: str) -> str:
    return re.sub(f"(?:{own})?$", "", re.sub(r"(?:/anthropic)?(?:/v1)?$", "", base), count=1) + instead


_V1 = re.compile(r"(?:(?:/openai)?/v1(?=/))+")


def _compatible(base: str, path: str, settings: Mapping[str, str]) -> str:
    own = base.split("://", 1)[-1].partition("/")[2]
    if own and path.startswith(f"/{own}/"):
        path = path.removeprefix(f"/{own}")
    match = _V1.match(path)
    if match is None:
        return base + path
    return base + ("" if own else "/v1") + path[match.end() :]


compatible = PathRule(_compatible, re.compile(r"(?:(?:/openai)?/v1)*"), deployments=True)
"""Any OpenAI-compatible server: as `fixed`, but a base URL that is a bare origin leaves the client's `/v1`."""


def beside(rule: PathRule, *others: tuple[str, str, str], before: str = "(?!)") -> PathRule:
    """A rule with paths that stand beside its base URL.

    Args:
        rule: What counts for all other paths.
        *others: For each: a pattern of a client's whole path, whose first group is kept; a pattern of the end of the
            base URL, which is dropped; what stands there instead.
        before: A pattern of what may stand before the part that tells the API format, besides what `rule` takes.
    """
    rows = [(re.compile(pattern), re.compile(f"(?:{own})?$"), instead) for pattern, own, instead in others]

    def build(base: str, path: str, settings: Mapping[str, str]) -> str:
        for pattern, own, instead in rows:
            if (found := pattern.fullmatch(path)) is not None:
                return own.sub("", base, count=1) + instead + found[1]
        return rule(base, path, settings)

    return PathRule(build, re.compile(f"{rule.before.pattern}|{before}"))


zai = beside(
    fixed("/api/paas/v4", "/v4", "/v1", messages=("(?:/coding)?/paas/v4", "/anthropic/v1")),
    (r"(?:/api)?/coding/paas/v4(?:/v\d)?(/.*)", "(?:/coding)?/paas/v4", "/coding/paas/v4"),
    before=r"(?:/api)?/coding/paas/v4(?:/v\d)?",
)
"""Z.ai: the plan for coding has a base URL of its own beside the usual one."""

_OPENAI_LIKE = fixed("/v1")
ollama = beside(_OPENAI_LIKE, (r"(?:/v1)*(/api/.*)", "/v1", ""))
"""Ollama: its own API (`/api/…`) stands beside the compatible ones under `/v1`."""

together = beside(_OPENAI_LIKE, (r"(?:/v1)*(/v2/.*)", "/v1", ""))
"""Together: videos and the management of its endpoints have a second version."""

fireworks = beside(
    fixed("/inference/v1", "/v1"),
    (r"(?:/inference)?(?:/v1)*(/accounts(?:/.*)?)", "/inference(?:/v1)?", "/v1"),
    (r"(/api/v1/.*)", "/inference(?:/v1)?", ""),
)
"""Fireworks: accounts and training stand beside the inference."""

perplexity = beside(
    _OPENAI_LIKE,
    (r"(?:(?:/openai)?/v1)*(/(?!openai/|v1/|chat/|async/|search(?:/|$)).*)", "/v1", "/v1"),
)
"""Perplexity: chat and search have no version, everything newer has one (perplexityai 0.46)."""


def versioned(default: str, *others: str, beside: str = "", below: str = "") -> PathRule:
    """The path holds the version: the last one if it is repeated, `default` if there is none.

    Args:
        default: The version if none is given.
        *others: Patterns of other versions.
        beside: A pattern of what may stand before the versions.
        below: A pattern of what may stand between them and the end.
    """
    one = f"(?:{_joined(re.escape(default), *others)})(?=/)"
    prefixes = re.compile(f"(?:{one})*({one})")
    versions = one.removesuffix("(?=/)")
    tail = re.compile(f"(?:{versions})$")

    def build(base: str, path: str, settings: Mapping[str, str]) -> str:
        match = prefixes.match(path)
        version, rest = (match.group(1), path[match.end() :]) if match else (default, path)
        if rest.startswith("/upload/"):
            version = ""
        return tail.sub("", base) + version + rest

    return PathRule(build, re.compile(f"(?:{beside})?(?:{versions})*(?:{below})?"))


_AZURE = re.compile(r"(?:(?:/openai)?/v1(?=/)|/openai(?=/))+")


_AZURE_MODELS = re.compile(r"^(?:/openai|/v1)*(/models/(?:chat/completions|embeddings)/?)$")


def _azure(base: str, path: str, settings: Mapping[str, str]) -> str:
    origin = re.sub(r"(?:/openai)?(?:/v1)?$", "", base)
    if (messages := _MESSAGES.search(path)) is not None:
        return f"{origin.removesuffix('/anthropic')}/anthropic/v1{messages[1]}"
    if (models := _AZURE_MODELS.search(path)) is not None:
        return f"{origin.removesuffix('/models')}{models[1]}"
    if path.startswith("/providers/"):
        return origin + path
    match = _AZURE.match(path)
    rest = path[match.end() :] if match else path
    return f"{origin}/openai{rest}" if rest.startswith("/deployments/") else f"{origin}/openai/v1{rest}"


azure = PathRule(
    _azure,
    re.compile(r"(?:/openai|/anthropic|/v1)*(?:/models)?|/providers/(?:cohere|mistral/azure)"),
    deployments=True,
)
"""Azure OpenAI: `/openai/deployments/…` or the versionless `/openai/v1/…`; the Messages API under `/anthropic`.

Other vendors' own APIs are below `/providers`.
"""


_BEDROCK_RUNTIME = re.compile(r"^(https://)bedrock-runtime\.")
_BEDROCK_HOSTS = (
    (
        "bedrock-agent-runtime",
        re.compile(
            "/(?:rerank|agents|flows|knowledgebases|sessions|retrieveAndGenerate|retrieveAndGenerateStream"
            "|generateQuery|agenticRetrieveStream|optimize-prompt)(?:/.*)?"
        ),
    ),
    (
        "bedrock",
        re.compile(
            "/(?:foundation-models|foundation-model-availability|inference-profiles|model-invocation-jobs?"
            "|guardrails|custom-models|imported-models|model-customization|model-customization-jobs|model-copy-jobs"
            "|model-import-jobs|evaluation-jobs?|advanced-prompt-optimization-jobs?|marketplace-model|prompt-routers"
            "|provisioned-model-throughputs?|automated-reasoning-policies)(?:/.*)?"
        ),
    ),
)
"""Hosts beside the runtime's, and the paths that they serve (botocore 1.44)."""


def _bedrock(base: str, path: str, settings: Mapping[str, str]) -> str:
    for host, served in _BEDROCK_HOSTS:
        if served.fullmatch(path):
            base = _BEDROCK_RUNTIME.sub(rf"\1{host}.", base)
    return base + path


bedrock = PathRule(_bedrock, re.compile(r"(?:/openai)?(?:/v1)?"))
"""Amazon Bedrock runtime: paths as they are, the model's percent-encoding untouched."""


_VERTEX = re.compile(r"(?:/(v1beta1|v1beta|v1alpha|v1)(?=/))+")
_VERTEX_LOCATION = re.compile(r"/projects/[^/]+/locations/([a-z0-9-]+)[/:]")
_VERTEX_PROJECT = re.compile(r"(?:/v1beta1|/v1beta|/v1alpha|/v1)*/projects/([^/]+)")
ANY_PROJECT = "paig"
"""What `paig run` names to clients that insist on a project: the provider's own. Ids at Google are longer."""
_ANY_PLACE = re.compile(rf"^/projects/{ANY_PROJECT}/locations/[a-z0-9-]+(?=/)")


def _vertex(base: str, path: str, settings: Mapping[str, str]) -> str:
    match = _VERTEX.match(path)
    version, rest = (match.group(1), path[match.end() :]) if match else ("v1beta1", path)
    if version in ("v1beta", "v1alpha"):
        version = "v1beta1"
    rest = _ANY_PLACE.sub("", rest)
    if rest.startswith("/models/"):
        rest = "/publishers/google" + rest
    elif (compatible_api := _OPENAI_ALONE.fullmatch(path)) is not None:
        rest = f"/endpoints/openapi{compatible_api[1]}"
    location = settings.get("location", "global")
    project = settings.get("project")
    if project and not rest.startswith(("/projects/", "/upload/")):
        rest = f"/projects/{project}/locations/{location}{rest}"
    elif (found := _VERTEX_LOCATION.match(rest)) and base.endswith("aiplatform.googleapis.com"):
        named = found.group(1)
        base = (
            "https://aiplatform.googleapis.com" if named == "global" else f"https://{named}-aiplatform.googleapis.com"
        )
    return f"{base}/{version}{rest}"


vertex = PathRule(
    _vertex,
    re.compile(
        r"(?:/v1beta1|/v1beta|/v1alpha|/v1)*(?:/projects/[^/]+/locations/[a-z0-9-]+)?"
        r"(?:/publishers/[a-z0-9-]+|/endpoints/openapi)?|/openai(?:/v1)*"
    ),
)
"""Vertex AI: project and location are filled in where the client names none.

Clients of the Gemini API's spelling (`/v1beta/models/…`) mean Google's own publisher.
"""

anthropic = beside(
    versioned("/v1"),
    (r"(?:/v1)*/(?:anthropic|openai)(?:/v1)*(/.*)", "/v1", "/v1"),
    before="(?:/v1)*/(?:anthropic|openai)(?:/v1)*",
)
"""Anthropic: the Messages API, and OpenAI's chat as its clients spell it."""

_OPENAI_ALONE = re.compile(
    r"(?:/(?:v1beta1|v1beta|v1alpha|v1|v2|openai|compatibility))*(/(?:chat/completions|completions|embeddings)/?)"
)
"""OpenAI's API at a provider whose own API has other endpoints, with any version or none before it."""

cohere = beside(
    versioned("/v2", "/v1", "/compatibility/v1"),
    (_OPENAI_ALONE.pattern, "(?:/compatibility)?/v[12]", "/compatibility/v1"),
    before="/openai(?:/v1)*",
)
"""Cohere: OpenAI's API is served below `/compatibility`."""

mistral = beside(
    versioned("/v1", "/v2"),
    (r"(?:/v1)*/openai(?:/v1)*(/.*)", "/v[12]", "/v1"),
    (r"(/(?:models/chat/completions|rawPredict|streamRawPredict|providers/mistral/azure/ocr)/?)", "/v[12]", ""),
    before="/models|/providers/mistral/azure|(?:/v1)*/openai(?:/v1)*",
)
"""Mistral, and its models at Azure and Google under the paths of its own SDKs for them."""

openrouter = beside(fixed("/api/v1", "/v1"), (r"(/api/alpha/.*)", "/api/v1", ""), before="/api/alpha")
"""OpenRouter: what is new stands beside the version."""

_HUGGING_FACE_TASKS = (
    r"(?:/v1)?(/(?:hf-inference|fal-ai|replicate|wavespeed|black-forest-labs|together/v2|novita/v3/hf"
    r"|zai-org/api/paas/v4/async)/.*)"
)
huggingface = beside(
    versioned(
        "/v1",
        r"/[a-z0-9-]+/(?:v1/openai|v1|v3/openai|openai/v1|inference/v1|compatibility/v1|api/paas/v4)",
    ),
    (_HUGGING_FACE_TASKS, "/v1", ""),
    (r"/openai/v1(/.*)", "/v1", "/v1"),
)
"""Hugging Face's router: `/v1` chooses a provider by itself, others are named before their own base path."""

_GEMINI = versioned("/v1beta", "/v1alpha", "/v1", beside="/upload|/download", below="/openai(?:/v1)*")
_VERTEX_VERSIONS = r"(?:/v1beta1|/v1beta|/v1alpha|/v1)*"
_VERTEX_PLACE = r"(?:/projects/[^/]+/locations/[a-z0-9-]+)?"
_VERTEX_PUBLISHER = r"(?:/publishers/google|/endpoints/openapi)?"
_VERTEX_SPELLED = re.compile(
    rf"(?P<versions>{_VERTEX_VERSIONS})(?P<place>{_VERTEX_PLACE})(?P<publisher>{_VERTEX_PUBLISHER})(?=/)"
)


_GEMINI_OPENAI = re.compile(r"(?:/v1beta|/v1alpha|/v1)*/openai(?:/v1)*(/.*)")


def _google(base: str, path: str, settings: Mapping[str, str]) -> str:
    found = _VERTEX_SPELLED.match(path)
    if found is not None and ("v1beta1" in found["versions"] or found["place"] or found["publisher"]):
        compatible_api = found["publisher"] == "/endpoints/openapi"
        path = f"/v1beta{'/openai' if compatible_api else ''}{path[found.end() :]}"
    if (openai := _GEMINI_OPENAI.fullmatch(path) or _OPENAI_ALONE.fullmatch(path)) is not None:
        return f"{re.sub(r'(?:/v1beta|/v1)?(?:/openai)?$', '', base)}/v1beta/openai{openai[1]}"
    return _GEMINI(base, path, settings)


google = PathRule(
    _google,
    re.compile(rf"{_GEMINI.before.pattern}|{_VERTEX_VERSIONS}{_VERTEX_PLACE}{_VERTEX_PUBLISHER}"),
)
"""The Gemini API.

Vertex AI's spelling means the same; project and location are left out, because the provider's key decides which account
pays.
"""

# Query parameters that a client may send to Google; others can remove the usage from the answer, or encode it.
_GOOGLE_PARAMETERS = frozenset({"alt", "key", "pagesize", "pagetoken", "uploadtype", "uploadid", "uploadprotocol"})
_GOOGLE_ALT = frozenset({"sse", "json"})


def google_query(query: bytes) -> str | None:
    """The first parameter of a query that may hide usage from the gateway at Google; None if there is none."""
    seen = []
    for part in filter(None, query.split(b"&")):
        name, _, value = (unquote_plus(each.decode("latin-1")) for each in part.partition(b"="))
        seen.append(name)
        if name.replace("_", "").lower() not in _GOOGLE_PARAMETERS or (
            name.lower() == "alt" and value not in _GOOGLE_ALT
        ):
            return name
    return "alt" if seen.count("alt") > 1 else None
