"""The margin-call workbench's rows: each open call with where its group stands, what was said, and what is next.

Worst first, by the states the sweep decides on; a list costs a constant number of queries (R-FTR-18).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.core.paginator import Page, Paginator
from django.db.models import Count, Q, QuerySet

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
from risk.pages.standing import Standing, Way, standing_of, track_of, ways_out
from risk.pages.track import Track

PER_PAGE: Final = 50
BANDS: Final = (Band.LIQ, Band.CALL, Band.WATCH, Band.SAFE)  # worst first

FILTERS: Final[Mapping[str, str]] = {
    Stage.CALLED.value: tell("Called"),
    Stage.ACKNOWLEDGED.value: tell("Acknowledged"),
    Stage.PROMISED.value: tell("Promised"),
    call_records.BROKEN: tell("Promise broken"),
    call_records.UNANSWERED: tell("Not acknowledged for 30 min"),
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
        return [(way, track_of(self.standing, way)) for way in self.ways]

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
    """The rows of one page, worst first over all pages, and how many open calls there are of each kind."""

    rows: list[CallRow]
    page: "Page[int]"
    open: int
    counts: list[tuple[str, str, int]]


def workbench(
    clients: QuerySet[Customer], *, chosen: str, page: str | None = None, at: datetime
) -> Workbench:
    """The open calls of these clients, worst first; `chosen` is a key of FILTERS, or all. R-FTR-18"""
    calls = MarginCall.objects.filter(group__customer__in=clients, ended_at__isnull=True)
    marked, kinds = call_records.marked(calls), call_records.kinds(at=at)
    counts = marked.aggregate(open=Count("pk"), **{key: Count("pk", filter=kinds[key]) for key in FILTERS})
    shown = marked.filter(kinds[chosen]) if chosen in FILTERS else calls
    places = Paginator(_ranked(clients, shown, at=at), PER_PAGE).get_page(page)
    rows = calls.filter(group__in=places.object_list).select_related("group__customer", "group__receiver")
    worst = list(rows.order_by("pk"))
    states = book.states([call.group for call in worst], at=at)
    worst.sort(key=lambda call: _danger(call, states[call.group_id]))
    followed = call_records.followed(worst, at=at)
    running = delays.running_by_group(call.group for call in worst)
    return Workbench(
        rows=[row_of(followed[call.pk], states[call.group_id], running) for call in worst],
        page=places,
        open=counts["open"],
        counts=[(key, name, counts[key]) for key, name in FILTERS.items()],
    )


def _ranked(clients: QuerySet[Customer], calls: QuerySet[MarginCall], *, at: datetime) -> list[int]:
    """The groups of these calls, those in the most danger first; one that owes nothing comes last."""
    groups = list(calls.order_by("pk").values_list("group", flat=True))
    if len(groups) <= PER_PAGE:  # each is valued anyway
        return groups
    ranked = book_sums.worst(clients, groups, most=len(groups), at=at)
    return list(dict.fromkeys([*ranked, *groups]))


def row_of(
    followed: Followed, state: GroupState, running: Mapping[int, LiquidationDelay] | None = None
) -> CallRow:
    group = followed.call.group
    standing = standing_of(group, state, delay=(running or {}).get(group.pk))
    ways = () if standing.is_blind else tuple(way for way in ways_out(standing) if not way.is_to_initial)
    return CallRow(followed=followed, standing=standing, ways=ways)


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
