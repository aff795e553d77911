"""New collateral ratios are told to whom they touch, before they count: at publication and a day before (R-GEN-36).

A notice says what the group's own LTV would be under the new ratios, at the prices of that moment, and what would
keep it below its margin call line. A ramp is one announcement, with the ratios it ends at. Ratios that are in force
as soon as they are published are not announced: there is nothing to prepare for any more.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from accounts import notices
from accounts.commands import Actor, command
from accounts.models import IdempotencyKey
from accounts.money import exact
from accounts.words import joined, tell
from risk import margin_calls
from risk.book import GroupState
from risk.models import CollateralTier, GroupCoin, RatioSchedule
from risk.parameters import CoinTerms
from risk.parameters.preview import in_chunks, with_ratios
from risk.valuation import Tier, Worth

JOB = Actor.job("announce-changes")
BEFORE = timedelta(hours=24)


class Moment(StrEnum):
    """When a change is told of."""

    PUBLISHED = "published"
    DAY_BEFORE = "day-before"


def announce_due(*, at: datetime) -> int:
    """Tell of every published change whose moment has come; returns how many announcements were made.

    Each is made once, whole, in a transaction of its own; safe to run late, twice, or two at once.
    """
    made = 0
    for target, moment in _due(at):
        announce(schedule_id=target.pk, moment=moment, actor=JOB, at=at, key=_key(target, moment))
        made += 1
    return made


@command("risk.announce_ratios")
def announce(*, schedule_id: int, moment: Moment, actor: Actor, at: datetime, key: str) -> None:
    """Tell each group that the schedule would change the LTV of. `schedule_id` is the last of a ramp. R-GEN-36"""
    target = RatioSchedule.objects.get(pk=schedule_id)
    starts = _series(target)[0].effective_at
    tiers = CollateralTier.objects.filter(schedule=target).order_by("floor")
    terms = CoinTerms(
        tiers=tuple(Tier(floor=tier.floor, ratio=tier.ratio) for tier in tiers), rank=target.liquidation_rank
    )
    holding = GroupCoin.objects.filter(asset=target.asset_id, released_at__isnull=True).values("group")
    for states in in_chunks(at=at, pk__in=holding):
        for state in states:
            changed = with_ratios(state, target.asset_id, terms)
            if _differs(state, changed):
                _tell(state, changed, target=target, starts=starts, moment=moment, at=at)


# --- Private ----------------------------------------------------------------------------------------


def _due(at: datetime) -> Iterator[tuple[RatioSchedule, Moment]]:
    """The last schedule of each series that is not all in force, with the moments that have come and are not told."""
    coming = RatioSchedule.objects.filter(effective_at__gt=at, announced_at__lte=at)
    for asset, announced_at in coming.order_by().values_list("asset", "announced_at").distinct():
        series = list(
            RatioSchedule.objects.filter(asset=asset, announced_at=announced_at).order_by("effective_at")
        )
        starts, target = series[0].effective_at, series[-1]
        moments = [Moment.PUBLISHED]
        if target.announced_at is not None and target.announced_at < starts - BEFORE <= at < starts:
            moments.append(Moment.DAY_BEFORE)
        told = IdempotencyKey.objects.filter(
            caller=JOB.label, key__in=[_key(target, moment) for moment in moments]
        )
        done = set(told.values_list("key", flat=True))
        yield from ((target, moment) for moment in moments if _key(target, moment) not in done)


def _key(target: RatioSchedule, moment: Moment) -> str:
    return f"ratios:{target.pk}:{moment}"


def _series(target: RatioSchedule) -> list[RatioSchedule]:
    """All that was published for the coin in one act, in the order in which it takes effect."""
    rows = RatioSchedule.objects.filter(asset=target.asset_id, announced_at=target.announced_at)
    return list(rows.order_by("effective_at"))


@exact
def _differs(state: GroupState, changed: GroupState) -> bool:
    before, after = state.worth(permission=False), changed.worth(permission=False)
    return before.collateral != after.collateral


def _tell(
    state: GroupState,
    changed: GroupState,
    *,
    target: RatioSchedule,
    starts: datetime,
    moment: Moment,
    at: datetime,
) -> None:
    group = state.group
    assert group is not None
    now, then = state.worth(permission=False), changed.worth(permission=False)
    notices.send(
        customer=group.customer,
        event=f"{_key(target, moment)}:{group.pk}",
        kind="ratios_change",
        title=(
            tell(
                "New {asset} ratios from {starts:%Y-%m-%d %H:%M} UTC: LTV of {group} would be {then}",
                asset=target.asset_id,
                starts=starts,
                group=group.name,
                then=margin_calls.percent(then),
            )
        ),
        body=joined("\n", _body(state, changed, now, then, target=target, starts=starts)),
        facts={
            "group": group.pk,
            "asset": target.asset_id,
            "effective_at": starts.isoformat(),
            "final_at": target.effective_at.isoformat(),
            "ltv": _fact(now),
            "ltv_then": _fact(then),
            "prices": {asset: f"{quote.price:f}" for asset, quote in sorted(state.quotes.items())},
        },
        at=at,
    )


def _body(
    state: GroupState,
    changed: GroupState,
    now: Worth,
    then: Worth,
    *,
    target: RatioSchedule,
    starts: datetime,
) -> Iterator[str]:
    lines, group = state.lines, state.group
    assert group is not None
    steps = ""
    if target.effective_at > starts:
        days = (target.effective_at - starts).days + 1
        steps = tell(
            ", in {days} daily steps until {effective_at:%Y-%m-%d %H:%M} UTC",
            days=days,
            effective_at=target.effective_at,
        )
    ratios = joined(
        ", ",
        (
            tell("{ratio} from {floor:,.0f} USD", ratio=_percent(tier.ratio), floor=tier.floor)
            for tier in changed.terms[target.asset_id].tiers
        ),
    )
    yield tell(
        "New collateral ratios of {asset} take effect on {starts:%Y-%m-%d %H:%M} UTC{steps}: {ratios}.",
        asset=target.asset_id,
        starts=starts,
        steps=steps,
        ratios=ratios,
    )
    yield (
        tell(
            "The loan-to-value ratio of {group} ({group2}) would be {then} under the new ratios; it"
            " is {now} now. The margin call line is {margin_call}; at {liquidation} your collateral"
            " is sold.",
            group=group.name,
            group2=group,
            then=margin_calls.percent(then),
            now=margin_calls.percent(now),
            margin_call=_percent(lines.margin_call),
            liquidation=_percent(lines.liquidation),
        )
    )
    if then.is_at_least(lines.margin_call):
        found = margin_calls.cure_to(state=changed, line=lines.margin_call, strictly_below=True)
        yield tell(
            "To stay below the margin call line: {changed}.", changed=margin_calls.ways(changed, found)
        )
    yield tell("Prices used: {state}. They move; so do these figures.", state=margin_calls.prices_used(state))


@exact
def _percent(fraction: Decimal) -> str:
    return tell("{value:f} %", value=(100 * fraction).normalize())


def _fact(worth: Worth) -> str | None:
    ltv = worth.told_ltv
    return None if ltv is None else f"{ltv:f}"
