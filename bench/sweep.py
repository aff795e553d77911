"""The sweep's screen against the bare arithmetic on the same arrays, and its cold start against a plain COPY.

Both floors are measured in the same run, on the database that bench/book.py filled. A warm look follows a share of
real deposits and repayments; both include every query that a pass makes before it decides.
"""

import resource
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import numpy as np
from django.db import connection

from bench.stand import best_of, timed
from risk import group_lines, parameters, prices, screen
from risk.arrays import Book
from risk.columns import Floats

WARM_RUNS: Final = 5
COLD_RUNS: Final = 3
STIRRED: Final = 0.01  # of the wallets and of the debts, before each warm look
# The columns that the book in memory keeps, as they stand in their tables: no joins, no casts.
COLUMNS: Final = (
    "SELECT id, account_id, asset_id, credits - debits FROM accounts_ledgeraccount WHERE account_id IS NOT NULL",
    "SELECT account_id, group_id FROM risk_member",
    "SELECT group_id, asset_id FROM risk_groupcoin",
    "SELECT id, group_id, asset_id, principal + interest + late_fee, accrued_through, late_multiplier, due_at"
    " FROM risk_debt",
    "SELECT id, product, customer_id, band, blind_since, breach_seen_at, grace_until FROM risk_collateralgroup",
)


def measured(*, at: datetime) -> dict[str, Any]:
    """Seconds of each, the best of some runs; `false_share`: of groups, those near that the exact rule leaves alone."""
    from bench import book as ledgers

    settings = parameters.settings_at(at)
    book = Book()

    def looked(at: datetime = at, book: Book = book) -> screen.Screen:
        return screen.look(product="vip", at=at, settings=settings, book=book)

    copied = best_of(COLD_RUNS, lambda: timed(_copied))
    cold = best_of(COLD_RUNS, lambda: timed(lambda: looked(at, Book())))
    looked()
    warm, floor, stirred = [], [], 0
    for run in range(WARM_RUNS):  # alternately, so that whatever else the machine does disturbs both
        then = at + timedelta(seconds=run)
        stirred = ledgers.stir(share=STIRRED, at=then)
        warm.append(timed(partial(looked, then)))
        floor.append(_arithmetic(book, then))
    quiet = best_of(WARM_RUNS, lambda: timed(looked))
    seen = looked(at + timedelta(seconds=WARM_RUNS))
    return {
        "groups": seen.groups,
        "positions": int(book.wallets.id.size),
        "debts": int(book.debts.id.size),
        "stirred": stirred,
        "arithmetic_seconds": min(floor),
        "warm_seconds": min(warm),
        "quiet_seconds": quiet,
        "warm_ratio": min(warm) / min(floor),
        "copy_seconds": copied,
        "cold_seconds": cold,
        "cold_ratio": cold / copied,
        "near": len(seen.near),
        "false_share": _false(seen, at + timedelta(seconds=WARM_RUNS)) / max(seen.groups, 1),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _copied() -> int:
    count = 0
    with connection.cursor() as cursor:
        for columns in COLUMNS:
            with cursor.copy(f"COPY ({columns}) TO STDOUT") as copy:
                for row in copy:
                    count += len(row)
    return count


def _arithmetic(book: Book, at: datetime) -> float:
    """What the figures of a look cost by themselves, everything at hand."""
    quotes, terms = prices.latest(at=at, assets=book.used), parameters.terms_at(at, assets=book.used)
    price_of = np.array([float(quotes[s].price) if s in quotes else 0.0 for s in book.symbols])
    tiers_of = [
        [(float(tier.floor), float(tier.ratio)) for tier in terms[s].tiers] if s in terms else []
        for s in book.symbols
    ]
    lines = group_lines.lines_of(book, at=at)
    return timed(lambda: bare(book, price_of, tiers_of, lines))


def bare(
    book: Book, price_of: Floats, tiers_of: list[list[tuple[float, float]]], lines: Floats
) -> tuple[Floats, Floats]:
    """Each group's LTV and band: pool by group and coin, value, marginal tiers, sum, debts, measure, band."""
    pools, debts, size = book.pools, book.debts, book.size
    pooled = np.bincount(pools.of_wallet, weights=book.wallets.amount, minlength=pools.keys.size)
    collateral = np.zeros(size)
    for coin, tiers in enumerate(tiers_of):
        start, end = pools.starts[coin : coin + 2]
        market = pooled[start:end] * price_of[coin]
        counted = np.zeros(end - start)
        for number, (floor, ratio) in enumerate(tiers):
            ceiling = tiers[number + 1][0] if number + 1 < len(tiers) else np.inf
            counted += (np.minimum(market, ceiling) - floor).clip(min=0) * ratio
        collateral[pools.slot[start:end]] += counted
    debt = np.bincount(debts.slot, weights=debts.booked * price_of[debts.coin], minlength=size)
    with np.errstate(divide="ignore", invalid="ignore"):
        ltv = debt / collateral
    band = np.zeros(size)
    for line in lines[:3]:
        band += debt >= line * collateral
    return ltv, band


def _false(seen: screen.Screen, at: datetime) -> int:
    """How many of those near the exact rule finds in the band that they are in, neither called nor over a line."""
    from risk import book as exact
    from risk.levels import Band, band
    from risk.models import CollateralGroup, MarginCall

    idle = 0
    for start in range(0, len(seen.near), 500):
        groups = list(CollateralGroup.objects.filter(pk__in=seen.near[start : start + 500]))
        called = set(
            MarginCall.objects.filter(group__in=groups, ended_at__isnull=True).values_list("group", flat=True)
        )
        for group in groups:
            state = exact.state_of(group, at=at)
            found = band(state.worth(permission=False), state.lines)
            acts = (
                found == Band.LIQ or found.value != group.band or (found == Band.CALL) != (group.pk in called)
            )
            idle += not acts
    return idle
