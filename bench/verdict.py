"""What each stage of `make bench` found, beside what was promised."""

from math import nan
from typing import Any, Final

from bench.bars import Bar, exponent

# Of the short form: its books are small, and the machine may do other things meanwhile.
ROOM: Final = 1.5
GROWN: Final = (
    2.4  # of an answer's time, in the short form: some tenths of a second are all that is looked at
)
EXTRA_GROWTH: Final = 0.05  # above the floor's own exponent
EXTRA_GROWTH_SMALL: Final = 0.25  # between books whose times are tenths of a second
STRESS_SECONDS: Final = 20.0
Tables = dict[str, list[Bar]]


def of(stage: str, found: Any, *, small: bool) -> Tables:
    """The tables of one stage, by title."""
    room = ROOM if small else 1.0
    if stage == "scale":
        return _scale(found, room, small=small)
    if stage == "requests":
        return _requests(found, grown=GROWN if small else 1.2)
    return {"liquidation": _liquidation, "spread": _spread}[stage](found, room)


def _scale(found: list[dict[str, Any]], room: float, *, small: bool) -> Tables:
    sizes = [size["debts"] for size in found]
    tables: Tables = {}
    for size in found:
        night = size["accrual"]
        floor = sum(night["floor_seconds"]) / len(night["floor_seconds"])
        is_last = size is found[-1]
        tables[f"Midnight accrual, {size['debts']:,} debts"] = [
            Bar("two workers", night["seconds"], unit="s"),
            Bar("the floor", floor, unit="s"),
            Bar("ratio to the floor", night["ratio"], most=1.6 * room if is_last else None),
            Bar("peak memory of a worker", night["memory_mb"], most=250, unit="MB"),
            Bar("wrong or missing rows", len(night["problems"]), most=0),
        ]
    for size in found:
        look = size["sweep"]
        is_last = size is found[-1]
        tables[
            f"Sweep, {look['positions']:,} positions and {look['debts']:,} debts of {look['groups']:,} groups"
        ] = [
            Bar("warm, 1 % moved", 1000 * look["warm_seconds"], unit="ms"),
            Bar("warm, nothing moved", 1000 * look["quiet_seconds"], unit="ms"),
            Bar("the arithmetic alone", 1000 * look["arithmetic_seconds"], unit="ms"),
            _warm(look, found[0]["sweep"], room, small=small, is_last=is_last),
            Bar("cold", 1000 * look["cold_seconds"], unit="ms"),
            Bar("the COPY alone", 1000 * look["copy_seconds"], unit="ms"),
            Bar("cold to the COPY", look["cold_ratio"], most=1.6 * room if is_last else None),
            Bar("looked at for nothing, % of groups", 100 * look["false_share"], most=0.5),
            Bar("peak memory of the watch", look["memory_mb"], unit="MB"),
        ]
    stress = found[-1]["stress"]
    tables[f"Stress, {stress['groups']:,} groups through {stress['title']}"] = [
        Bar("seconds, read and all", stress["seconds"], most=STRESS_SECONDS, unit="s"),
        Bar("steps", stress["steps"]),
        Bar("groups liquidated", stress["liquidated"]),
    ]
    growth = [("accrual", _seconds(found, "accrual", "seconds"), [_floor(size) for size in found])]
    growth += [
        (f"{name} sweep", _seconds(found, "sweep", f"{name}_seconds"), _seconds(found, "sweep", floor))
        for name, floor in (("warm", "arithmetic_seconds"), ("cold", "copy_seconds"))
    ]
    extra = EXTRA_GROWTH_SMALL if small else EXTRA_GROWTH
    tables[f"Growth from {sizes[0]:,} to {sizes[-1]:,} debts, as a power of the size"] = [
        bar
        for name, ours, floors in growth
        for bar in (
            Bar(f"{name}: the floor", exponent(sizes, floors)),
            Bar(name, exponent(sizes, ours), most=exponent(sizes, floors) + extra),
        )
    ]
    return tables


def _warm(look: dict[str, Any], least: dict[str, Any], room: float, *, small: bool, is_last: bool) -> Bar:
    """On a small book most of a look is its queries, so there what they take on the smallest one is in the floor."""
    if not small:
        return Bar("warm to the arithmetic", look["warm_ratio"], most=4 if is_last else None)
    floor = look["arithmetic_seconds"] + least["quiet_seconds"]
    ratio = look["warm_seconds"] / floor
    return Bar("warm to the arithmetic and a quiet look", ratio, most=4 * room if is_last else None)


def _liquidation(found: dict[str, Any], room: float) -> Tables:
    pages, pace, order = found["pages"], found["pace"], found["order"]
    return {
        f"A crash of {found['groups']:,} groups, two workers": [
            Bar("seconds until the queue is empty", found["seconds"], unit="s"),
            Bar("groups a second", found["groups_per_second"]),
            Bar("bare posts a second", max(found["posts_per_second"])),
            Bar("groups to bare posts", found["ratio"], least=0.125 / room),
            Bar("order of sales to order of danger (rho)", order["rho"], least=0.99),
            Bar("furthest out of its place", order["furthest"], unit="places"),
            Bar("pages meanwhile, median", pages.get("median_ms", nan), unit="ms"),
            Bar("pages meanwhile, p99", pages.get("p99_ms", nan), most=500 * room, unit="ms"),
            Bar("spans with more sold than the pace limit and one sale", 0 if pace["held"] else 1, most=0),
        ]
    }


def _requests(found: dict[str, Any], *, grown: float) -> Tables:
    tables: Tables = {}
    title = f"{found['loans']:,} loans instead of one; a loan with {found['accruals']} charges"
    for name, row in found["rows"].items():
        before, after = row["queries"]
        tables.setdefault(title, []).extend(
            [
                Bar(f"{name}: further queries", after - before, most=0),
                Bar(f"{name}: time, times as before", row["growth"], most=grown),
                Bar(f"{name}: p99 of 16 connections, times an empty one's", row["p99_to_empty"]),
                Bar(f"{name}: median alone", row["median_ms"][1], unit="ms"),
            ]
        )
    return tables


def _spread(found: dict[str, Any], room: float) -> Tables:
    rows = found["nights"]
    two, four = rows[0], rows[-1]
    return {
        f"Workers apart ({two['apart_by']}), {two['debts']:,} debts": [
            Bar(f"{two['workers']} workers", two["seconds"], unit="s"),
            Bar(f"{four['workers']} workers", four["seconds"], unit="s"),
            Bar("four to two", four["seconds"] / two["seconds"]),
            Bar("rows done twice, wrong or missing", sum(len(row["problems"]) for row in rows), most=0),
        ]
    }


def _seconds(found: list[dict[str, Any]], job: str, name: str) -> list[float]:
    return [size[job][name] for size in found]


def _floor(size: dict[str, Any]) -> float:
    floors = size["accrual"]["floor_seconds"]
    return float(sum(floors) / len(floors))
