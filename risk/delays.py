"""Delayed liquidation: an enrolled borrower gets hours, once a week at most, to bring LTV back to the initial line.

People enrol customers and end that; the sweep starts and ends delays by the one pure rule (`readings.delayed`),
inside the transaction that decided it and under the group's lock. Nothing moves a delay's end but a person with a
second one (risk/extensions.py). R-VIP-60, R-VIP-61, R-VIP-62
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import F, Max, Q

from accounts import notices
from accounts.commands import Actor, FourEyes, command
from accounts.errors import Refused
from accounts.models import Customer, User
from accounts.words import joined, tell
from risk import margin_calls, readings
from risk.book import GroupState
from risk.models import CollateralGroup, DelayEnrolment, LiquidationDelay, RiskEvent, Settings

HOURS_LEFT = (1, 3, 12)  # when a running delay is told again; the nearest first
Ended = LiquidationDelay.Ended

DESK = frozenset({User.Role.RISK_OFFICER, User.Role.ADMIN})
_GRANTING = FourEyes(makers=DESK | {User.Role.VIP_MANAGER}, checkers=DESK, needed=lambda _: False)


class NotYourClient(Refused):
    code = "not_your_client"


class BadEnrolment(Refused):
    """Its dates make no sense, or a job enrols without naming who grants it."""

    code = "bad_enrolment"


class AlreadyEnrolled(Refused):
    code = "already_enrolled"


class NotEnrolled(Refused):
    """The enrolment has ended, or there is nothing in it to review."""

    code = "not_enrolled"


# --- What people do -------------------------------------------------------------------------------------------


@command("risk.enrol_delay", returns=DelayEnrolment, four_eyes=_GRANTING)
def enrol(
    *,
    customer_id: int,
    starts_at: datetime,
    ends_at: datetime | None,
    actor: Actor,
    at: datetime,
    granted_by_id: int | None = None,
    key: str = "",
    reason: str = "",
) -> DelayEnrolment:
    """Delay the liquidations of a customer's groups from `starts_at` until `ends_at` (None: until ended). R-VIP-60

    A VIP manager enrols own clients only. `granted_by_id` is for jobs; a person grants it in their own name.

    Raises:
        NotYourClient: the customer of another manager.
        BadEnrolment: it begins in the past, ends before it begins, or a job does not say who grants it.
        AlreadyEnrolled: another enrolment covers some of that time.
    """
    customer = Customer.objects.get(pk=customer_id)
    refuse_others_client(actor, customer)
    granted_by = granted_by_id if actor.user_id is None else actor.user_id
    if granted_by is None:
        raise BadEnrolment(tell("Say who grants the delay."))
    if starts_at < at:
        raise BadEnrolment(tell("An enrolment cannot begin in the past; let it begin now or later."))
    if ends_at is not None and ends_at <= starts_at:
        raise BadEnrolment(tell("The enrolment must end after it begins."))
    taken = DelayEnrolment.objects.filter(
        Q(ends_at__isnull=True) | Q(ends_at__gt=starts_at), customer=customer
    ).exclude(ends_at=F("starts_at"))  # ended before it began: it never was
    if ends_at is not None:
        taken = taken.filter(starts_at__lt=ends_at)
    other = taken.order_by("starts_at").first()
    if other is not None:
        raise AlreadyEnrolled(
            tell(
                "{customer} is enrolled from {starts_at}{ends_at}. End that enrolment first.",
                customer=customer,
                starts_at=minute(other.starts_at),
                ends_at=tell(" until {ends_at}", ends_at=minute(other.ends_at)) if other.ends_at else "",
            )
        )
    return DelayEnrolment.objects.create(
        customer=customer, starts_at=starts_at, ends_at=ends_at, granted_by_id=granted_by, granted_at=at
    )


@command("risk.end_delay_enrolment", returns=DelayEnrolment, four_eyes=_GRANTING)
def end_enrolment(
    *, enrolment_id: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> DelayEnrolment:
    """From now on no delay starts; one that runs keeps its time.

    Raises:
        NotYourClient: the customer of another manager. NotEnrolled: it has ended already.
    """
    row = _live_enrolment(enrolment_id, actor, at)
    row.ends_at = max(at, row.starts_at)
    row.save(update_fields=["ends_at"])
    return row


@command("risk.keep_delay_enrolment", returns=DelayEnrolment, four_eyes=_GRANTING)
def keep_enrolment(
    *, enrolment_id: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> DelayEnrolment:
    """The review that a delay without a sale asked for: the enrolment stays as it is. R-VIP-62

    Raises:
        NotYourClient: the customer of another manager. NotEnrolled: it has ended, or no review is due.
    """
    row = _live_enrolment(enrolment_id, actor, at)
    if row.review_since is None:
        raise NotEnrolled(tell("No review of this enrolment is due."))
    row.review_since = None
    row.save(update_fields=["review_since"])
    return row


def _live_enrolment(enrolment_id: int, actor: Actor, at: datetime) -> DelayEnrolment:
    rows = DelayEnrolment.objects.select_for_update(of=("self",), no_key=True)
    row = rows.select_related("customer").get(pk=enrolment_id)
    refuse_others_client(actor, row.customer)
    if row.ends_at is not None and row.ends_at <= at:
        raise NotEnrolled(
            tell(
                "This enrolment of {customer} ended on {ends_at}.",
                customer=row.customer,
                ends_at=minute(row.ends_at),
            )
        )
    return row


def refuse_others_client(actor: Actor, customer: Customer) -> None:
    if actor.user_id is None or customer.manager_id == actor.user_id:
        return
    if User.objects.filter(pk=actor.user_id, role=User.Role.VIP_MANAGER).exists():
        raise NotYourClient(
            tell(
                "{customer} is not your client; their manager or a risk officer does this.", customer=customer
            )
        )


# --- What the sweep asks ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Clock:
    """A group's delay as the sweep sees it: the one that runs, or the enrolment under which one may start."""

    running: LiquidationDelay | None = None
    enrolment: DelayEnrolment | None = None

    @property
    def as_read(self) -> readings.Delay:
        return readings.Delay(
            ends_at=self.running.ends_at if self.running else None, may_start=self.enrolment is not None
        )


def running(group: CollateralGroup) -> LiquidationDelay | None:
    return LiquidationDelay.objects.filter(group=group, ended_at__isnull=True).first()


def running_by_group(groups: Iterable[CollateralGroup]) -> dict[int, LiquidationDelay]:
    """The delay that runs for each of these groups, by the group's key. One query."""
    rows = LiquidationDelay.objects.filter(group__in=list(groups), ended_at__isnull=True)
    return {row.group_id: row for row in rows}


def clocks(groups: Iterable[CollateralGroup], *, settings: Settings, at: datetime) -> dict[int, Clock]:
    """The delay of each group that has one or may have one, by its key. Three queries at most."""
    groups = list(groups)
    found = {pk: Clock(running=row) for pk, row in running_by_group(groups).items()}
    enrolments = _enrolments({group.customer_id for group in groups if group.pk not in found}, at)
    if not enrolments:
        return found
    begun = LiquidationDelay.objects.filter(group__in=groups).values_list("group").order_by()
    last = dict(begun.annotate(Max("started_at")))
    rest = timedelta(hours=settings.delay_rest_hours)
    for group in groups:
        enrolment = enrolments.get(group.customer_id)
        rested = readings.has_rested(last_started_at=last.get(group.pk), rest=rest, at=at)
        if group.pk not in found and enrolment is not None and rested:
            found[group.pk] = Clock(enrolment=enrolment)
    return found


def _enrolments(customers: Collection[int], at: datetime) -> Mapping[int, DelayEnrolment]:
    rows = DelayEnrolment.objects.filter(customer__in=customers, starts_at__lte=at)
    rows = rows.filter(Q(ends_at__isnull=True) | Q(ends_at__gt=at))
    return {row.customer_id: row for row in rows.order_by("starts_at", "pk")}


# --- What it leaves behind ------------------------------------------------------------------------------------


def start(
    *, enrolment: DelayEnrolment, group: CollateralGroup, state: GroupState, settings: Settings, at: datetime
) -> LiquidationDelay:
    """The liquidation call: the clock runs from now, and a margin call not sent yet is dropped (R-GEN-61)."""
    ends_at = at + timedelta(hours=settings.delay_hours)
    row = LiquidationDelay.objects.create(
        group=group, enrolment=enrolment, started_at=at, ends_at=ends_at, ltv=_ltv(state)
    )
    notices.drop_unsent(customer=group.customer, event_prefix=margin_calls.event_prefix(group), at=at)
    facts = _needed_facts(row, state)
    RiskEvent.objects.create(group=group, kind=RiskEvent.Kind.DELAY_STARTED, at=at, ltv=row.ltv, facts=facts)
    _tell(row, group, state, event=f"delay:{row.pk}", kind="delay", facts=facts, at=at)
    return row


def remind(*, row: LiquidationDelay, group: CollateralGroup, state: GroupState, at: datetime) -> None:
    """Say again what is needed when 12 hours, 3 hours and 1 hour are left; a late pass says it once. R-GEN-65"""
    for hours in HOURS_LEFT:
        marked = row.ends_at - timedelta(hours=hours)
        if marked <= at < row.ends_at and row.started_at < marked:
            event = f"delay:{row.pk}:{row.ends_at.isoformat()}:{hours}"
            _tell(row, group, state, event=event, kind="delay_left", facts=_needed_facts(row, state), at=at)
            return


def finish(
    *, row: LiquidationDelay, how: str, group: CollateralGroup, state: GroupState, at: datetime
) -> None:
    """The delay is over. Without a cure or a sale its enrolment is to be looked at again. R-VIP-62"""
    row.ended_at, row.ended = at, how
    row.save(update_fields=["ended_at", "ended"])
    if how == Ended.NO_SALE:
        DelayEnrolment.objects.filter(pk=row.enrolment_id).update(review_since=at)
    facts = margin_calls.snapshot(state) | {"delay": row.pk, "ended": how}
    RiskEvent.objects.create(
        group=group, kind=RiskEvent.Kind.DELAY_ENDED, at=at, ltv=_ltv(state), facts=facts
    )
    notices.send(
        customer=group.customer,
        event=f"delay-ended:{row.pk}",
        kind="delay_ended",
        title=tell("{group}: {end_titles}", group=group.name, end_titles=_END_TITLES[how]),
        body=tell(
            "The liquidation call of {group} ({group2}) that began on {started_at} is over: {end_words}",
            group=group.name,
            group2=group,
            started_at=minute(row.started_at),
            end_words=_END_WORDS[how],
        ),
        facts=facts,
        at=at,
    )


_END_TITLES: Mapping[str, str] = {
    Ended.CURED: tell("nothing is sold, LTV is back at the initial line"),
    Ended.CUT_OFF: tell("LTV rose above the cut-off, collateral is sold"),
    Ended.SOLD: tell("time is up, collateral is sold"),
    Ended.STEPPED: tell("time is up, some collateral is sold"),
    Ended.NO_SALE: tell("time is up, nothing is sold"),
    Ended.SETTLED: "nothing is owed any more",
}
_END_WORDS: Mapping[str, str] = {
    Ended.CURED: tell("LTV is at or below the initial line. There is nothing left to do."),
    Ended.CUT_OFF: tell(
        "LTV rose above the cut-off, where no delay is granted. What was sold is told separately."
    ),
    Ended.SOLD: tell(
        "time was up and LTV at or over the liquidation line. What was sold is told separately."
    ),
    Ended.STEPPED: tell(
        "time was up and LTV still at or over the margin call line, so as much"
        " collateral is sold as brings it back to the initial line. What was sold is"
        " told separately."
    ),
    Ended.NO_SALE: tell(
        "time was up and LTV above the initial line, but below the margin call line."
        " Nothing is sold; your VIP manager will look at how your liquidations are"
        " handled."
    ),
    Ended.SETTLED: "nothing is owed any more.",
}


def _tell(
    row: LiquidationDelay,
    group: CollateralGroup,
    state: GroupState,
    *,
    event: str,
    kind: str,
    facts: dict[str, object],
    at: datetime,
) -> None:
    lines, worth = state.lines, state.worth(permission=False)
    initial = margin_calls.cure_to(state=state, line=lines.initial, strictly_below=False)
    notices.send(
        customer=group.customer,
        event=event,
        kind=kind,
        title=tell(
            "Liquidation call: {group} has until {ends_at}", group=group.name, ends_at=minute(row.ends_at)
        ),
        body=joined(
            "\n",
            [
                tell(
                    "LTV of {group} ({group2}) is {worth}. Its collateral is not sold before"
                    " {ends_at}, unless LTV rises above {cutoff:.2%}.",
                    group=group.name,
                    group2=group,
                    worth=margin_calls.percent(worth),
                    ends_at=minute(row.ends_at),
                    cutoff=lines.cutoff,
                ),
                "",
                tell(
                    "Needed now, to get back to the initial line of {initial:.2%}: {state}.",
                    initial=lines.initial,
                    state=margin_calls.ways(state, initial),
                ),
                "",
                tell(
                    "The time does not begin anew when LTV falls and rises again. When it is up,"
                    " everything is sold that must be at or over {liquidation:.2%}; from"
                    " {margin_call:.2%} on as much as brings LTV back to the initial line; below that"
                    " nothing.",
                    liquidation=lines.liquidation,
                    margin_call=lines.margin_call,
                ),
                tell(
                    "Prices used: {state}. They move; so do these amounts.",
                    state=margin_calls.prices_used(state),
                ),
            ],
        ),
        facts=facts,
        at=at,
    )


def _needed_facts(row: LiquidationDelay, state: GroupState) -> dict[str, object]:
    initial = margin_calls.cure_to(state=state, line=state.lines.initial, strictly_below=False)
    told: dict[str, Any] = {
        "delay": row.pk,
        "until": row.ends_at.isoformat(),
        "to_initial": margin_calls.cure_facts(initial),
    }
    return margin_calls.snapshot(state) | told


def _ltv(state: GroupState) -> Any:
    return state.worth(permission=False).told_ltv


def minute(instant: datetime) -> str:
    return tell("{utc:%Y-%m-%d %H:%M} UTC", utc=instant.astimezone(UTC))
