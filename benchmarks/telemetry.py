"""What telemetry costs a request: the same load through gateways that tell more and more, in turns in one run.

    python benchmarks/telemetry.py [--seconds 3] [--rounds 3] [--connections 8] [--whole] [--only MODE]

The ratio of CPU time for each request is what to look at: other programs on the machine disturb it least.
With `uv pip install opentelemetry-exporter-otlp-proto-http` beside the development environment, OpenTelemetry's own
exporter is measured too.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import re
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import uvloop
from common import CONFIG, HERE, KEY, SECRET, cpu_seconds, free_port, load, process

MODES = {
    "nothing": "metrics = false",
    "metrics": "metrics = true",
    "metrics, a line for each request": 'log = "json"\nlog_requests = true',
    "metrics, over OTLP too": 'export_metrics = {{ endpoint = "http://127.0.0.1:{sink}" }}\nexport_metrics_seconds = 5',
    "metrics, 1 trace in 10": 'export = {{ endpoint = "http://127.0.0.1:{sink}" }}\nsample = 0.1',
    "metrics, all traces": 'export = {{ endpoint = "http://127.0.0.1:{sink}" }}',
}
"""What a gateway tells: a name, and its table `[telemetry]`."""
OFFICIAL = "… by OpenTelemetry's exporter"


@dataclass(slots=True)
class Measured:
    """A gateway and what it has done."""

    port: int
    pid: int
    cpu: float = 0.0
    requests: int = 0
    seconds: float = 0.0

    @property
    def each(self) -> float:
        """CPU time for each request, in microseconds."""
        return self.cpu / self.requests * 1e6


def lost(port: int) -> str:
    """The share of requests whose spans no backend got, as percent."""
    with contextlib.suppress(OSError):
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
        sums = {"exported": 0.0, "dropped": 0.0}
        for what, labels, amount in re.findall(r"^paig_telemetry_(\w+)_total\{(.*)\} (\S+)$", page, re.M):
            if 'destination="all"' in labels:
                sums[what] += float(amount)
        if total := sum(sums.values()):
            return f"{sums['dropped'] / total:.0%}"
    return "–"


def main() -> None:
    """Measure in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--whole", action="store_true", help="answers in one piece, in place of streams")
    parser.add_argument("--only", action="append", help="a mode; repeat")
    options = parser.parse_args()
    modes = {name: table for name, table in MODES.items() if not options.only or name in options.only}
    if importlib.util.find_spec("opentelemetry.exporter") is not None:
        modes[OFFICIAL] = MODES["metrics, all traces"]
    path, stream = "/proxy/openai/chat/completions", not options.whole
    upstream, sink = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        for port in (upstream, sink):
            stack.enter_context(process(str(HERE / "upstream.py"), str(port), port=port))
        gateways = {}
        for name, telemetry in modes.items():
            port, home = free_port(), Path(stack.enter_context(tempfile.TemporaryDirectory()))
            config = CONFIG.format(upstream=upstream, inject="true")
            (home / "paig.toml").write_text(f"[telemetry]\n{telemetry.format(sink=sink)}\n{config}")
            replaced = f"import sys; sys.path.append({str(HERE)!r}); import official_exporter as o; o.install(); "
            command = (
                f"{replaced if name == OFFICIAL else ''}import os; os.dup2(os.open(os.devnull, os.O_WRONLY), 2); "
                "from paig_client.cli import main; main()"
            )
            serve = ("-c", command, "serve", "--config", str(home / "paig.toml"), "--port", str(port))
            secrets = {"PAIG_SECRET_KEY": SECRET, "PAIG_ADMIN_TOKEN": SECRET, "BENCH_KEY": KEY}
            gateways[name] = Measured(
                port, stack.enter_context(process(*serve, port=port, PAIG_HOME=str(home), **secrets))
            )
            uvloop.run(load(port, path, stream, options.connections, 1))
        for _ in range(options.rounds):
            for gateway in gateways.values():
                before = cpu_seconds(gateway.pid)
                answers = uvloop.run(load(gateway.port, path, stream, options.connections, options.seconds))
                gateway.cpu += cpu_seconds(gateway.pid) - before
                gateway.requests += len(answers)
                gateway.seconds += options.seconds
        baseline = next(iter(gateways.values())).each
        print(f"{'':34}{'CPU µs':>9}{'ratio':>8}{'requests/s':>12}{'spans lost':>12}")
        for name, gateway in gateways.items():
            rate = gateway.requests / gateway.seconds
            print(f"{name:34}{gateway.each:9.0f}{gateway.each / baseline:8.2f}{rate:12,.0f}{lost(gateway.port):>12}")


if __name__ == "__main__":
    main()
