"""Running the command line inside a test."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass

import pytest

from paig_client.cli import main
from tests.client.real import Real
from tests.gateway.end_to_end.conftest import ADMIN


@dataclass
class Ran:
    """What a run of the command line left behind."""

    code: int
    out: str
    err: str


class Paig:
    """Runs `paig …` in this process; `url` and the admin token are given once."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments: str, stdin: str = "") -> Ran:
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = self._capsys.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0 if code is None else 1, out, err)


@pytest.fixture
def paig(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Paig:
    """The command line, with wide tables and no colours."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    return Paig(capsys, monkeypatch)


@pytest.fixture
def url(real: Real, monkeypatch: pytest.MonkeyPatch) -> str:
    """A real gateway's address, its admin token in the environment."""
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", ADMIN)
    return real.root
