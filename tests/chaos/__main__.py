"""`python -m tests.chaos [COUNT] [--seed N]`: random fault schedules over intake and three destinations."""

import argparse
import logging
import sys
import time

import structlog

from tests.chaos.chaos_schedule import Told, play
from tests.chaos.chaos_stage import own_postgres, stage


def main() -> int:
    """Play schedules, print a line each, and return 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=200, help="schedules to play (200)")
    parser.add_argument("--seed", type=int, help="the first seed; the others follow it. To play one again: 1 --seed N")
    chosen = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    first = chosen.seed if chosen.seed is not None else int(time.time())
    _say(f"{chosen.count} schedules from seed {first}")
    told: list[Told] = []
    with own_postgres() as (url, socket), stage(url, socket) as at:
        for seed in range(first, first + chosen.count):
            told.append(play(at, seed))
            _say(told[-1].line())
    broken = [one.seed for one in told if not one.holds]
    _say(
        f"{len(told)} schedules, {sum(len(one.faults) for one in told)} faults struck, "
        f"{sum(one.texts for one in told):,} texts, {sum(one.entries for one in told):,} entries at each destination: "
        f"{sum(one.lost for one in told)} lost, {sum(one.doubled for one in told)} doubled, "
        f"{sum(one.changed for one in told)} changed; broken: {broken or 'none'}"
    )
    return 1 if broken else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
