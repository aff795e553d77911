"""Groups: the list, and one group with its collateral, debts, ways out and everything that happened to it.

Borrowers see their own, VIP managers their clients', staff all; only the borrower is offered actions. What
changes a group lives where it is done: coins move through `movements`, loans and accounts through `loans`.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Account, LedgerAccount, User
from accounts.pages.access import customer_of, lacks, limited_to, user_of
from accounts.powers import Power
from accounts.words import tell
from risk import book, closes, delays, deleveraging, early_warnings, freezes, margin_calls, pace
from risk.cure import Kind as Cured
from risk.levels import Action, Band
from risk.models import CollateralGroup, Freeze, GroupQuerySet, Liquidation, RiskEvent
from risk.pages.advice import Cure, cures_for, goals_of
from risk.pages.course import MONTH
from risk.pages.holdings import account_rows, prices_of
from risk.pages.promised import may_do
from risk.pages.standing import Standing, Way, assets_of, standing_of, track_of, ways_out
from risk.pages.track import Track
from risk.promises import Promise

PER_PAGE = 25
EVENTS_SHOWN = 20
Kind = RiskEvent.Kind
WORDS = {
    Kind.OPENED: tell("Group opened"),
    Kind.BAND: tell("Moved to"),
    Kind.CALLED: tell("Margin call"),
    Kind.CALL_REPEATED: tell("Margin call repeated"),
    Kind.CALL_ENDED: tell("Margin call over"),
    Kind.BLIND: tell("Prices too old to judge"),
    Kind.SIGHTED: tell("Prices fresh again"),
    Kind.GRACE: tell("Grace"),
    Kind.LIQUIDATION_STARTED: tell("Liquidation started"),
    Kind.LIQUIDATION_ENDED: tell("Liquidation ended"),
    Kind.DEBT_OPENED: tell("Paid out"),
    Kind.DEBT_OVERDUE: tell("Overdue"),
    Kind.DEBT_CLOSED: tell("Closed"),
    Kind.DEBT_RESIDUAL: tell("Left uncovered"),
    Kind.MEMBER_ADDED: tell("Account or coin added"),
    Kind.MEMBER_REMOVED: tell("Account removed"),
    Kind.CLOSED: tell("Group closed, accounts released"),
    Kind.FROZEN: tell("Frozen"),
    Kind.UNFROZEN: tell("Freeze lifted"),
    Kind.WARNED: tell("Early warning"),
    Kind.DELAY_STARTED: tell("Liquidation call: time runs"),
    Kind.DELAY_EXTENDED: tell("Liquidation call: more time"),
    Kind.DELAY_ENDED: tell("Liquidation call over"),
    Kind.GRACE_EXTENDED: tell("Grace: more time"),
    Kind.LIQUIDATION_STEP: tell("Some collateral sold"),
    Kind.AUTO_CURE: tell("A cure rule acted"),
    Kind.CALL_RECORD: tell("Margin call: a contact noted"),
    Kind.SOFT_SET: tell("De-leveraging chosen, changed or ended"),
}


@dataclass(frozen=True, slots=True)
class WayOut:
    """An amount that brings the group to a line; `cure`: it is the cheapest cure too, done with one press."""

    way: Way
    track: Track | None
    cure: Cure | None


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the group's history; `band` where it moved to one."""

    row: RiskEvent
    words: str
    band: str


def groups_for(user: User) -> GroupQuerySet:
    """The groups this user may look at."""
    rows = CollateralGroup.objects.all()
    if user.is_staff:
        return rows
    if user.role == User.Role.VIP_MANAGER:
        return rows.filter(customer__manager=user)
    return rows.visible_to(user)


@require_safe
@login_required
def groups(request: HttpRequest) -> HttpResponse:
    at = timezone.now()
    rows = groups_for(user_of(request)).open().select_related("customer", "receiver")
    page = Paginator(rows.order_by("-opened_at", "-pk"), PER_PAGE).get_page(request.GET.get("page"))
    states = book.states(page.object_list, at=at)
    standings = [standing_of(group, states[group.pk]) for group in page.object_list]
    context = {"page": page, "standings": standings, "is_desk": customer_of(request) is None}
    return render(request, "risk/groups.html", context)


@require_safe
@login_required
def group(request: HttpRequest, group_id: int) -> HttpResponse:
    at = timezone.now()
    rows = groups_for(user_of(request)).select_related("customer", "receiver")
    row = get_object_or_404(rows, pk=group_id)
    state = book.state_of(row, at=at)
    frozen = _frozen(row, state, at)
    past = closes.of(row, days=MONTH, at=at) if row.closed_at is None else []
    standing = _held_back(standing_of(row, state, delay=delays.running(row), closes=past), frozen)
    customer = customer_of(request)
    is_mine = customer is not None and customer.pk == row.customer_id and limited_to(request) is None
    may_act = is_mine and row.closed_at is None
    acts = may_do(request) if may_act else frozenset()
    cures = _cures(standing, at, linked=acts) if limited_to(request) is None else []
    ways = _ways(standing, cures)
    context = {
        "at": at,
        "group": row,
        "standing": standing,
        "accounts": account_rows(
            state,
            standing.coins,
            Account.objects.in_bulk(state.members),
            assets_of([state]),
        ),
        "flows": _flows(request, row),
        "deciding": prices_of(state) if row.closed_at is None else None,
        "ways": ways,
        "cures": [cure for cure in cures if all(one.cure is not cure for one in ways)],
        "call": margin_calls.open_call(row),
        "spot": LedgerAccount.objects.filter(account=row.receiver, kind=LedgerAccount.Kind.SPOT),
        "events": _events(row),
        "liquidations": Liquidation.objects.filter(group=row)
        .exclude(cause=Liquidation.Cause.SOFT)  # chosen steps have a page of their own
        .prefetch_related("sales__coin", "sales__debt__asset", "sales__account")
        .order_by("-started_at", "-pk"),
        "paced": _paced(standing, at),
        "frozen": [(one, freezes.scope_of(one)) for one in frozen],
        "may_act": may_act,
        "may_repay": Cured.REPAY in acts,
        "may_add": Cured.ADD in acts,
        "why_not": lacks(request, Power.REPAY) if may_act else "",
        "is_house": customer is None,
        "may_sell": user_of(request).role in (User.Role.RISK_OFFICER, User.Role.ADMIN),
        "warning_lines": early_warnings.own_lines(row),
        "chosen": deleveraging.live_of([row]).get(row.pk),
    }
    return render(request, "risk/group.html", context)


def _flows(request: HttpRequest, group: CollateralGroup) -> str:
    """Where the customer's flows are listed for who looks; empty for whom they are not. R-GEN-95"""
    if customer_of(request) is None:
        return reverse("loans:client_history_list", args=[group.customer_id, "flows"])
    return reverse("loans:history_list", args=["flows"]) if limited_to(request) is None else ""


def _cures(standing: Standing, at: datetime, *, linked: Collection[Cured]) -> list[Cure]:
    """The cheapest ways back, from the initial line on; only that line ends a delayed liquidation. R-FTR-02"""
    if standing.band is Band.SAFE or standing.is_blind or standing.state.is_liquidating:
        return []
    goals = goals_of(standing.state)
    return cures_for(standing.state, goals[-1:] if standing.delay else goals, at=at, linked=linked)


def _ways(standing: Standing, cures: list[Cure]) -> list[WayOut]:
    """The amounts of the margin call; while a liquidation is delayed `needed` tells them instead. R-GEN-65, R-VIP-60"""
    if not standing.is_called or standing.is_blind or standing.delay:
        return []
    return [
        WayOut(
            way,
            track_of(standing, way),
            next((cure for cure in cures if _is_same(way, cure)), None),
        )
        for way in ways_out(standing)
    ]


def _is_same(way: Way, cure: Cure) -> bool:
    best, promise = cure.best, Promise.read(way.cure)
    if best is None or best.press is None or (cure.goal, best.amount) != (promise.goal, way.amount):
        return False
    return best.asset == way.asset and best.is_repayment == way.is_repayment


def _paced(standing: Standing, at: datetime) -> list[pace.Pace]:
    """The coins that enough was sold of for now, where some of the group are to be sold. R-FTR-22"""
    state = standing.state
    if standing.band is not Band.LIQ and not state.is_liquidating:
        return []
    held = {wallet.asset for wallet in state.wallets if wallet.balance > 0} & state.coins
    return [one for one in pace.paces_at(at, held).values() if one.is_full]


def _frozen(group: CollateralGroup, state: book.GroupState, at: datetime) -> list[Freeze]:
    """What is frozen for this group, its accounts, its coins or everywhere. R-ADM-04"""
    uids, assets = [group.receiver_id, *state.members], {*state.coins, *state.owed_assets}
    return freezes.in_force(group=group, uids=uids, assets=assets, at=at)


def _held_back(standing: Standing, frozen: list[Freeze]) -> Standing:
    """What a freeze of the whole group, its coin or everything stops is not offered as room."""
    out, new = standing.can_withdraw, standing.can_borrow
    for one in frozen:
        if one.account_id is not None:
            continue
        if one.what in freezes.STOPPED_BY[Action.MOVE_OUT] and out and one.asset_id in {None, out.asset.pk}:
            standing = replace(standing, may_withdraw=False)
        if one.what in freezes.STOPPED_BY[Action.BORROW] and new and one.asset_id in {None, new.asset.pk}:
            standing = replace(standing, may_borrow=False)
    return standing


def event_words(event: RiskEvent) -> str:
    """What happened, in words."""
    return WORDS.get(Kind(event.kind), event.get_kind_display())


def _events(group: CollateralGroup) -> list[Event]:
    """The latest first."""
    rows = group.events.select_related("debt__asset").order_by("-pk")[:EVENTS_SHOWN]
    return [
        Event(
            row,
            event_words(row),
            str(row.facts.get("to", "")) if row.kind == Kind.BAND else "",
        )
        for row in rows
    ]
