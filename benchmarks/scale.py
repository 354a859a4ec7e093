"""How caps scale beyond one database: a simulation of leased allowances over regions, seeded and in discrete events.

Today every node reserves in one database, so a cap is exact. A scheme for many regions would lease each region a part
of a cap's allowance, which the region hands out from a database of its own and renews from the centre. The simulation
counts what that gives and what it costs: how many reservations ask the centre, how much of a cap is spent when a region
first refuses a request, and how much of it lies unused in leases at that moment.

Run as `python benchmarks/scale.py`; the same seed prints the same table.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass
class Region:
    """One region's part of the allowance, in dollars, and what became of its requests."""

    lease: float = 0.0
    local: int = 0
    asked: int = 0


@dataclass
class Run:
    """What a run counted.

    Attributes:
        spent: Dollars, at the end.
        first: Dollars that were spent when a region first refused a request.
        stranded: Dollars that lay in leases at that moment.
        centre: How often the centre was asked.
    """

    regions: list[Region] = field(default_factory=list)
    spent: float = 0.0
    first: float = 0.0
    stranded: float = 0.0
    centre: int = 0


def simulate(
    *, regions: int, cap: float, lease: float, hold: float, cost: float, rate: float, skew: float, seed: int
) -> Run:
    """Spend a cap from several regions until each has refused a request.

    Args:
        regions: How many there are.
        cap: Dollars in all.
        lease: The share of what is left at the centre that a region leases at a time; 1 means that it leases nothing
            and asks the centre for each request.
        hold: Dollars that a request holds while it runs.
        cost: Dollars that it costs in the end.
        rate: Requests a second over all regions.
        skew: How much busier each region is than the next; 1 for all alike.
        seed: Of the random numbers.
    """
    chance = random.Random(seed)
    run = Run([Region() for _ in range(regions)])
    shares = [skew**-number for number in range(regions)]
    left, clock, sequence = cap, 0.0, 0
    ends: list[tuple[float, int, int]] = []
    done: set[int] = set()
    while len(done) < regions:
        clock += chance.expovariate(rate)
        while ends and ends[0][0] <= clock:
            _, _, number = heapq.heappop(ends)
            run.spent += cost
            if lease >= 1:
                left += hold - cost
            else:
                run.regions[number].lease += hold - cost
        number = chance.choices(range(regions), shares)[0]
        if number in done:
            continue
        region = run.regions[number]
        if region.lease < hold:
            run.centre += 1
            region.asked += 1
            wanted = hold if lease >= 1 else max(hold - region.lease, left * lease)
            given = min(wanted, left)
            left -= given
            region.lease += given
        else:
            region.local += 1
        if region.lease < hold:
            if not done:
                run.first = run.spent
                run.stranded = sum(other.lease for other in run.regions)
            done.add(number)
            if lease >= 1:
                left += region.lease
                region.lease = 0.0
            continue
        region.lease -= hold
        sequence += 1
        heapq.heappush(ends, (clock + chance.expovariate(1 / 5), sequence, number))
    return run


def table(seed: int) -> Iterator[str]:
    """The table, line by line."""
    yield "| a request holds | regions | a region leases | ask the centre | spent at the first refusal | in leases |"
    yield "|---|---|---|---|---|---|"
    for hold, cost in ((0.05, 0.01), (1.28, 0.01)):
        for regions in (3, 8):
            for lease in (1.0, 0.02, 0.1, 0.25):
                run = simulate(regions=regions, cap=100, lease=lease, hold=hold, cost=cost, rate=5, skew=1.5, seed=seed)
                total = sum(region.local + region.asked for region in run.regions)
                name = "nothing" if lease >= 1 else f"{lease:.0%} of what is left"
                shown = f"| ${hold} | {regions} | {name} | {run.centre / total:.1%}"
                yield f"{shown} | {run.first:.0f} % | {run.stranded:.0f} % |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    print("\n".join(table(parser.parse_args(arguments).seed)))


if __name__ == "__main__":
    main()
