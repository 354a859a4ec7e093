"""Links, cookies and proofs, by a clock that is set by hand."""

from __future__ import annotations

import pytest

from paig_tui.web.login import IDLE_LIFE, LINK_LIFE, Door, LinkRefused
from tests.tui.web.conftest import Clock


def test_a_link_lets_in_once() -> None:
    """The first to open a link gets in; the second is refused, and that is called suspicious."""
    door = Door(Clock())
    token = door.link()
    given = door.enter(token)
    login = door.login(given.cookie)
    assert login is not None
    assert login.proven(given.proof)
    with pytest.raises(LinkRefused, match="used already") as refused:
        door.enter(token)
    assert refused.value.suspicious


@pytest.mark.parametrize("token", ["", "x", "é\ud800", "a" * 43])
def test_a_wrong_link_is_refused(token: str) -> None:
    """Nothing else gets in, whether there is a link or not."""
    door = Door(Clock())
    for _ in range(2):
        with pytest.raises(LinkRefused, match="not known") as refused:
            door.enter(token)
        assert not refused.value.suspicious
        door.link()


def test_a_link_grows_old() -> None:
    """A link works until its life is over, and not at that moment."""
    clock = Clock()
    door = Door(clock)
    token = door.link()
    clock.now += LINK_LIFE
    with pytest.raises(LinkRefused, match="too old"):
        door.enter(token)


def test_a_new_link_ends_the_one_before() -> None:
    """Of two links the newer one works."""
    door = Door(Clock())
    first, second = door.link(), door.link()
    with pytest.raises(LinkRefused, match="newer link"):
        door.enter(first)
    assert door.login(door.enter(second).cookie) is not None


def test_a_login_ends_when_nothing_was_open_for_long() -> None:
    """An open terminal keeps a login; without one it ends after its idle life, counted from the last use."""
    clock = Clock()
    door = Door(clock)
    cookie = door.enter(door.link()).cookie
    login = door.login(cookie)
    assert login is not None
    with door.holding(login, lambda: None):
        clock.now += IDLE_LIFE * 3
        assert door.login(cookie) is login
        clock.now += IDLE_LIFE * 3
    clock.now += IDLE_LIFE / 2
    assert door.login(cookie) is login
    clock.now += IDLE_LIFE
    assert door.login(cookie) is None


def test_logging_out_ends_terminals() -> None:
    """Whoever is logged out is told for each terminal; others stay, until all are."""
    door = Door(Clock())
    first, second = (door.enter(door.link()) for _ in range(2))
    ended: list[str] = []
    one, two = door.login(first.cookie), door.login(second.cookie)
    assert one is not None
    assert two is not None
    with door.holding(one, lambda: ended.append("one")), door.holding(two, lambda: ended.append("two")):
        assert door.leave(one) == 1
        assert ended == ["one"]
        assert (door.login(first.cookie), door.login(second.cookie)) == (None, two)
        assert door.leave() == 1
        assert ended == ["one", "two"]
    assert door.login(second.cookie) is None


def test_a_proof_belongs_to_its_cookie() -> None:
    """Another login's proof proves nothing."""
    door = Door(Clock())
    first, second = (door.enter(door.link()) for _ in range(2))
    login = door.login(first.cookie)
    assert login is not None
    assert not login.proven(second.proof)
    assert not login.proven("")


def test_no_secret_is_kept() -> None:
    """What is in memory is digests: neither a trace nor a dump of it lets anybody in."""
    door = Door(Clock())
    token = door.link()
    given = door.enter(token)
    kept = repr(vars(door)) + repr([vars(login) for login in door._logins.values()])
    for secret in (token, given.cookie, given.proof):
        assert secret not in kept
        assert secret not in repr(given)
