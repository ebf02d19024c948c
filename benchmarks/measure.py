"""Measuring two pieces of work side by side, so that a noisy machine disturbs both."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

#: Rounds of each piece of work, taken in turns.
ROUNDS = 41
#: A round lasts at least so long, in seconds.
ROUND_SECONDS = 0.01


@dataclass(frozen=True)
class Ratio:
    """What a piece of work takes, against its floor.

    Attributes:
        ours: seconds, the median of all rounds.
        floor: the same of the floor.
        ratio: the median of the rounds' own ratios; each round measures both, one right after the other.
    """

    ours: float
    floor: float
    ratio: float


def side_by_side(ours: Callable[[], object], floor: Callable[[], object]) -> Ratio:
    """Measure `ours` against `floor`, in turns."""
    repeats = _repeats(floor)
    pairs = []
    gc.collect()
    gc.disable()
    try:
        for turn in range(ROUNDS):
            if turn % 2:
                mine, bare = _seconds(ours, repeats), _seconds(floor, repeats)
            else:
                bare, mine = _seconds(floor, repeats), _seconds(ours, repeats)
            pairs.append((mine, bare))
    finally:
        gc.enable()
    return Ratio(
        ours=statistics.median(mine for mine, _ in pairs),
        floor=statistics.median(bare for _, bare in pairs),
        ratio=statistics.median(mine / bare for mine, bare in pairs),
    )


def _repeats(work: Callable[[], object]) -> int:
    work()
    return max(1, round(ROUND_SECONDS / _seconds(work, 3)))


def _seconds(work: Callable[[], object], repeats: int) -> float:
    began = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - began) / repeats
