"""Rules that cure a group by themselves, right before every sweep. R-FTR-04

Each use is one transaction: the rule's row first, then the accounts and groups that its movement touches (those
and no more are what the ordinary command locks again, so the order of locks holds), then a look at the group as it
is now, then the ordinary command. What a borrower repaid or moved meanwhile is seen, and no more is done than
brings LTV to the rule's target. The commands decide as for a person: the gate, freezes and caps say no as ever.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Max

from accounts import notices
from accounts.commands import Actor, acting
from accounts.errors import Refused
from accounts.words import joined, tell
from loans import cure_plans, cure_rules
from loans.cure_plans import Plan, said
from loans.models import Loan
from loans.vip import repayment
from risk import book, gate, groups, margin_calls, valuation
from risk.book import GroupState
from risk.cure import Step
from risk.models import CollateralGroup, CureRule, CureRun, Debt, RiskEvent

logger = logging.getLogger(__name__)

JOB = Actor.job("auto_cure")
MOST_SECONDS: Final = 3.0  # of one pass: the sweep waits for it
# Serialises the uses of one group's rules, so that they keep their order; any number no other advisory lock uses.
CURING: Final = 0x6375_7265
Outcome = CureRun.Outcome
Kind = CureRule.Kind


@dataclass(slots=True)
class Report:
    """What one pass did: groups looked at closely, what their rules did, which groups failed, how many were left."""

    groups: int = 0
    runs: list[CureRun] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    left: int = 0

    def count(self, outcome: str) -> int:
        return sum(run.outcome == outcome for run in self.runs)


def run_due(*, at: datetime, most_seconds: float = MOST_SECONDS) -> Report:
    """Let every rule act whose group's LTV is at its trigger at `at`. Safe to run twice, or two at once. R-FTR-04

    Until `most_seconds` are over; the next pass goes on. Nothing is done for a group with an old price on what it owes,
    nor for one that is being sold.
    """
    report, started = Report(), time.monotonic()
    due = _due(at)
    for number, group in enumerate(due):
        if time.monotonic() - started > most_seconds:
            report.left = len(due) - number
            logger.warning("no time for the cure rules of %s groups in this pass", report.left)
            break
        report.groups += 1
        try:
            with _alone(group.pk) as is_alone:
                if is_alone:
                    report.runs.extend(_run_rules(group, at=at))
        except Exception:  # one group must not shield the others, nor any of them the sweep
            logger.exception("the cure rules of group %s failed", group.pk)
            report.failed.append(group.pk)
    return report


def _due(at: datetime) -> list[CollateralGroup]:
    """Groups with a live rule whose trigger is reached; first those with one that has not tried lately, by LTV.

    A refusal is no rest, so groups that nothing helps come in every pass; they must not take the time of others.
    """
    by_group: dict[int, list[CureRule]] = {}
    for rule in CureRule.objects.filter(removed_at__isnull=True, group__closed_at__isnull=True):
        by_group.setdefault(rule.group_id, []).append(rule)
    if not by_group:
        return []
    states = book.states(CollateralGroup.objects.filter(pk__in=by_group), at=at)
    reached = {
        pk: [rule for rule in by_group[pk] if _is_reached(state, rule.trigger)]
        for pk, state in states.items()
    }
    tried = _tried([rule for rules in reached.values() for rule in rules], at=at)
    due = [states[pk] for pk, rules in reached.items() if rules]

    def turn(state: GroupState) -> tuple[bool, Decimal, int]:
        assert state.group is not None
        has_tried = all(rule.pk in tried for rule in reached[state.group.pk])
        return has_tried, -_ltv(state), state.group.pk

    return [state.group for state in sorted(due, key=turn) if state.group is not None]


def _tried(rules: Sequence[CureRule], *, at: datetime) -> set[int]:
    """Those that acted or were refused within their own cooling time."""
    longest = max((rule.cooling_minutes for rule in rules), default=0)
    runs = CureRun.objects.filter(rule__in=rules, at__gt=at - timedelta(minutes=longest))
    last = dict(runs.values_list("rule").annotate(Max("at")).order_by())
    return {
        rule.pk
        for rule in rules
        if rule.pk in last and last[rule.pk] > at - timedelta(minutes=rule.cooling_minutes)
    }


def _is_reached(state: GroupState, trigger: Decimal) -> bool:
    if state.stale_debts or state.is_liquidating:
        return False
    return state.worth(permission=False).is_at_least(trigger)


def _ltv(state: GroupState) -> Decimal:
    ltv = state.worth(permission=False).ltv
    return valuation.HIGHEST_LTV if ltv is None else ltv


@contextmanager
def _alone(group_id: int) -> Iterator[bool]:
    """Whether nobody else uses this group's rules now; another pass does their work then."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [CURING, group_id])
        [is_alone] = cursor.fetchone()
    try:
        yield is_alone
    finally:
        if is_alone:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [CURING, group_id])


def _run_rules(group: CollateralGroup, *, at: datetime) -> Iterator[CureRun]:
    """Every rule in its order, each on the group as the one before left it."""
    for rule in cure_rules.live_rules(group):
        run = _use(rule, at=at)
        if run is not None:
            yield run


# --- One use of one rule ------------------------------------------------------------------------------------


def _use(rule: CureRule, *, at: datetime) -> CureRun | None:
    """Lock, look, act and write down, in one transaction; None when there is nothing to do or to say."""
    with acting(JOB, reason=_reason(rule)):
        rows = CureRule.objects.filter(pk=rule.pk, removed_at__isnull=True)
        if rows.select_for_update(of=("self",), no_key=True).first() is None:
            return None
        if _rests(rule, [Outcome.DONE, Outcome.WOULD], at=at):
            return None
        state = _locked_state(rule, at=at)
        if state is None or not _is_reached(state, rule.trigger):
            return None
        try:
            planned = cure_plans.plan(rule, state, at=at)
            with transaction.atomic():  # of several repayments all or none
                facts = _act(rule, planned, at=at)
                transaction.set_rollback(rule.is_dry_run)  # tried in earnest, so what is refused is known
            if rule.is_dry_run:
                return _record(rule, state, planned, Outcome.WOULD, at=at)
        except Refused as refusal:
            if _rests(rule, [Outcome.REFUSED], at=at):
                return None
            return _record_refusal(rule, state, refusal, at=at)
        run = _record(rule, state, planned, Outcome.DONE, at=at, facts=facts)
        _tell(rule, run, state, planned, at=at)
        return run


def _locked_state(rule: CureRule, *, at: datetime) -> GroupState | None:
    """The group under every lock that the rule's command will take; None once it is closed."""
    receiver = [rule.group.receiver_id] if rule.kind == Kind.REPAY else []
    uids = [uid for uid in (rule.source_id, rule.account_id, *receiver) if uid is not None]
    held = groups.hold(uids=uids, group_ids=[rule.group_id])
    group = held.groups[rule.group_id]
    if group.closed_at is not None:
        return None
    if rule.kind == Kind.REPAY:  # all at once and in order: the accrual locks debts without their group
        debts = Debt.objects.watched().filter(group=group, asset=rule.asset_id)
        Debt.objects.locked(*debts.values_list("pk", flat=True))
    return book.state_of(group, at=at)


def _act(rule: CureRule, planned: Plan, *, at: datetime) -> dict[str, Any]:
    """By the ordinary commands, under the locks that are held already; what they wrote, by key."""
    [step, *_] = planned.steps
    key = f"cure:{rule.pk}:{at:%Y%m%dT%H%M}"
    by: dict[str, Any] = {"actor": JOB, "at": at, "reason": _reason(rule)}
    if rule.kind == Kind.REPAY:
        entries = [_repay(each, key=f"{key}:{each.loan}", by=by) for each in planned.steps]
        return {"entries": entries, "debts": [each.loan for each in planned.steps]}
    assert rule.account_id is not None
    if rule.kind == Kind.SWAP:
        movement = gate.trade(
            account_uid=rule.account_id, sell=step.asset, amount=step.amount, buy=step.buy, key=key, **by
        )
        return {"movement": movement.pk}
    assert rule.source_id is not None
    movement = gate.transfer(
        source_uid=rule.source_id,
        source_wallet=rule.source_wallet,
        target_uid=rule.account_id,
        target_wallet=book.WALLET,
        asset=step.asset,
        amount=step.amount,
        key=key,
        **by,
    )
    return {"movement": movement.pk}


def _repay(step: Step, *, key: str, by: dict[str, Any]) -> int:
    loan = Loan.objects.get(debt=step.loan)
    return repayment.repay(loan_id=loan.pk, amount=step.amount, key=key, **by).pk


# --- What is written down and told -----------------------------------------------------------------------------


def _rests(rule: CureRule, outcomes: Sequence[str], *, at: datetime) -> bool:
    """Whether it had such an outcome within its cooling time; a use of the same instant counts too."""
    since = at - timedelta(minutes=rule.cooling_minutes)
    return CureRun.objects.filter(rule=rule, outcome__in=outcomes, at__gt=since).exists()


def _record(
    rule: CureRule,
    state: GroupState,
    planned: Plan,
    outcome: str,
    *,
    at: datetime,
    facts: dict[str, Any] | None = None,
) -> CureRun:
    got = planned.steps[0].got if rule.kind == Kind.SWAP else None
    return CureRun.objects.create(
        rule=rule,
        outcome=outcome,
        at=at,
        amount=planned.amount,
        got_amount=got,
        ltv_before=valuation.told(planned.before),
        ltv_after=valuation.told(planned.after),
        why=""
        if planned.steps[-1].reaches
        else tell("All that was there or allowed; the target is not reached."),
        facts=margin_calls.snapshot(state) | (facts or {}),
    )


def _record_refusal(rule: CureRule, state: GroupState, refusal: Refused, *, at: datetime) -> CureRun:
    return CureRun.objects.create(
        rule=rule,
        outcome=Outcome.REFUSED,
        at=at,
        ltv_before=state.worth(permission=False).told_ltv,
        why=refusal.message[:300],
        facts=margin_calls.snapshot(state) | {"code": refusal.code},
    )


def _tell(rule: CureRule, run: CureRun, state: GroupState, planned: Plan, *, at: datetime) -> None:
    group = rule.group
    did = tell("{amount} {asset}", amount=said(planned.amount), asset=rule.asset_id)
    what = {
        Kind.TOP_UP: tell(
            "{did} moved from {source} into {account}", did=did, source=rule.source, account=rule.account
        ),
        Kind.REPAY: tell("{did} repaid", did=did),
        Kind.SWAP: tell(
            "{did} sold for {got} {buy} in {account}",
            did=did,
            got=said(planned.steps[0].got),
            buy=rule.buy_id,
            account=rule.account,
        ),
    }[Kind(rule.kind)]
    facts = {"group": group.pk, "rule": rule.pk, "run": run.pk, "amount": f"{planned.amount:f}"}
    RiskEvent.objects.create(
        group=group, kind=RiskEvent.Kind.AUTO_CURE, at=at, ltv=run.ltv_after, facts=facts
    )
    notices.send(
        customer=group.customer,
        event=f"auto-cure:{run.pk}",
        kind="auto_cure",
        title=tell(
            "Your rule {position} acted for {group}: {did}", position=rule.position, group=group.name, did=did
        ),
        body=joined(
            "\n",
            [
                tell(
                    "LTV of {group} ({group2}) was {before} at {at:%Y-%m-%d %H:%M:%S} UTC, at or"
                    " above the {trigger} where your rule {position} starts.",
                    group=group.name,
                    group2=group,
                    before=_percent(planned.before),
                    at=at,
                    trigger=_percent(rule.trigger),
                    position=rule.position,
                ),
                tell(
                    "{what}. LTV is {after} now; the rule's target is {target}.",
                    what=what,
                    after=_percent(planned.after),
                    target=_percent(rule.target),
                ),
                *([run.why] if run.why else []),
                "",
                tell("Prices used: {state}.", state=margin_calls.prices_used(state)),
            ],
        ),
        facts=facts,
        at=at,
    )


def _reason(rule: CureRule) -> str:
    return tell(
        "Cure rule {position} ({kind}) of {group}",
        position=rule.position,
        kind=rule.get_kind_display(),
        group=rule.group,
    )


def _percent(ltv: Decimal | None) -> str:
    return tell("beyond measure") if ltv is None else tell("{ltv:f} %", ltv=int(ltv * 10000) / Decimal(100))
