"""The lines of a batch: read once, used for the batch's hold, and kept until their results arrive.

Lines that differ only in their length form one group, so that a batch of fifty thousand lines takes little memory.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec

from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.route import Member
from paig_gateway.formats.base import Call, Format, MalformedRequest
from paig_gateway.formats.batches import BatchApi, BatchContent, BatchRequest
from paig_gateway.formats.references import stored_ids
from paig_gateway.pricing.modifiers import IN_BATCH
from paig_gateway.pricing.overrides import PriceSources
from paig_gateway.providers import endpoints
from paig_gateway.providers.kinds import KINDS
from paig_gateway.proxy.request import Stated, read_call
from paig_gateway.routing.candidates import MemberPlan, MemberPlans

MOST_LINES = 200_000
"""The most lines of a batch: OpenAI allows 50,000, Anthropic 100,000."""
LONGEST_LINE = 32 * 1024 * 1024
"""The most bytes of one line of a file."""
MOST_NAMED = 10_000
"""The most stored objects that the lines of a batch may name."""
MOST_KEPT = 256 * 1024 * 1024
"""The most bytes that are kept of a batch's lines, before compression."""
GROUP_BYTES = 1024
"""What a group takes besides its settings."""


class UnseenError(GatewayError):
    """The gateway cannot read a batch's lines; only a key with `allow_unmetered` may create it."""


class LineGroup(msgspec.Struct):
    """Lines that differ only in their length.

    Attributes:
        path: The path of such a request outside a batch.
        call: The request, without the length of its input.
        ids: The lines' ids.
        inputs: The bound of each line's input tokens.
        named: The stored objects that they name, except those that a group before them names; None for the groups
            that an older version kept.
    """

    path: str
    call: Call
    ids: list[str]
    inputs: list[int]
    named: list[str] | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[LineGroup]).decode


@dataclass(slots=True)
class BatchLines:
    """All lines of a batch; none, if it has a flat price."""

    groups: list[LineGroup] = field(default_factory=list)

    @property
    def at_flat_price(self) -> bool:
        """Whether the lines were not read, because the operator has set one price for the whole batch."""
        return not self.groups

    @property
    def count(self) -> int:
        return sum(len(group.ids) for group in self.groups)

    @property
    def models(self) -> list[str]:
        """The models of all lines, without duplicates."""
        named = [
            (group.call.model, *group.call.fallbacks, *(one.model for one in group.call.also)) for group in self.groups
        ]
        return list(dict.fromkeys(name for names in named for name in names if name))

    @property
    def named(self) -> list[str] | None:
        """The stored objects that they name, each once; None where that was not read."""
        found: dict[str, None] = {}
        for group in self.groups:
            if group.named is None:
                return None
            found |= dict.fromkeys(group.named)
        return list(found)

    def packed(self) -> bytes:
        return zlib.compress(_encode(self.groups), 6)

    @staticmethod
    def unpacked(data: bytes) -> BatchLines:
        return BatchLines(_decode(zlib.decompress(data, bufsize=1 << 16)))

    def of_batch(self, path_model: str | None) -> BatchLines:
        """The same lines with the model that only the batch's path names."""
        if path_model is None or not any("{model}" in group.path for group in self.groups):
            return self
        return BatchLines(
            [
                LineGroup(
                    group.path.replace("{model}", path_model),
                    replace(group.call, model=path_model),
                    group.ids,
                    group.inputs,
                    group.named,
                )
                if "{model}" in group.path
                else group
                for group in self.groups
            ]
        )


@dataclass(slots=True)
class LineReader:
    """Reads lines from the chunks of a file.

    Attributes:
        api: The provider's batch API.
        content: The batch's settings for all lines, as far as they are known.
    """

    api: BatchApi
    content: BatchContent
    kind: str
    count: int = 0
    _groups: dict[bytes, LineGroup] = field(default_factory=dict)
    _matches: dict[str, endpoints.Match] = field(default_factory=dict)
    _rest: bytearray = field(default_factory=bytearray)
    _size: int = 0
    _named: set[str] = field(default_factory=set)

    def feed(self, data: bytes) -> None:
        """Take bytes of a file.

        Raises:
            GatewayError: `bad-request` if a line cannot be read; `no-price` if the gateway cannot see its cost.
        """
        first, *others = data.split(b"\n")
        self._rest += first
        for line in others:
            self._line(bytes(self._rest))
            self._rest = bytearray(line)
        if len(self._rest) > LONGEST_LINE:
            raise _wrong(f"Line {self.count + 1} of the batch's file is longer than {LONGEST_LINE // 2**20} MB.")

    def end(self) -> BatchLines:
        """Finish, and return all lines. Raises as `feed` does."""
        rest, self._rest = bytes(self._rest), bytearray()
        self._line(rest)
        return BatchLines(list(self._groups.values()))

    def add(self, lines: Iterable[BatchRequest]) -> None:
        """Add lines of the request's body. Raises as `feed` does."""
        try:
            for line in lines:
                self._add(line)
        except MalformedRequest as error:
            raise _wrong(str(error)) from None

    def _line(self, raw: bytes) -> None:
        if self.count == 0:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        raw = raw.strip()
        if not raw:
            return
        try:
            self._add(self.api.line(raw, self.content))
        except MalformedRequest as error:
            raise _wrong(f"Line {self.count + 1} of the batch's file: {error}") from None

    def _add(self, line: BatchRequest) -> None:
        match = self._matches.get(line.path) or self._match(line.path)
        call, named = read_call(match.format, match.model, line.body, Stated()), stored_ids(line.body)
        call = replace(call, stream=False, background=False, asks_usage=True)
        self.count += 1
        self._size += len(line.id) + 8
        key = _encode((line.path, replace(call, input_tokens=0)))
        group = self._groups.get(key)
        if group is None:
            self._size += 2 * len(key) + GROUP_BYTES
            group = self._groups[key] = LineGroup(line.path, replace(call, input_tokens=0), [], [], [])
        for id in named:
            if id not in self._named and group.named is not None:
                self._named.add(id)
                group.named.append(id)
        if len(self._named) > MOST_NAMED:
            raise _wrong(f"The batch names more than {MOST_NAMED:,} stored objects: split it.")
        group.ids.append(line.id)
        group.inputs.append(call.input_tokens)
        if self.count > MOST_LINES or self._size > MOST_KEPT:
            raise _wrong(f"The batch has too many lines: split it into batches of at most {MOST_LINES:,}.")

    def _match(self, path: str) -> endpoints.Match:
        match = match_of(path, self.kind)
        if match is None or (not match.format.metered and match.endpoint.charging != "free") or match.format.later_look:
            raise UnseenError(
                "no-price",
                f"The gateway cannot see what {path} costs, so it refuses batches of it. An administrator can "
                "set allow_unmetered = true for the key.",
                details={"endpoint": f"POST {path}"},
            )
        self._matches[path] = match
        return match


def _wrong(message: str) -> GatewayError:
    return GatewayError("bad-request", message)


def match_of(path: str, kind: str) -> endpoints.Match | None:
    """The endpoint of a line at a kind of provider."""
    return endpoints.detect("POST", path.partition("?")[0], kind)


@dataclass(slots=True)
class LinePlans:
    """The worst-case costs of a batch's lines at one provider.

    Attributes:
        member: The provider's place in the route.
        at: When the batch was created.
    """

    member: Member
    at: datetime
    prices: PriceSources
    _plans: MemberPlans = field(default_factory=MemberPlans)
    _known: dict[int, tuple[Format, Call, MemberPlan]] = field(default_factory=dict)

    def of(self, group: LineGroup) -> tuple[Format, Call, MemberPlan]:
        """A group's format, its request as a line of a batch, and its plan at the provider."""
        if (found := self._known.get(id(group))) is not None:
            return found
        provider = self.member.provider
        match = match_of(group.path, provider.kind)
        if match is None:
            raise LookupError(f"{group.path} is not an endpoint of {provider.kind}")
        call = in_batch(group.call)
        plan = self._plans.of(self.member, KINDS[provider.kind], match.format, call, group.path, self.at, self.prices)
        found = self._known[id(group)] = match.format, call, plan
        return found

    def ceiling(self, group: LineGroup, input_tokens: int) -> int:
        """The most that one line can cost, in nanodollars. Raises `Unbounded` as `BoundFormula.hold` does."""
        fmt, call, plan = self.of(group)
        return plan.bound.hold(replace(call, input_tokens=input_tokens)).money if fmt.metered else 0

    def total(self, lines: BatchLines) -> int:
        """The most that all lines can cost. Raises `Unbounded` as `BoundFormula.hold` does."""
        return sum(
            self.ceiling(group, tokens) * times
            for group in lines.groups
            for tokens, times in Counter(group.inputs).items()
        )

    def unpriced(self, lines: BatchLines) -> str | None:
        """A model without the price that the provider's `require_price` needs, or None."""
        for group in lines.groups:
            fmt, call, plan = self.of(group)
            if plan.is_refused and fmt.metered:
                return call.model
        return None


def in_batch(call: Call) -> Call:
    """A request as a line of a batch, at batch rates and without a service tier."""
    modifiers = {name: value for name, value in call.modifiers.items() if name != "service_tier"}
    return replace(call, modifiers={**modifiers, **IN_BATCH}, service_tier=None)


def by_id(lines: BatchLines) -> dict[str, tuple[LineGroup, int]]:
    """The lines by name; see `Numbered`."""
    found: dict[str, tuple[LineGroup, int]] = {}
    names = Numbered()
    for group in lines.groups:
        for id, tokens in zip(group.ids, group.inputs, strict=True):
            found[names.name(id)] = group, tokens
    return found


@dataclass(slots=True)
class Numbered:
    """Names lines, also those with equal ids: a name is the number of the id's occurrence, and the id."""

    _seen: Counter[str] = field(default_factory=Counter)

    def name(self, id: str) -> str:
        self._seen[id] += 1
        return f"{self._seen[id]}:{id}"


def id_of(name: str) -> str:
    """The id of the line of that name; if it has none, its place, from 0."""
    number, _, id = name.partition(":")
    return id or str(int(number) - 1)
