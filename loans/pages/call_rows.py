"""The margin-call workbench's rows: each open call with where its group stands, what was said, and what is next.

Worst first, by the states the sweep decides on; a list costs a constant number of queries (R-FTR-18).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db.models import Q, QuerySet

from accounts.models import Customer, Notice
from accounts.money import ZERO
from accounts.pages.facts import Channel, channels_of, kind_name
from accounts.words import tell
from loans import book_sums
from risk import book, call_records, call_stages, delays
from risk.book import GroupState
from risk.call_records import Followed
from risk.call_stages import Promise, Stage
from risk.levels import BAND_WORDS, Band, band
from risk.models import CallRecord, LiquidationDelay, MarginCall, RiskEvent
from risk.pages.groups import event_words
from risk.pages.standing import Standing, Way, standing_of, ways_out
from risk.pages.track import Track, track

MOST_CALLS: Final = 1000  # of which the worst are looked for
MOST_ROWS: Final = 50
BANDS: Final = (Band.LIQ, Band.CALL, Band.WATCH, Band.SAFE)  # worst first

FILTERS: Final[Mapping[str, str]] = {
    "called": tell("Called"),
    "acknowledged": tell("Acknowledged"),
    "promised": tell("Promised"),
    "broken": tell("Promise broken"),
    "unanswered": tell("Not acknowledged for 30 min"),
}


@dataclass(frozen=True, slots=True)
class CallRow:
    """An open call. `ways` lead below its call line: the least to repay, and the least to add."""

    followed: Followed
    standing: Standing
    ways: tuple[Way, ...]

    @property
    def call(self) -> MarginCall:
        return self.followed.call

    @property
    def cures(self) -> list[tuple[Way, Track | None]]:
        """Each way with LTV before and after on the group's own lines; no track where no figure can be drawn."""
        now, lines = self.standing.worth.ltv, self.standing.lines
        return [
            (
                way,
                None
                if now is None or way.ltv_after is None
                else track(now, lines, after=way.ltv_after, band=self.standing.band),
            )
            for way in self.ways
        ]

    @property
    def next_step(self) -> str:
        return call_stages.next_step(
            where=self.followed.stage,
            promised=self.followed.promise,
            is_unanswered=self.followed.is_unanswered,
            is_at_liquidation=self.standing.band is Band.LIQ,
        )


@dataclass(frozen=True, slots=True)
class Workbench:
    """The rows asked for, and how many there are of each kind; `rest` more are not shown."""

    rows: list[CallRow]
    rest: int
    open: int
    counts: list[tuple[str, str, int]]


def workbench(clients: QuerySet[Customer], *, chosen: str, at: datetime) -> Workbench:
    """The open calls of these clients, worst first; `chosen` is a key of FILTERS, or all."""
    rows = MarginCall.objects.filter(group__customer__in=clients, ended_at__isnull=True)
    calls = list(rows.select_related("group__customer", "group__receiver").order_by("pk")[:MOST_CALLS])
    followed = call_records.followed(calls, at=at)
    kinds = {call.pk: _kinds(followed[call.pk]) for call in calls}
    counts = [(key, name, sum(key in found for found in kinds.values())) for key, name in FILTERS.items()]
    shown = [call for call in calls if chosen not in FILTERS or chosen in kinds[call.pk]]
    worst = _worst(clients, shown, at=at)
    states = book.states([call.group for call in worst], at=at)
    worst.sort(key=lambda call: _danger(call, states[call.group_id]))
    running = delays.running_by_group(call.group for call in worst)
    return Workbench(
        rows=[row_of(followed[call.pk], states[call.group_id], running) for call in worst],
        rest=max(len(shown) - MOST_ROWS, 0),
        open=len(calls),
        counts=counts,
    )


def _worst(clients: QuerySet[Customer], calls: list[MarginCall], *, at: datetime) -> list[MarginCall]:
    """As many of these calls as are shown, of the groups in the most danger; a group that owes nothing comes last."""
    if len(calls) <= MOST_ROWS:
        return calls
    ranked = book_sums.worst(clients, [call.group_id for call in calls], most=MOST_ROWS, at=at)
    place = {pk: number for number, pk in enumerate(ranked)}
    return sorted(calls, key=lambda call: place.get(call.group_id, MOST_ROWS))[:MOST_ROWS]


def row_of(
    followed: Followed, state: GroupState, running: Mapping[int, LiquidationDelay] | None = None
) -> CallRow:
    group = followed.call.group
    standing = standing_of(group, state, delay=(running or {}).get(group.pk))
    ways = () if standing.is_blind else tuple(way for way in ways_out(standing) if not way.is_to_initial)
    return CallRow(followed=followed, standing=standing, ways=ways)


def _kinds(followed: Followed) -> set[str]:
    """The filters this call answers to."""
    found = {str(followed.stage)}
    if followed.is_broken:
        found.add("broken")
    if followed.is_unanswered:
        found.add("unanswered")
    return found


def _danger(call: MarginCall, state: GroupState) -> tuple[int, bool, Decimal, int]:
    """By band first: with negotiated lines a higher LTV may be the safer one. Debt without collateral is worst."""
    worth = state.worth(permission=False)
    return (
        BANDS.index(band(worth, state.lines)),
        worth.ltv is not None,
        -(worth.ltv or ZERO),
        call.pk,
    )


# --- A call's whole record --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened during a call. Exactly one of the three is there."""

    at: datetime
    event: RiskEvent | None = None
    notice: Notice | None = None
    record: CallRecord | None = None
    promise: Promise | None = None
    channels: tuple[Channel, ...] = ()

    @property
    def kind(self) -> str:
        return kind_name(self.notice.kind) if self.notice else ""

    @property
    def happened(self) -> str:
        if self.event is None:
            return ""
        to = self.event.facts.get("to", "") if self.event.kind == RiskEvent.Kind.BAND else ""
        return (
            tell("{happened} {band}", happened=event_words(self.event), band=BAND_WORDS[Band(to)])
            if to
            else event_words(self.event)
        )


def story_of(followed: Followed, *, at: datetime) -> list[Entry]:
    """What happened to the group, what its owner was told, and what was said, newest first. R-FTR-18"""
    call = followed.call
    until = call.ended_at or at
    events = RiskEvent.objects.filter(group=call.group, at__gte=call.opened_at, at__lte=until)
    events = events.exclude(kind=RiskEvent.Kind.CALL_RECORD)  # the records themselves stand there
    about = Q(facts__group=call.group_id) | Q(facts__margin_call=call.pk)
    told = Notice.objects.filter(about, customer=call.group.customer, at__gte=call.opened_at, at__lte=until)
    told = told.select_related("acknowledged_by").prefetch_related("deliveries__contact")
    found = [Entry(at=event.at, event=event) for event in events.order_by("pk")]
    found += [
        Entry(at=row.at, notice=row, channels=tuple(channels_of(row, for_house=True)[1:]))
        for row in told.order_by("pk")
    ]
    found += [Entry(at=row.at, record=row, promise=followed.state_of(row)) for row in followed.records]
    return sorted(found, key=lambda entry: entry.at, reverse=True)


def is_open(stage: Stage) -> bool:
    return stage not in {Stage.CURED, Stage.LIQUIDATED}
