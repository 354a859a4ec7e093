"""Links, cookies and proofs, by a clock that is set by hand."""

from __future__ import annotations

import pytest

from paig_tui.web.login import IDLE_LIFE, LINK_LIFE, BrowserLogins, LinkRefused
from tests.tui.web.conftest import Clock


def test_a_link_lets_in_once() -> None:
    """The first to open a link gets in; the second is refused, and that is called suspicious."""
    logins = BrowserLogins(Clock())
    token = logins.link()
    given = logins.enter(token)
    login = logins.login(given.cookie)
    assert login is not None
    assert login.proven(given.proof)
    with pytest.raises(LinkRefused, match="used already") as refused:
        logins.enter(token)
    assert refused.value.suspicious


@pytest.mark.parametrize("token", ["", "x", "é\ud800", "a" * 43])
def test_a_wrong_link_is_refused(token: str) -> None:
    """Nothing else gets in, whether there is a link or not."""
    logins = BrowserLogins(Clock())
    for _ in range(2):
        with pytest.raises(LinkRefused, match="unknown") as refused:
            logins.enter(token)
        assert not refused.value.suspicious
        logins.link()


def test_a_link_grows_old() -> None:
    """A link works until its life is over, and not at that moment."""
    clock = Clock()
    logins = BrowserLogins(clock)
    token = logins.link()
    clock.now += LINK_LIFE
    with pytest.raises(LinkRefused, match="too old"):
        logins.enter(token)


def test_a_new_link_ends_the_one_before() -> None:
    """Of two links the newer one works."""
    logins = BrowserLogins(Clock())
    first, second = logins.link(), logins.link()
    with pytest.raises(LinkRefused, match="newer link"):
        logins.enter(first)
    assert logins.login(logins.enter(second).cookie) is not None


def test_a_login_ends_when_nothing_was_open_for_long() -> None:
    """An open terminal keeps a login; without one it ends after its idle life, counted from the last use."""
    clock = Clock()
    logins = BrowserLogins(clock)
    cookie = logins.enter(logins.link()).cookie
    login = logins.login(cookie)
    assert login is not None
    with logins.holding(login, lambda: None):
        clock.now += IDLE_LIFE * 3
        assert logins.login(cookie) is login
        clock.now += IDLE_LIFE * 3
    clock.now += IDLE_LIFE / 2
    assert logins.login(cookie) is login
    clock.now += IDLE_LIFE
    assert logins.login(cookie) is None


def test_logging_out_ends_terminals() -> None:
    """Whoever is logged out is told for each terminal; others stay, until all are."""
    logins = BrowserLogins(Clock())
    first, second = (logins.enter(logins.link()) for _ in range(2))
    ended: list[str] = []
    one, two = logins.login(first.cookie), logins.login(second.cookie)
    assert one is not None
    assert two is not None
    with logins.holding(one, lambda: ended.append("one")), logins.holding(two, lambda: ended.append("two")):
        assert logins.leave(one) == 1
        assert ended == ["one"]
        assert (logins.login(first.cookie), logins.login(second.cookie)) == (None, two)
        assert logins.leave() == 1
        assert ended == ["one", "two"]
    assert logins.login(second.cookie) is None


def test_a_proof_belongs_to_its_cookie() -> None:
    """Another login's proof proves nothing."""
    logins = BrowserLogins(Clock())
    first, second = (logins.enter(logins.link()) for _ in range(2))
    login = logins.login(first.cookie)
    assert login is not None
    assert not login.proven(second.proof)
    assert not login.proven("")


def test_no_secret_is_kept() -> None:
    """What is in memory is digests: neither a trace nor a dump of it lets anybody in."""
    logins = BrowserLogins(Clock())
    token = logins.link()
    given = logins.enter(token)
    kept = repr(vars(logins)) + repr([vars(login) for login in logins._logins.values()])
    for secret in (token, given.cookie, given.proof):
        assert secret not in kept
        assert secret not in repr(given)
