"""What a rule that cures by itself would do in a given state of its group: how much, or why nothing. R-FTR-04

Asked by the job under its locks, and by the rehearsal on a hypothetical state; both get the same answer. Reads only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db.models import Sum

from accounts import ledger
from accounts.errors import Refused
from accounts.money import ZERO, exact
from accounts.words import joined, tell
from risk import book, cure, cures, gate, groups, steps, whatif
from risk.book import GroupState
from risk.cure import Goal, Position, Step
from risk.models import CureRule, CureRun

LEAST_HELP_USD: Final = Decimal(10)  # less than this is done only where it reaches the target
DAY: Final = timedelta(hours=24)
Kind, Outcome = CureRule.Kind, CureRun.Outcome


class CannotAct(Refused):
    """Why a rule whose trigger is reached does nothing; kept in its log."""

    code = "cure_rule_cannot_act"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rule would do now: one step, or for repayments one per loan; and LTV before and after."""

    steps: tuple[Step, ...]
    before: Decimal | None
    after: Decimal | None

    @property
    def amount(self) -> Decimal:
        return sum((step.amount for step in self.steps), ZERO)


def plan(rule: CureRule, state: GroupState, *, at: datetime) -> Plan:
    """What the rule does in this state: the least that reaches its target, within caps and what is there. R-FTR-04

    Too little is done all the same when it is worth 10 USD. Reads only, so a rehearsal asks it too.

    Raises:
        CannotAct: why there is nothing to do, in words.
    """
    _refuse_misplaced(rule, state)
    coins = {coin for coin in (rule.asset_id, rule.buy_id) if coin is not None}
    state = cures.with_market(state, coins, at=at)
    old = sorted(coin for coin in coins if coin not in state.quotes or not state.quotes[coin].fresh)
    if old:
        raise CannotAct(tell("There is no fresh price of {old}.", old=joined(tell(" and "), old)))
    most = _most(rule, state, at=at)
    position = cures.position_of(state, at=at)
    found, after = _steps(rule, state, position, most=most)
    if not found:
        raise CannotAct(_why_nothing(rule, most))
    if not found[-1].reaches and sum((step.usd for step in found), ZERO) < LEAST_HELP_USD:
        raise CannotAct(
            tell("What is there is worth less than {least_help_usd} USD.", least_help_usd=LEAST_HELP_USD)
        )
    return Plan(found, state.worth(permission=False).ltv, after.worth().ltv)


def _refuse_misplaced(rule: CureRule, state: GroupState) -> None:
    """Accounts come and go after a rule is set: coins must not move where they do nothing for this group.

    Raises:
        CannotAct: its account secures the group no more, or what it would add counts already.
    """
    if rule.account_id is not None and rule.account_id not in state.members:
        raise CannotAct(
            tell(
                "{account} is no collateral account of this group any more; set the rule anew.",
                account=rule.account,
            )
        )
    if rule.source_wallet == book.WALLET and rule.source_id in state.members:
        raise CannotAct(
            tell("What lies in Spot of {source} counts for this group already.", source=rule.source)
        )


@exact
def _steps(
    rule: CureRule, state: GroupState, position: Position, *, most: Decimal
) -> tuple[tuple[Step, ...], Position]:
    goal = Goal(rule.target)
    if rule.kind == Kind.REPAY:
        return _repayments(rule, state, position, goal, most=most)
    step = None
    if rule.kind == Kind.TOP_UP and most > 0 and rule.asset_id in position.holdings:
        step = cure.add_step(position=position, asset=rule.asset_id, goal=goal, most=most)
    elif rule.kind == Kind.SWAP and most > 0 and {rule.asset_id, rule.buy_id} <= set(position.holdings):
        step = cure.swap_step(
            position=position, sell=rule.asset_id, buy=str(rule.buy_id), goal=goal, most=most
        )
    return ((step,), position.after(step)) if step is not None else ((), position)


def _repayments(
    rule: CureRule, state: GroupState, position: Position, goal: Goal, *, most: Decimal
) -> tuple[tuple[Step, ...], Position]:
    """Loan after loan in the order in which a sale would repay them. R-GEN-71"""
    found: list[Step] = []
    for debt in steps.in_order(state, [owed.debt for owed in state.debts]):
        if debt.asset_id != rule.asset_id or most <= 0:
            continue
        step = cure.repay_step(position=position, key=debt.pk, goal=goal, most=most)
        if step is None:
            continue
        found.append(step)
        position, most = position.after(step), most - step.amount
        if step.reaches:
            break
    return tuple(found), position


def _most(rule: CureRule, state: GroupState, *, at: datetime) -> Decimal:
    """The least of the two caps and of what lies there and may leave.

    Raises:
        CannotAct: the day's cap is used up.
    """
    limits = [_available(rule, state, at=at)]
    if rule.most_each is not None:
        limits.append(rule.most_each)
    if rule.most_daily is not None:
        used = CureRun.objects.filter(rule=rule, at__gt=at - DAY, outcome__in=[Outcome.DONE, Outcome.WOULD])
        left = rule.most_daily - (used.aggregate(sum=Sum("amount"))["sum"] or ZERO)
        if left <= 0:
            raise CannotAct(
                tell(
                    "Its cap of {most_daily} {asset} in 24 hours is used up.",
                    most_daily=said(rule.most_daily),
                    asset=rule.asset_id,
                )
            )
        limits.append(left)
    return min(limits)


def _available(rule: CureRule, state: GroupState, *, at: datetime) -> Decimal:
    """What the rule may draw on; from an account that secures another group only what that group's LTV lets out."""
    uid, wallet = rule.source_id, rule.source_wallet
    if rule.kind == Kind.SWAP:
        mine = [
            row.balance for row in state.wallets if (row.uid, row.asset) == (rule.account_id, rule.asset_id)
        ]
        return sum(mine, ZERO)
    if rule.kind == Kind.REPAY:
        uid, wallet = rule.group.receiver_id, book.WALLET
    assert uid is not None
    held = ledger.balances(account_ids=[uid], kinds=[wallet]).get((uid, wallet, rule.asset_id), ZERO)
    if wallet == book.WALLET and uid in groups.pledged_to([uid]):
        return min(held, gate.most_withdrawable(account_uid=uid, asset=rule.asset_id, at=at))
    return held


def _why_nothing(rule: CureRule, most: Decimal) -> str:
    if most <= 0:
        where = tell("the collateral account") if rule.kind == Kind.SWAP else tell("the wallet it draws on")
        return tell("There is no {asset} in {where} that may leave it.", asset=rule.asset_id, where=where)
    if rule.kind == Kind.REPAY:
        return tell(
            "Nothing is owed in {asset}, or paying {most} would leave less than 10 USD.",
            asset=rule.asset_id,
            most=said(most),
        )
    return tell("{most} {asset} would not lower LTV.", most=said(most), asset=rule.asset_id)


def said(amount: Decimal) -> str:
    """An amount for people, exact, without idle zeros."""
    return f"{amount.normalize():f}"


# --- Rehearsal --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a rule would do after those before it; `plan` None: nothing, and `why` says why."""

    rule: CureRule
    plan: Plan | None
    why: str = ""


def rehearse(rules: Sequence[CureRule], state: GroupState, *, at: datetime) -> list[Rehearsed]:
    """What the rules would do with a group in this state, one after the other, on paper. R-FTR-04

    A dry run changes nothing for the rules after it. Caps, balances and lines are those of now; two rules that draw
    on one wallet are each told all of it.
    """
    found = []
    for rule in rules:
        if not state.debts or not state.worth(permission=False).is_at_least(rule.trigger):
            found.append(Rehearsed(rule, None, tell("It would not start: LTV is below its trigger.")))
            continue
        if state.stale_debts:
            found.append(Rehearsed(rule, None, tell("A price of what is owed is old: it would wait.")))
            continue
        try:
            planned = plan(rule, state, at=at)
        except CannotAct as refusal:
            found.append(Rehearsed(rule, None, refusal.message))
            continue
        asked = whatif.ask(state, whatif.Changes(steps=_changes(rule, planned)), at=at)
        why = next((answer.reason for answer in asked.answers if not answer.allowed), "")
        found.append(Rehearsed(rule, None if why else planned, why))
        state = state if why or rule.is_dry_run else asked.after
    return found


def _changes(rule: CureRule, planned: Plan) -> tuple[whatif.Change, ...]:
    def change(step: Step) -> whatif.Change:
        if step.kind is cure.Kind.REPAY:
            assert step.loan is not None
            return whatif.Repayment(step.loan, step.amount)
        assert rule.account_id is not None
        if step.kind is cure.Kind.SWAP:
            return whatif.Trade(rule.account_id, step.asset, step.amount, step.buy)
        return whatif.TopUp(rule.account_id, step.asset, step.amount)

    return tuple(change(step) for step in planned.steps)
