"""What the borrower is told about a loan, in one place and one tone: what happened, what it costs, what is next.

Every function sends one notice; it runs inside the command that made it true, so neither is there without the
other. `event` is unique, which is what makes a notice happen once.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from accounts import notices
from accounts.models import Notice
from accounts.money import exact
from loans.models import Application, Loan, Offer
from risk.models import DebtEntry
from risk.waterfall import Parts


def paid_out(
    application: Application, loans: list[Loan], *, at: datetime, left_out: Mapping[str, str] | None = None
) -> Notice:
    """R-VIP-14; `left_out` says by coin why the others of the bundle are not paid out (R-VIP-06)."""
    coins = ", ".join(f"{said(loan.amount)} {loan.asset_id}" for loan in loans)
    due = loans[0].due_at
    term = f"It is due on {_when(due)}." if due else "It has no expiry; repay whenever you like."
    missing = "".join(f" {symbol} was left out: {why}" for symbol, why in sorted((left_out or {}).items()))
    return notices.send(
        customer=application.customer,
        event=f"application:{application.pk}:disbursed",
        kind="loan_paid_out",
        title=f"{coins} paid out",
        body=(
            f"{application} is approved{' in part' if missing else ''}. {coins} is in the Spot wallet of"
            f" {application.receiver}. {term} Interest is charged at each 00:00 UTC.{missing}"
        ),
        facts={
            "application": application.pk,
            "loans": [loan.pk for loan in loans],
            "left_out": dict(left_out or {}),
        },
        at=at,
    )


def offered(offer: Offer, *, at: datetime) -> Notice:
    """R-VIP-11: the desk's answer, and until when it stands."""
    application = offer.application
    return notices.send(
        customer=application.customer,
        event=f"offer:{offer.pk}:made",
        kind="offer_made",
        title=f"An offer for {application}",
        body=(
            f"Your VIP manager made an offer for {application}, version {offer.version}. It stands until"
            f" {_when(offer.expires_at)}; accept it, answer with other terms, or decline it."
        ),
        facts={
            "application": application.pk,
            "version": offer.version,
            "until": offer.expires_at.isoformat(),
        },
        at=at,
    )


def counter_accepted(offer: Offer, *, at: datetime) -> Notice:
    """R-VIP-11"""
    application = offer.application
    return notices.send(
        customer=application.customer,
        event=f"offer:{offer.pk}:accepted",
        kind="offer_accepted",
        title=f"Your terms for {application} are accepted",
        body=(
            f"Your VIP manager accepted your terms for {application}, version {offer.version}. It is in review now;"
            " nothing is paid out before that."
        ),
        facts={"application": application.pk, "version": offer.version},
        at=at,
    )


def lapsed(application: Application, *, was: str, at: datetime) -> Notice:
    """R-VIP-11, R-VIP-12: nobody answered in time."""
    assert application.expires_at is not None
    waited = {
        Application.Status.OFFERED.value: "Your manager's offer was not answered",
        Application.Status.NEGOTIATING.value: "No agreement was found",
    }.get(was, "It was not decided")
    return notices.send(
        customer=application.customer,
        event=f"application:{application.pk}:expired",
        kind="application_expired",
        title=f"{application} has lapsed",
        body=(
            f"{waited} by {_when(application.expires_at)}, so {application} has lapsed. Nothing was reserved or"
            " charged. You can send a new request at today's terms at any time."
        ),
        facts={"application": application.pk, "was": was},
        at=at,
    )


def rejected(application: Application, *, at: datetime) -> Notice:
    """R-VIP-12"""
    return notices.send(
        customer=application.customer,
        event=f"application:{application.pk}:rejected",
        kind="application_rejected",
        title=f"{application} was not approved",
        body=f"Your VIP manager did not approve {application}: {application.decision_reason}",
        facts={"application": application.pk},
        at=at,
    )


def repaid(loan: Loan, entry: DebtEntry, *, left: Parts, is_closed: bool, at: datetime) -> Notice:
    """R-GEN-51"""
    paid = Parts(late_fee=-entry.late_fee, interest=-entry.interest, principal=-entry.principal)
    rest = "Nothing is left to pay." if is_closed else f"{said(left.total)} {loan.asset_id} is still owed."
    return notices.send(
        customer=loan.customer,
        event=f"repayment:{entry.pk}",
        kind="loan_repaid" if is_closed else "repayment",
        title=f"{loan} is repaid" if is_closed else f"Repayment on {loan}",
        body=(
            f"{said(paid.total)} {loan.asset_id} was paid on {loan}: {said(paid.late_fee)} late fee,"
            f" {said(paid.interest)} interest, {said(paid.principal)} principal. {rest}"
        ),
        facts={"loan": loan.pk, "entry": entry.pk, "paid": f"{paid.total:f}", "left": f"{left.total:f}"},
        at=at,
    )


def renewed(old: Loan, new: Loan, *, interest: Decimal, at: datetime) -> Notice:
    """R-VIP-42"""
    assert new.due_at is not None
    assert old.due_at is not None
    return notices.send(
        customer=new.customer,
        event=f"loan:{new.pk}:renewed",
        kind="loan_renewed",
        title=f"{old} continues as {new}",
        body=(
            f"{said(interest)} {old.asset_id} of interest was paid from Spot. {said(new.amount)} {new.asset_id}"
            f" runs on as {new} until {_when(new.due_at)}; the new rate of {_percent(new.annual_rate)} a year"
            f" starts on {_when(old.due_at)}."
        ),
        facts={"loan": new.pk, "renews": old.pk, "interest_paid": f"{interest:f}"},
        at=at,
    )


def converted(old: Loan, new: Loan, *, carried: Parts, at: datetime) -> Notice:
    """R-VIP-26: at its expiry, as its borrower chose when it was taken. `carried` is what the new order owes."""
    coin, interest = old.asset_id, carried.interest + carried.late_fee
    return notices.send(
        customer=new.customer,
        event=f"loan:{new.pk}:converted",
        kind="loan_converted",
        title=f"{old} goes on as {new} at the flexible rate",
        body=(
            f"{old} expired on {_when(new.drawn_at)} and goes on as {new}, an open loan, as you chose:"
            f" {said(new.amount)} {coin} of principal and {said(interest)} {coin} of interest not paid yet, which"
            f" bears none. From its expiry it costs the flexible rate, {_percent(new.annual_rate)} a year now; repay it"
            " whenever you like."
        ),
        facts={"loan": new.pk, "renews": old.pk, "interest": f"{interest:f}"},
        at=at,
    )


def due_soon(
    loan: Loan,
    *,
    payoff: Decimal,
    spot: Decimal,
    auto_repays: bool,
    step: str,
    at: datetime,
    converts: bool = False,
) -> Notice:
    """R-VIP-46: before an expiry. `payoff` closes the loan at `at`; `spot` is what the receiver's Spot holds.

    `converts`: unless it is repaid it goes on at the flexible rate (R-VIP-26).
    """
    due_at, coin = loan.debt.due_at, loan.asset_id
    assert due_at is not None
    if auto_repays:
        lacks = f"; {said(payoff - spot)} {coin} more is needed today" if spot < payoff else ""
        what = (
            f"Auto-repay is on: at that time what is owed is taken from the Spot wallet of {loan.group.receiver},"
            f" which holds {said(spot)} {coin}{lacks}."
        )
    elif converts:
        what = "If you do not repay or renew it by then, it goes on as an open loan at the flexible rate of that day."
    else:
        ways = "Repay it by then" if loan.due_at is None else "Repay or renew it by then"
        what = f"{ways}; after that each day costs {loan.debt.late_multiplier} times the daily interest."
    return notices.send(
        customer=loan.customer,
        event=due_event(loan, step),
        kind="loan_due",
        title=f"{loan} is due on {_when(due_at)}",
        body=f"{loan} is due on {_when(due_at)}, in {_left(due_at - at)}. {said(payoff)} {coin} closes it now. {what}",
        facts={
            "loan": loan.pk,
            "step": step,
            "due_at": due_at.isoformat(),
            "payoff": f"{payoff:f}",
            "spot": f"{spot:f}",
            "auto_repay": auto_repays,
        },
        at=at,
    )


def due_event(loan: Loan, step: str) -> str:
    """One reminder per loan, due date and step: a loan that is called gets its own."""
    assert loan.debt.due_at is not None
    return f"loan:{loan.pk}:due:{loan.debt.due_at:%Y-%m-%dT%H:%M:%SZ}:{step}"


def called(loan: Loan, *, payoff: Decimal, reason: str, at: datetime) -> Notice:
    """R-VIP-44: the desk wants an open loan back."""
    debt = loan.debt
    assert debt.due_at is not None
    return notices.send(
        customer=loan.customer,
        event=f"loan:{loan.pk}:called:{debt.due_at:%Y-%m-%dT%H:%M:%SZ}",
        kind="loan_called",
        title=f"{loan} is called: repay it by {_when(debt.due_at)}",
        body=(
            f"The desk asks for {loan} back by {_when(debt.due_at)}: {reason} {said(payoff)} {loan.asset_id} closes it"
            " now; until then it costs what it did. After that each day costs"
            f" {debt.late_multiplier} times the daily interest, and {debt.overdue_hours} hours later collateral is"
            " sold for it."
        ),
        facts={
            "loan": loan.pk,
            "due_at": debt.due_at.isoformat(),
            "payoff": f"{payoff:f}",
            "reason": reason,
        },
        at=at,
    )


def still_overdue(
    loan: Loan, *, owed: Parts, per_day: Decimal, until: datetime, day: int, at: datetime
) -> Notice:
    """R-VIP-46: once a day while overdue, with what is owed and how long is left."""
    left = f"in {_left(until - at)}" if until > at else "any time now"
    return notices.send(
        customer=loan.customer,
        event=overdue_event(loan, day),
        kind="loan_overdue",
        title=f"{loan} is still overdue",
        body=(
            f"{said(owed.total)} {loan.asset_id} is owed on {loan}: {said(owed.late_fee)} late fee,"
            f" {said(owed.interest)} interest, {said(owed.principal)} principal. Each day costs {said(per_day)}"
            f" {loan.asset_id} more. Unless it is repaid by {_when(until)}, {left}, collateral is sold for it, at a"
            " fee, whatever the LTV."
        ),
        facts={"loan": loan.pk, "day": day, "owed": f"{owed.total:f}", "sold_at": until.isoformat()},
        at=at,
    )


def overdue_event(loan: Loan, day: int) -> str:
    """Day 0 is the expiry itself."""
    return f"loan:{loan.pk}:overdue:{day}" if day else f"loan:{loan.pk}:overdue"


def overdue(
    loan: Loan,
    *,
    owed: Parts,
    until: datetime,
    at: datetime,
    auto_repay: str = "",
    not_converted: str = "",
) -> Notice:
    """R-VIP-43, R-VIP-44: what is owed, what waiting costs, and when collateral is sold.

    `auto_repay`: why it did not repay the loan, a sentence; empty when it was off (R-VIP-47). `not_converted`: why it
    does not go on at the flexible rate (R-VIP-26).
    """
    debt, why = loan.debt, auto_repay or not_converted
    assert debt.overdue_since is not None
    return notices.send(
        customer=loan.customer,
        event=overdue_event(loan, 0),
        kind="loan_overdue",
        title=f"{loan} is overdue",
        body=(
            f"{loan} was due on {_when(debt.overdue_since)} and is not repaid.{f' {why}' if why else ''}"
            f" {said(owed.total)} {loan.asset_id} is owed. From now on each day costs {debt.late_multiplier} times the"
            f" daily interest. If it is not repaid by {_when(until)}, collateral will be sold for it, at a fee,"
            " whatever the LTV."
        ),
        facts={
            "loan": loan.pk,
            "owed": f"{owed.total:f}",
            "sold_at": until.isoformat(),
            "auto_repay": auto_repay,
            "not_converted": not_converted,
        },
        at=at,
    )


@exact
def said(amount: Decimal) -> str:
    """1234567.50000000 as 1,234,567.5: every digit, no padding."""
    text = f"{amount:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@exact
def _percent(rate: Decimal) -> str:
    return f"{said(rate * 100)} %"


def _when(instant: datetime) -> str:
    return f"{instant:%-d %B %Y, %H:%M} UTC"


def _left(left: timedelta) -> str:
    """Time to go, cut to the minute: "6 days 14 hours", "59 minutes"."""
    minutes = int(left.total_seconds()) // 60
    days, hours = divmod(minutes // 60, 24)
    parts = [(days, "day"), (hours, "hour"), (0 if days else minutes % 60, "minute")]
    told = [f"{number} {unit}{'' if number == 1 else 's'}" for number, unit in parts if number]
    return " ".join(told) or "less than a minute"
