"""What the demo's desk did besides lending: who is watched, stopped, called back or given terms of their own.

Each is one command with its time, like the stories; amounts and days are told here, and nowhere else.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from accounts import approvals
from accounts.words import tell
from loans import clients, enquiries
from loans.demo import company, opening
from loans.demo.company import JOB, Resident
from loans.demo.desk import Desk
from loans.demo.plots import Event
from loans.models import Loan
from loans.vip import auto_repay, calling
from risk import delays, early_warnings, freezes, insurance, parameters, plans
from risk.handling import Mode
from risk.models import Debt, Freeze
from risk.parameters import preview

FUND: Final = Decimal(500_000)  # USDT set aside for residual debts
LOWER_BTC: Final = ((0, "0.97"), (10_000_000, "0.78"), (100_000_000, "0.55"), (1_000_000_000, "0"))
INSTALMENTS: Final = (("14.3", "0"), ("0", "16"), ("0", "46"))  # days before the end, or after it


def events(desk: Desk) -> Iterator[Event]:
    """Everything the desk did, in no order."""
    return desk.told(
        (
            ("40", _know_thin_markets),
            ("39.5", _set_aside),
            ("12.1", _enrol),
            ("20.3", _agree_plan),
            ("9.2", _give_own_terms),
            ("5.2", _warn_early),
            ("0.9", _freeze),
            ("0.7", _call_back),
            ("0.6", _switch_auto_repay),
            ("0.35", _enquire),
            ("0.11", _propose_lower_ratios),
        )
    )


def _know_thin_markets(desk: Desk, at: datetime) -> None:
    """More than a tenth of a day's volume is not sold at once (R-GEN-79)."""
    parameters.publish_depth(
        asset="AAVE",
        volume_usd=Decimal(3_000_000),
        actor=JOB,
        at=at,
        reason="Last month's mean",
    )


def _set_aside(desk: Desk, at: datetime) -> None:
    insurance.fund(asset="USDT", amount=FUND, actor=JOB, at=at)


def _enrol(desk: Desk, at: datetime) -> None:
    """R-VIP-60"""
    who = desk.residents["Cinder Row Mining"]
    delays.enrol(
        customer_id=who.customer.pk,
        starts_at=at,
        ends_at=desk.midnight_after(60),
        actor=who.decider,
        at=at,
        reason="Mines every day and can repay within hours",
    )


def _agree_plan(desk: Desk, at: datetime) -> None:
    """The first instalment is taken by the job when it is due (R-GEN-78)."""
    who = desk.residents["Wexford Arbitrage"]
    debt = Debt.objects.get(customer=who.customer, residual_since__isnull=False)
    parts = plans.equal_parts(debt.booked, count=len(INSTALMENTS), places=2)
    dates = [desk.at(ago) + timedelta(days=int(ahead)) for ago, ahead in INSTALMENTS]
    plans.agree_plan(
        debt_id=debt.pk,
        instalments=tuple(plans.Due(due_at, amount) for due_at, amount in zip(dates, parts, strict=True)),
        actor=who.decider,
        at=at,
    )


def _give_own_terms(desk: Desk, at: datetime) -> None:
    """A lower rate, and sold in steps: the manager proposes both, a risk officer releases them (R-ADM-02, R-ADM-03)."""
    who = desk.residents["Northgate OTC"]
    from_until = {"starts_at": desk.at("9"), "ends_at": desk.midnight_after(80)}
    terms = {
        "customer_id": who.customer.pk,
        "reason": "Ten years with us and never late",
        "spread": Decimal("-0.004"),
        "overdue_hours": 240,
        **from_until,
    }
    handling = {
        "product": opening.PRODUCT,
        "mode": Mode.STEPPED,
        "customer": who.customer,
        "effective_at": from_until["starts_at"],
        "ends_at": from_until["ends_at"],
    }
    for command, arguments, title in (
        (clients.COMMAND, terms, tell("Own terms of {customer}", customer=who.customer)),
        ("risk.publish_handling", handling, tell("Handling of {customer}", customer=who.customer)),
    ):
        company.release(
            command=command,
            arguments=arguments,
            title=title,
            reason="Agreed at the yearly meeting",
            customer=who.customer,
            maker=who.decider,
            checker=desk.actor("risk"),
            at=at,
        )


def _warn_early(desk: Desk, at: datetime) -> None:
    """R-GEN-63"""
    who = desk.residents["Alder Street Capital"]
    group = desk.group(who.customer.name)
    for ltv, coin in ((Decimal("0.6"), None), (Decimal("0.65"), "ETH")):
        early_warnings.set_line(group_id=group.pk, ltv=ltv, asset=coin, actor=who.actor, at=at)


def _freeze(desk: Desk, at: datetime) -> None:
    """R-ADM-04"""
    account = desk.residents["Tiber Quant"].accounts["Desk2"]
    freezes.place(
        what=Freeze.What.WITHDRAW,
        account_uid=account.pk,
        reason="The list of those who may sign for this account is being renewed.",
        ends_at=desk.world.end + timedelta(days=3),
        actor=desk.actor("risk"),
        at=at,
    )


def _call_back(desk: Desk, at: datetime) -> None:
    """R-VIP-44, R-ADM-05"""
    who = desk.residents["Kenji Sato"]
    calling.call_loan(
        loan_id=_loan(who).pk,
        due_at=desk.world.end + timedelta(days=2),
        reason="The desk lends less ETH from next month on.",
        actor=who.decider,
        at=at,
    )


def _switch_auto_repay(desk: Desk, at: datetime) -> None:
    """R-VIP-47"""
    who = desk.residents["Kenji Sato"]
    auto_repay.set_auto_repay(loan_id=_loan(who).pk, on=True, actor=who.actor, at=at)


def _enquire(desk: Desk, at: datetime) -> None:
    """R-VIP-17"""
    who = desk.residents["Sofia Marin"]
    enquiries.ask(
        customer_id=who.customer.pk,
        contact=f"{who.user.email}, or by telephone after 18:00 UTC",
        wish="I have no VIP level yet. May I borrow 150,000 USDT for 60 days against the 6.25 BTC in Savings?",
        account_uid=who.accounts["Savings"].pk,
        actor=who.actor,
        at=at,
    )


def _propose_lower_ratios(desk: Desk, at: datetime) -> None:
    """It waits for the other risk officer or the admin, with what it would do to every group (R-GEN-36, R-ADM-03)."""
    arguments = {
        "asset": "BTC",
        "tiers": [(Decimal(floor), Decimal(ratio)) for floor, ratio in LOWER_BTC],
        "rank": desk.world.coins["BTC"].liquidation_rank,
        "effective_at": desk.midnight_after(7),
    }
    approvals.propose(
        command="risk.publish_ratios",
        arguments=arguments,
        title=tell("Ratios of {given}", given="BTC"),
        preview=preview.of("risk.publish_ratios", arguments, at=at),
        reason="The venues' order books for BTC have become thinner since the slide began.",
        actor=desk.actor("risk"),
        at=at,
    )


def _loan(who: Resident) -> Loan:
    return Loan.objects.get(customer=who.customer, debt__closed_at__isnull=True)
