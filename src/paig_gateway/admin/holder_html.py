"""The page of a key's holder as HTML: no script, nothing loaded from elsewhere, one style sheet inside."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from html import escape
from importlib import resources
from itertools import groupby
from urllib.parse import urlencode

from paig_client.api.refusals import next_step, what_happened
from paig_client.api.resources import LimitRequest, Me, MyLimit, MyRequest, SessionTree, UsageTotal
from paig_client.api.session_words import session_state, session_trouble
from paig_client.api.windows import member_words
from paig_client.environment import CLIENTS
from paig_gateway.admin.charts import Bar, Value, bar_chart, column_chart, share_bar

STYLE = resources.files(__package__).joinpath("holder.css").read_text("utf-8")
SECURITY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""The page's content security policy: this very style sheet, forms to ourselves, and nothing else."""
PLACEHOLDER = "$PAIG_API_KEY"
ALL = "all"
"""The value of `show` in the address that stands for all keys together."""


@dataclass(frozen=True)
class HolderView:
    """All that the page shows.

    Attributes:
        me: Limits and latest requests.
        days: What each day cost, oldest first: the day, and its sums.
        models: What each model cost since the first of those days, the dearest first.
        origin: Scheme and host of the gateway.
        note: What to say on top, and whether it is bad news.
        keys: The names of all keys that the browser may look at, this one among them.
        proof: What each form that changes something carries.
        every: Whether it is all of these keys together; `me` then has their limits and requests.
        by_key: What each of them cost since the first of the days, the dearest first: name, cost, requests.
        may_add: Whether a further key can be shown: not where a person came by single sign-on.
    """

    me: Me
    days: Sequence[tuple[datetime, UsageTotal | None]]
    models: Sequence[UsageTotal]
    sessions: Sequence[SessionTree]
    origin: str
    now: datetime
    note: tuple[str, bool] | None = None
    keys: Sequence[str] = ()
    proof: str = ""
    every: bool = False
    by_key: Sequence[tuple[str, Decimal, int]] = ()
    may_add: bool = False


def login_page(problem: str = "", *, sso: bool = False) -> str:
    """The login page.

    Args:
        problem: The error message.
        sso: Whether a person may come by single sign-on instead.
    """
    instead = '<p>Or <a href="/admin/sso/login?next=/me">log in with single sign-on</a>.</p>' if sso else ""
    alert = f'<p class="note bad" role="alert">{escape(problem)}</p>' if problem else ""
    return _document(
        "Your gateway key",
        '<header class="top"><h1>Your gateway key</h1></header><main id="main"><section class="wide">'
        f"<p>See what your key may spend, what it has spent, and on what.</p>{alert}"
        '<form method="post" action="/me" class="fields"><div><label for="key">Gateway key</label>'
        '<input id="key" name="key" type="password" autocomplete="off" required maxlength="500" '
        'placeholder="paig_…" spellcheck="false"></div>'
        f"<div><button>Show</button></div></form>{instead}</section></main>",
    )


def holder_page(view: HolderView, ask: str = "") -> str:
    """The page of a key.

    Args:
        ask: The section in which more can be asked for.
    """
    return _document("All your keys" if view.every else f"Key {view.me.key}", "".join(_parts(view, ask)))


def _document(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} · paig</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<style>{STYLE}</style></head><body><a class="skip" href="#main">Skip to content</a>{body}</body></html>'
    )


def _parts(view: HolderView, ask: str) -> Iterator[str]:
    me = view.me
    whose = [f"project {me.project}" if me.project else "", f"user {me.user}" if me.user else ""]
    ends = f"works until {_time(me.expires_at)}" if me.expires_at else ""
    title = "All your keys" if view.every else me.key
    yield f'<header class="top"><h1>{escape(title)}</h1>'
    yield f'<span class="soft grow">{escape(" · ".join(filter(None, [*whose, ends])))}</span>'
    yield f'<form method="post" action="/me/leave">{_proof(view)}<button class="quiet">Leave</button></form></header>'
    yield from _keys(view)
    yield '<main id="main">'
    if view.note is not None:
        text, bad = view.note
        yield f'<p class="wide note{" bad" if bad else ""}" role="{"alert" if bad else "status"}">{escape(text)}</p>'
    yield from _figures(me)
    yield from _limits(me.limits, view.now)
    yield from _days(view)
    if view.every:
        yield from _shares("By key", view.by_key, link=True)
    yield from _shares("By model", [(one.group.get("model") or "–", one.cost, one.requests) for one in view.models])
    yield from _sessions(view.sessions)
    yield from _requests(me.requests)
    yield ask
    yield from _clients(view.origin)
    yield "</main>"


def _proof(view: HolderView) -> str:
    return f'<input type="hidden" name="proof" value="{escape(view.proof)}">'


def _address(name: str) -> str:
    return f"/me?{escape(urlencode({'key': name}))}"


def _keys(view: HolderView) -> Iterator[str]:
    """The other keys, all of them together, and a place for one more."""
    if len(view.keys) < 2 and not view.may_add:
        return
    yield '<nav class="top" aria-label="Your keys">'
    if len(view.keys) > 1:
        places = [(name, _address(name), not view.every and name == view.me.key) for name in view.keys]
        for name, address, here in [("All keys", f"/me?show={ALL}", view.every), *places]:
            current = ' aria-current="page"' if here else ""
            yield f'<a href="{address}"{current}>{escape(name)}</a> '
    if view.may_add:
        yield '<details><summary class="soft">Add a key</summary><form method="post" action="/me">' + _proof(view)
        yield '<label for="key">Gateway key</label><input id="key" name="key" type="password" autocomplete="off" '
        yield 'required maxlength="500" placeholder="paig_…" spellcheck="false"><button>Add</button></form></details>'
    yield "</nav>"


def _figures(me: Me) -> Iterator[str]:
    money = [limit for limit in me.limits if limit.unit == "usd" and not limit.soft]
    tightest = min(money, key=lambda limit: limit.left, default=None)
    left = "no limit" if tightest is None else dollars(tightest.left)
    yield '<section class="wide" aria-label="At a glance"><dl class="figures">'
    for term, value in (
        ("Spent today", dollars(me.spent_today)),
        ("Left", left),
        ("Requests today", _count(me.requests_today)),
    ):
        yield f"<div><dt>{term}</dt><dd>{escape(value)}</dd></div>"
    yield "</dl></section>"


def _limits(limits: Sequence[MyLimit], now: datetime) -> Iterator[str]:
    yield '<section aria-labelledby="limits"><h2 id="limits">Limits</h2>'
    if not limits:
        yield '<p class="soft">Nothing limits this key.</p></section>'
        return
    yield '<ul class="plain">'
    for limit in limits:
        amount, spent, held = limit.amount, limit.spent, limit.held
        share = float(spent / amount) if amount else 1.0
        kind = "full" if share >= 1 else "near" if share >= 0.8 else ""
        show = dollars if limit.unit == "usd" else _count
        owner = "the organisation" if limit.owner_kind == "organisation" else f"{limit.owner_kind} {limit.owner}"
        owner += "" if limit.member is None else f", {member_words(limit.member)}"
        window = {"minute": f"{limit.unit} a minute", "total": "in all"}.get(limit.window, limit.window)
        yield f'<li><div class="row"><span><strong>{escape(window.capitalize())}</strong> '
        yield f'<span class="soft">{escape(owner)}</span></span>'
        yield f'<span class="amount">{show(limit.spent)} of {show(limit.amount)}</span></div>'
        yield share_bar(share, kind=kind, held=float(held / amount) if amount else 0.0)
        facts = [f"{show(limit.left)} left", f"{show(limit.held)} held by requests on their way" if held else ""]
        facts.append(f"begins again {_ahead(limit.resets_at, now)}" if limit.resets_at else "")
        if limit.reached_at is not None:
            facts.append(f"at today’s pace used up {_ahead(limit.reached_at, now)}")
        yield f'<div class="soft">{escape("; ".join(filter(None, facts)))}</div></li>'
    yield "</ul></section>"


def _days(view: HolderView) -> Iterator[str]:
    costs = [(day, one.cost if one else Decimal(0), one.requests if one else 0) for day, one in view.days]
    total = sum((cost for _, cost, _ in costs), Decimal(0))
    values = [
        Value(f"{day:%d}", float(cost), f"{day:%A, %d %B}: {dollars(cost)}, {requests} requests")
        for day, cost, requests in costs
    ]
    top = max(costs, key=lambda one: one[1])
    summary = f"{dollars(total)} in {len(costs)} days"
    if total:
        summary += f", most of it on {top[0]:%d %B}: {dollars(top[1])}"
    yield '<section aria-labelledby="days"><h2 id="days">Cost by day</h2>'
    chart = column_chart(values, "Cost by day", f"{summary}.", _axis, id="days-chart")
    yield f'<p class="soft">{escape(summary)}.</p>{chart}'
    rows = [(f"{day:%a %d %b}", dollars(cost), _count(requests)) for day, cost, requests in reversed(costs)]
    yield "<details><summary>As a table</summary>" + _table(("Day", "Cost", "Requests"), rows, {1, 2}) + "</details>"
    yield "</section>"


def _axis(value: float) -> str:
    return f"${value:,.9f}".rstrip("0").rstrip(".")


def _shares(title: str, costs: Sequence[tuple[str, Decimal, int]], *, link: bool = False) -> Iterator[str]:
    place = title.lower().replace(" ", "-")
    yield f'<section class="wide" aria-labelledby="{place}"><h2 id="{place}">{title}</h2>'
    whole = sum((cost for _, cost, _ in costs), Decimal(0))
    bars = [
        Bar(
            f'<a href="{_address(name)}">{escape(name)}</a>' if link else escape(name),
            float(cost),
            dollars(cost),
            f"{float(cost / whole) if whole else 0.0:.0%}, {_count(requests)} requests",
        )
        for name, cost, requests in costs[:MOST_SHARES]
    ]
    yield (bar_chart(bars) if bars else '<p class="soft">Nothing yet.</p>') + "</section>"


MOST_SHARES = 10


def _sessions(sessions: Sequence[SessionTree]) -> Iterator[str]:
    yield '<section class="wide" aria-labelledby="sessions"><h2 id="sessions">Sessions of agents</h2>'
    if not sessions:
        yield '<p class="soft">None. Coding agents name their sessions by themselves.</p></section>'
        return
    yield bar_chart([_session(one) for one in sessions]) + "</section>"


def _session(one: SessionTree) -> Bar:
    """A session, what is wrong with it, and below it the tree of its agents."""
    rows = [
        (
            f'<span class="depth{min(agent.depth, 4)}">{escape(agent.name or agent.id or "main")}</span>',
            escape(", ".join(agent.models)),
            _count(agent.requests),
            _count(agent.input_tokens),
            f"{agent.cache_read_tokens / agent.input_tokens:.0%}" if agent.input_tokens else "–",
            _count(agent.output_tokens),
            dollars(agent.cost, PRECISE),
            dollars(agent.total_cost, PRECISE),
        )
        for agent in one.tree
    ]
    heads = ("Agent", "Models", "Requests", "Input", "Cached", "Output", "Cost", "With those below")
    agents = f"{one.agents + 1} agents" if one.agents else "1 agent"
    state = session_state(one)
    wrong = "".join(
        f'<p class="soft"><strong>{name}:</strong> {escape(words)}</p>' for name, words in session_trouble(one)
    )
    return Bar(
        f"<code>{escape(one.session)}</code>" + (f' <strong class="bad">{escape(state)}</strong>' if state else ""),
        float(one.cost),
        dollars(one.cost),
        f"{_count(one.requests)} requests, {_length((one.ended - one.began).total_seconds())}",
        f'{wrong}<details><summary class="soft">{agents}, latest request {_time(one.ended)}</summary>'
        + _table(heads, rows, set(range(2, 8)), escaped=True)
        + "</details>",
    )


def _requests(requests: Sequence[MyRequest]) -> Iterator[str]:
    yield '<section class="wide" aria-labelledby="requests"><h2 id="requests">Latest requests</h2>'
    rows, explained = [], set()
    for same in _alike(requests):
        one = same[0]
        failed = one.error is not None or (one.status or 0) >= 400
        state = "on its way" if one.state == "open" else str(one.status or "–")
        answer = escape(state)
        if failed:
            # What to do stands at the first of equal errors: it is the same for all of them.
            step = "" if (one.error, one.status) in explained else next_step(one.error, one.status, one.refusal)
            explained.add((one.error, one.status))
            answer = f'<span class="bad">{answer}</span> {escape(what_happened(one.error, one.status, one.refusal))}'
            if len(same) > 1:
                answer += f'<span class="step">{len(same)} times, first at {_time(same[-1].time)}.</span>'
            answer += f'<span class="step">{escape(step)}</span>' if step else ""
        if one.failover:
            answer += f'<span class="step">{escape(one.failover)}</span>'
        rows.append(
            (
                f'<span class="time">{_time(one.time)}</span>',
                escape(one.model),
                answer,
                dollars(one.cost, PRECISE) if one.cost else "–",
            )
        )
    if rows:
        yield _table(("Time", "Model", "Answer", "Cost"), rows, {3}, escaped=True, stacked=True)
    else:
        yield '<p class="soft">None yet.</p>'
    yield "</section>"


def _alike(requests: Sequence[MyRequest]) -> Iterator[Sequence[MyRequest]]:
    """Requests in their order; refusals of one kind that follow one another are together."""

    def kind(one: MyRequest) -> tuple[object, ...]:
        refusal = one.refusal or {}
        return one.error, one.model, one.failover, *(refusal.get(name) for name in ("owner_kind", "owner", "window"))

    for (error, *_), same in groupby(requests, kind):
        found = [*same]
        yield from [found] if error is not None else ([one] for one in found)


def ask_section(view: HolderView, requests: Sequence[LimitRequest]) -> str:
    """The section in which more can be asked for; empty if no limit on money binds the key.

    Args:
        view: What the page shows.
        requests: Earlier requests for more, the newest first.
    """
    windows = list(dict.fromkeys(limit.window for limit in view.me.limits if limit.unit == "usd"))
    if not windows or view.every:
        return ""
    options = "".join(f'<option value="{window}">{window}</option>' for window in windows)
    rows = [
        (
            f'<span class="time">{_time(one.time)}</span>',
            escape(f"{one.window}: {dollars(one.amount)}"),
            escape(one.why),
            escape(one.state + (f": {one.answer}" if one.answer else "")),
        )
        for one in requests
    ]
    which = f"?{escape(urlencode({'key': view.me.key}))}"
    asked = _table(("Time", "Asked for", "Why", "Answer"), rows, set(), escaped=True) if rows else ""
    return (
        '<section class="wide" aria-labelledby="ask"><h2 id="ask">Ask for more</h2>'
        f'<form method="post" action="/me/ask{which}" class="fields">'
        f"{_proof(view)}"
        f'<div><label for="window">Limit</label><select id="window" name="window">{options}</select></div>'
        '<div><label for="to">What it is to be, in US dollars</label>'
        '<input id="to" name="to" inputmode="decimal" required maxlength="20" placeholder="10"></div>'
        '<div><label for="why">Why</label><input id="why" name="why" required maxlength="500"></div>'
        f"<div><button>Ask</button></div></form>{asked}</section>"
    )


def _clients(origin: str) -> Iterator[str]:
    yield '<section class="wide" aria-labelledby="use"><h2 id="use">Use the key</h2>'
    yield "<p>Put the key into the environment once, then the lines of your program:</p>"
    once = f"read -rs PAIG_API_KEY && export PAIG_API_KEY\nexport PAIG_BASE_URL={origin}/proxy"
    yield f"<pre><code>{escape(once)}</code></pre>"
    yield '<p class="soft">With paig installed, <code>paig setup CLIENT</code> writes them for good.</p>'
    yield '<div class="clients">'
    for name, client in sorted(CLIENTS.items(), key=lambda item: (not item[1].agent, item[1].title.casefold())):
        lines = list(_exports(client.variables(f"{origin}/proxy", PLACEHOLDER)))
        arguments = client.arguments(f"{origin}/proxy")
        if arguments and client.programs:
            lines.append(" ".join((client.programs[0], *map(_quoted, arguments))))
        if client.file is not None:
            lines.append(f"paig run --for {name} -- {client.programs[0] if client.programs else name}")
        yield f"<details><summary>{escape(client.title)}</summary><pre><code>{escape(chr(10).join(lines))}</code></pre>"
        yield "</details>"
    yield "</div></section>"


def _exports(variables: Mapping[str, str | None]) -> Iterator[str]:
    for name, value in variables.items():
        yield f"unset {name}" if value is None else f"export {name}={_quoted(value)}"


def _quoted(text: str) -> str:
    """A word for a shell, in which the key's variable, and nothing else, is filled in."""
    if PLACEHOLDER not in text and text.replace("/", "").replace(":", "").replace(".", "").replace("-", "").isalnum():
        return text
    safe = text
    for sign in ("\\", '"', "`", "$"):
        safe = safe.replace(sign, "\\" + sign)
    return '"' + safe.replace("\\" + PLACEHOLDER, PLACEHOLDER) + '"'


def _table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: set[int],
    *,
    escaped: bool = False,
    stacked: bool = False,
) -> str:
    """A table; a stacked one has its cells below one another in a narrow window, and stays a table by its roles."""

    def role(name: str) -> str:
        return f' role="{name}"' if stacked else ""

    def cell(kind: str, place: int, text: str, more: str = "") -> str:
        look = ' class="n"' if place in numbers else ""
        role_of = role("columnheader" if kind == "th" else "cell")
        return f"<{kind}{look}{more}{role_of}>{text if escaped or kind == 'th' else escape(text)}</{kind}>"

    head = "".join(cell("th", place, escape(text), ' scope="col"') for place, text in enumerate(heads))
    lines = ("".join(cell("td", place, text) for place, text in enumerate(row)) for row in rows)
    row, group = f"<tr{role('row')}>", role("rowgroup")
    body = "".join(f"{row}{line}</tr>" for line in lines)
    whole = f"<thead{group}>{row}{head}</tr></thead><tbody{group}>{body}</tbody>"
    if stacked:
        return f'<table class="stacked" role="table">{whole}</table>'
    return f'<div class="scroll" tabindex="0"><table>{whole}</table></div>'


PRECISE = 6
"""Decimal places of amounts in a column."""


def dollars(amount: str | Decimal, places: int | None = None) -> str:
    """US dollars: with cents from one dollar on, otherwise with as many digits as needed.

    Args:
        places: Decimal places, for amounts in a column.
    """
    value = Decimal(amount)
    if places is None:
        places = 2 if not value or abs(value) >= 1 else 4 if abs(value) >= Decimal("0.01") else 6
    return f"${value:,.{places}f}"


def _count(value: Decimal | int) -> str:
    return f"{int(value):,}"


def _time(at: datetime) -> str:
    return f"{at:%d %b %H:%M} UTC"


def _ahead(at: datetime, now: datetime) -> str:
    seconds = (at - now).total_seconds()
    return "now" if seconds <= 0 else f"in {_length(seconds)}"


def _length(seconds: float) -> str:
    whole = int(seconds)
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if whole >= 2 * size or (unit == "minute" and whole >= size):
            count = whole // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{whole} second{'' if whole == 1 else 's'}"
