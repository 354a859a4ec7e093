"""What is wrong with an agent's session, and what to do about it: in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paig_client.api.refusals import EXPLAINED

if TYPE_CHECKING:
    from paig_client.api.resources import Session


def session_trouble(session: Session) -> list[tuple[str, str]]:
    """What is wrong with a session, each as what it is and sentences that end with what to do."""
    found = []
    if session.stopped_by:
        text = f"Stopped by {session.stopped_by}: its requests are refused (429, loop-stopped)."
        found.append(("stopped", f"{text} To resume it: paig sessions resume."))
    if (loop := session.loop) is not None:
        at = f"{loop.at:%d %b %H:%M} UTC"
        text = (
            f"It sent the same request {loop.requests} times, last seen on {at}: it may go round in circles."
            if loop.kind == "repeated"
            else f"It spent ${loop.spent:f} within a minute on {at}."
        )
        found.append(("loop", f"{text} Look at its requests; to stop it: paig sessions stop."))
    error = session.last_error
    if error is not None and error in EXPLAINED and not session.stopped_by and not (loop and error == LOOP):
        what, step = EXPLAINED[error]
        found.append(("refused", f"Its latest request failed ({error}): {what} {step}"))
    return found


def session_state(session: Session) -> str:
    """A sign and a word for what is wrong with a session; empty where nothing is."""
    if session.stopped_by:
        return "■ stopped"
    if session.loop is not None:
        return "▲ loop"
    return "■ limit" if session.last_error in LIMITED else "✕ failed" if session.last_error else ""


LOOP = "loop-stopped"
LIMITED = ("limit-exceeded", "limit-too-small", "rate-limited")
