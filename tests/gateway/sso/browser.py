"""A browser, as far as logging in needs one."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urljoin

import httpx2

_FORM = re.compile(r'<form[^>]*action="([^"]*)"[^>]*>(.*?)</form>', re.S)
_REFRESH = re.compile(r'<meta http-equiv="refresh" content="0; url=([^"]*)">')
_INPUT = re.compile(r"<input[^>]*>")


def browser() -> httpx2.Client:
    """A client that keeps cookies."""
    return httpx2.Client(trust_env=False, timeout=20)


def walk(client: httpx2.Client, url: str, login: str, *, until: str = "\0", user_code: str = "") -> httpx2.Response:
    """Go to an address, follow where it leads and fill in each form.

    Args:
        client: The browser.
        url: Where to begin.
        login: Whom to log in as.
        until: The beginning of an address to stop before.
        user_code: What to type where a device's code is asked for.

    Returns:
        The last page, or the one that leads to `until`.
    """
    answer = client.get(url)
    for _ in range(20):
        if answer.is_redirect:
            target = urljoin(str(answer.url), answer.headers["location"])
            if target.startswith(until):
                return answer
            answer = client.get(target)
            continue
        if refresh := _REFRESH.search(answer.text):
            target = urljoin(str(answer.url), unescape(refresh[1]))
            if target.startswith(until):
                return answer
            answer = client.get(target)
            continue
        form = _FORM.search(answer.text)
        if answer.status_code != 200 or form is None:
            return answer
        fields = {}
        for element in _INPUT.findall(form[2]):
            given = dict(re.findall(r'(\w+)="([^"]*)"', element))
            if "name" in given:
                fields[given["name"]] = unescape(given.get("value", ""))
        fields |= {"login": login, "password": "any"} if "login" in fields else {}
        fields |= {"user_code": user_code} if "user_code" in fields and user_code else {}
        answer = client.post(urljoin(str(answer.url), unescape(form[1])), data=fields)
    raise AssertionError("the login goes in circles")
