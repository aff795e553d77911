"""What a reading leaves behind on the groups it was of: their band, their clocks, and the events that tell of a change.

Under the groups' locks, in the transaction that judged them, for all of them in two statements: a crash brings
thousands over a line at once. R-GEN-22, R-GEN-23, R-GEN-24, R-GEN-41
"""

from collections.abc import Iterable
from dataclasses import fields

from django.db import connection

from risk import margin_calls
from risk.book import GroupState
from risk.models import CollateralGroup, RiskEvent
from risk.readings import Clocks, Reading


def remember(read: Iterable[tuple[GroupState, Reading]]) -> None:
    """Each group's band and clocks, and an event for each change that people should see."""
    changed: list[CollateralGroup] = []
    told: list[RiskEvent] = []
    for state, reading in read:
        group = state.group
        assert group is not None, "only what exists is judged"
        events = _changed(group, state, reading)
        if events is not None:
            changed.append(group)
            told += events
    if not changed:
        return
    columns = zip(
        *((g.pk, g.band, g.breach_seen_at, g.blind_since, g.grace_until) for g in changed), strict=True
    )
    with connection.cursor() as cursor:
        cursor.execute(_REMEMBER, [list(column) for column in columns])
    RiskEvent.objects.bulk_create(told)


_REMEMBER = """
    UPDATE risk_collateralgroup g
        SET band = v.band, breach_seen_at = v.breach, blind_since = v.blind, grace_until = v.grace
        FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[])
            AS v (id, band, breach, blind, grace)
        WHERE g.id = v.id
"""


def _changed(group: CollateralGroup, state: GroupState, reading: Reading) -> list[RiskEvent] | None:
    """The group in hand as the reading leaves it, and what to tell of it; None where nothing changes."""
    before = Clocks(
        breach_seen_at=group.breach_seen_at, blind_since=group.blind_since, grace_until=group.grace_until
    )
    band = group.band if reading.band is None else reading.band.value
    if (before, group.band) == (reading.clocks, band):
        return None
    ltv = state.worth(permission=False).told_ltv
    facts = margin_calls.snapshot(state)
    told: list[tuple[str, dict[str, object]]] = []
    if reading.clocks.blind_since is not None and before.blind_since is None:
        told.append((RiskEvent.Kind.BLIND, {"stale": sorted({*state.stale_debts, *state.stale_coins})}))
    if reading.clocks.blind_since is None and before.blind_since is not None:
        told.append((RiskEvent.Kind.SIGHTED, {"blind_since": before.blind_since.isoformat()}))
    if reading.clocks.grace_until not in (None, before.grace_until):
        told.append((RiskEvent.Kind.GRACE, {"until": reading.clocks.grace_until.isoformat()}))
    if band != group.band:
        told.append((RiskEvent.Kind.BAND, {"from": group.band, "to": band}))
    for clock in fields(Clocks):
        setattr(group, clock.name, getattr(reading.clocks, clock.name))
    group.band = band
    return [
        RiskEvent(group=group, kind=kind, at=state.at, ltv=ltv, facts=facts | more) for kind, more in told
    ]
