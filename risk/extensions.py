"""More time for a group in trouble: a running delay, or the grace after an outage, lengthened by two persons.

Within limits that the dated settings give, so that nobody keeps a group from being sold for ever. R-ADM-05, R-FTR-17
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from accounts import notices
from accounts.commands import Actor, FourEyes, command
from accounts.errors import Refused
from accounts.models import User
from accounts.words import tell
from risk import parameters
from risk.delays import DESK, minute, refuse_others_client, running
from risk.models import CollateralGroup, RiskEvent

EXTENSIONS_IN_A_REST: Final = 2  # so many whole delays may be given on top within the rest between two


class NothingToExtend(Refused):
    """Neither a delay nor a grace runs, or the new end is not between the old one and the last possible."""

    code = "nothing_to_extend"


@command(
    "risk.extend_grace",
    returns=CollateralGroup,
    four_eyes=FourEyes(makers=DESK | {User.Role.VIP_MANAGER}, checkers=DESK),
)
def extend_grace(
    *, group_id: int, until: datetime, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> CollateralGroup:
    """Give a group until `until`: its running delay, or else the grace after an outage. Two persons. R-ADM-05, R-FTR-17

    `room` says how far: at most one more delay at a time, two in a week, and no longer than the rest between two.

    Raises:
        NotYourClient: the customer of another manager.
        NothingToExtend: nothing runs, or `until` is not later than its end, or later than the last possible.
    """
    [group] = CollateralGroup.objects.locked(group_id)
    refuse_others_client(actor, group.customer)
    row = running(group)
    limits = room(group, at=at)
    if limits is None:
        raise NothingToExtend(
            tell("Neither a delay nor a grace runs for {group}; there is nothing to extend.", group=group)
        )
    _refuse_bad_end(until, limits)
    if row is not None:
        facts = {"from": row.ends_at.isoformat(), "until": until.isoformat()}
        row.ends_at = until
        row.save(update_fields=["ends_at"])
        kind = RiskEvent.Kind.DELAY_EXTENDED
    else:
        facts = {"from": limits.ends_at.isoformat(), "until": until.isoformat()}
        group.grace_until = until
        group.save(update_fields=["grace_until"])
        kind = RiskEvent.Kind.GRACE_EXTENDED
    RiskEvent.objects.create(group=group, kind=kind, at=at, facts=facts | {"reason": reason})
    notices.send(
        customer=group.customer,
        event=f"delay-extended:{group.pk}:{until.isoformat()}",
        kind="delay",
        title=tell("{group}: nothing is sold before {until}", group=group.name, until=minute(until)),
        body=tell(
            "The desk gave {group} ({group2}) more time. Unless LTV rises above the cut-off,"
            " nothing is sold before {until}.",
            group=group.name,
            group2=group,
            until=minute(until),
        ),
        facts=facts | {"group": group.pk},
        at=at,
    )
    return group


@dataclass(frozen=True, slots=True)
class Room:
    """How far a delay or grace that ends at `ends_at` may be lengthened: until `last`. Hours are of the settings."""

    ends_at: datetime
    last: datetime
    each_hours: int  # one extension
    week_hours: int  # all extensions of the group within `rest_hours`
    rest_hours: int
    used: timedelta  # of `week_hours`


def room(group: CollateralGroup, *, at: datetime) -> Room | None:
    """What a second person may still be asked for; None when nothing runs. R-FTR-17

    `Settings` gives the lengths: one extension is at most a whole delay, all within the rest between two delays at
    most two of them, and a delay together with them no longer than that rest.
    """
    row = running(group)
    if row is None and (group.grace_until is None or group.grace_until <= at):
        return None
    settings = parameters.settings_at(at)
    rest = timedelta(hours=settings.delay_rest_hours)
    begun, ends_at = (at, group.grace_until) if row is None else (row.started_at, max(row.ends_at, at))
    assert ends_at is not None, "one of the two runs"
    each, used = timedelta(hours=settings.delay_hours), _extended(group, since=at - rest)
    most = min(each, max(EXTENSIONS_IN_A_REST * each - used, timedelta()))
    week_hours = EXTENSIONS_IN_A_REST * settings.delay_hours
    last = max(min(ends_at + most, begun + rest), ends_at)
    return Room(ends_at, last, settings.delay_hours, week_hours, settings.delay_rest_hours, used)


def _extended(group: CollateralGroup, *, since: datetime) -> timedelta:
    """By how much this group was given more time after `since`, all together."""
    kinds = [RiskEvent.Kind.DELAY_EXTENDED, RiskEvent.Kind.GRACE_EXTENDED]
    told = RiskEvent.objects.filter(group=group, kind__in=kinds, at__gt=since).values_list("facts", flat=True)
    spans = (datetime.fromisoformat(one["until"]) - datetime.fromisoformat(one["from"]) for one in told)
    return sum(spans, timedelta())


def _refuse_bad_end(until: datetime, limits: Room) -> None:
    if limits.last <= limits.ends_at:
        raise NothingToExtend(
            tell(
                "No more time can be given: it ends at {ends_at}. {used} h of at most {week_hours} h"
                " were given within {rest_hours} h, which is also as long as a delay may be.",
                ends_at=minute(limits.ends_at),
                used=limits.used // timedelta(hours=1),
                week_hours=limits.week_hours,
                rest_hours=limits.rest_hours,
            )
        )
    if not limits.ends_at < until <= limits.last:
        raise NothingToExtend(
            tell(
                "The new end must be after {ends_at} and at the latest {last}: at most {each_hours} h"
                " at a time and {week_hours} h within {rest_hours} h.",
                ends_at=minute(limits.ends_at),
                last=minute(limits.last),
                each_hours=limits.each_hours,
                week_hours=limits.week_hours,
                rest_hours=limits.rest_hours,
            )
        )
