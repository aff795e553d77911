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
from accounts.words import figure, joined, tell
from loans.models import Application, Loan, Offer
from risk.models import DebtEntry
from risk.waterfall import Parts


def paid_out(
    application: Application, loans: list[Loan], *, at: datetime, left_out: Mapping[str, str] | None = None
) -> Notice:
    """R-VIP-14; `left_out` says by coin why the others of the bundle are not paid out (R-VIP-06)."""
    coins = joined(
        ", ", (tell("{amount} {asset}", amount=said(loan.amount), asset=loan.asset_id) for loan in loans)
    )
    due = loans[0].due_at
    term = (
        tell("It is due on {due}.", due=_when(due))
        if due
        else tell("It has no expiry; repay whenever you like.")
    )
    missing = joined(
        "",
        (
            tell(" {symbol} was left out: {why}", symbol=symbol, why=why)
            for symbol, why in sorted((left_out or {}).items())
        ),
    )
    return notices.send(
        customer=application.customer,
        event=f"application:{application.pk}:disbursed",
        kind="loan_paid_out",
        title=tell("{coins} paid out", coins=coins),
        body=(
            tell(
                "{application} is approved{which}. {coins} is in the Spot wallet of {receiver}."
                " {term} Interest is charged at each 00:00 UTC.{missing}",
                application=application,
                which=tell(" in part") if missing else "",
                coins=coins,
                receiver=application.receiver,
                term=term,
                missing=missing,
            )
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
        title=tell("An offer for {application}", application=application),
        body=(
            tell(
                "Your VIP manager made an offer for {application}, version {version}. It stands until"
                " {expires_at}; accept it, answer with other terms, or decline it.",
                application=application,
                version=offer.version,
                expires_at=_when(offer.expires_at),
            )
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
        title=tell("Your terms for {application} are accepted", application=application),
        body=(
            tell(
                "Your VIP manager accepted your terms for {application}, version {version}. It is in"
                " review now; nothing is paid out before that.",
                application=application,
                version=offer.version,
            )
        ),
        facts={"application": application.pk, "version": offer.version},
        at=at,
    )


def lapsed(application: Application, *, was: str, at: datetime) -> Notice:
    """R-VIP-11, R-VIP-12: nobody answered in time."""
    assert application.expires_at is not None
    waited = {
        Application.Status.OFFERED.value: tell("Your manager's offer was not answered"),
        Application.Status.NEGOTIATING.value: tell("No agreement was found"),
    }.get(was, tell("It was not decided"))
    return notices.send(
        customer=application.customer,
        event=f"application:{application.pk}:expired",
        kind="application_expired",
        title=tell("{application} has lapsed", application=application),
        body=(
            tell(
                "{waited} by {expires_at}, so {application} has lapsed. Nothing was reserved or"
                " charged. You can send a new request at today's terms at any time.",
                waited=waited,
                expires_at=_when(application.expires_at),
                application=application,
            )
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
        title=tell("{application} was not approved", application=application),
        body=tell(
            "Your VIP manager did not approve {application}: {decision_reason}",
            application=application,
            decision_reason=application.decision_reason,
        ),
        facts={"application": application.pk},
        at=at,
    )


def repaid(loan: Loan, entry: DebtEntry, *, left: Parts, is_closed: bool, at: datetime) -> Notice:
    """R-GEN-51"""
    paid = Parts(late_fee=-entry.late_fee, interest=-entry.interest, principal=-entry.principal)
    rest = (
        tell("Nothing is left to pay.")
        if is_closed
        else tell("{total} {asset} is still owed.", total=said(left.total), asset=loan.asset_id)
    )
    return notices.send(
        customer=loan.customer,
        event=f"repayment:{entry.pk}",
        kind="loan_repaid" if is_closed else "repayment",
        title=tell("{loan} is repaid", loan=loan) if is_closed else tell("Repayment on {loan}", loan=loan),
        body=(
            tell(
                "{total} {asset} was paid on {loan}: {late_fee} late fee, {interest} interest,"
                " {principal} principal. {rest}",
                total=said(paid.total),
                asset=loan.asset_id,
                loan=loan,
                late_fee=said(paid.late_fee),
                interest=said(paid.interest),
                principal=said(paid.principal),
                rest=rest,
            )
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
        title=tell("{old} continues as {new}", old=old, new=new),
        body=(
            tell(
                "{interest} {asset} of interest was paid from Spot. {amount} {asset2} runs on as"
                " {new} until {due_at}; the new rate of {annual_rate} a year starts on {due_at2}.",
                interest=said(interest),
                asset=old.asset_id,
                amount=said(new.amount),
                asset2=new.asset_id,
                new=new,
                due_at=_when(new.due_at),
                annual_rate=_percent(new.annual_rate),
                due_at2=_when(old.due_at),
            )
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
        title=tell("{old} goes on as {new} at the flexible rate", old=old, new=new),
        body=(
            tell(
                "{old} expired on {drawn_at} and goes on as {new}, an open loan, as you chose:"
                " {amount} {coin} of principal and {interest} {coin} of interest not paid yet, which"
                " bears none. From its expiry it costs the flexible rate, {annual_rate} a year now;"
                " repay it whenever you like.",
                old=old,
                drawn_at=_when(new.drawn_at),
                new=new,
                amount=said(new.amount),
                coin=coin,
                interest=said(interest),
                annual_rate=_percent(new.annual_rate),
            )
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
        lacks = (
            tell("; {payoff} {coin} more is needed today", payoff=said(payoff - spot), coin=coin)
            if spot < payoff
            else ""
        )
        what = tell(
            "Auto-repay is on: at that time what is owed is taken from the Spot wallet of"
            " {receiver}, which holds {spot} {coin}{lacks}.",
            receiver=loan.group.receiver,
            spot=said(spot),
            coin=coin,
            lacks=lacks,
        )
    elif converts:
        what = tell(
            "If you do not repay or renew it by then, it goes on as an open loan at the"
            " flexible rate of that day."
        )
    else:
        ways = tell("Repay it by then") if loan.due_at is None else tell("Repay or renew it by then")
        what = tell(
            "{ways}; after that each day costs {late_multiplier} times the daily interest.",
            ways=ways,
            late_multiplier=loan.debt.late_multiplier,
        )
    return notices.send(
        customer=loan.customer,
        event=due_event(loan, step),
        kind="loan_due",
        title=tell("{loan} is due on {due_at}", loan=loan, due_at=_when(due_at)),
        body=tell(
            "{loan} is due on {due_at}, in {due_at2}. {payoff} {coin} closes it now. {what}",
            loan=loan,
            due_at=_when(due_at),
            due_at2=_left(due_at - at),
            payoff=said(payoff),
            coin=coin,
            what=what,
        ),
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
        title=tell("{loan} is called: repay it by {due_at}", loan=loan, due_at=_when(debt.due_at)),
        body=(
            tell(
                "The desk asks for {loan} back by {due_at}: {reason} {payoff} {asset} closes it now;"
                " until then it costs what it did. After that each day costs {late_multiplier} times"
                " the daily interest, and {overdue_hours} hours later collateral is sold for it.",
                loan=loan,
                due_at=_when(debt.due_at),
                reason=reason,
                payoff=said(payoff),
                asset=loan.asset_id,
                late_multiplier=debt.late_multiplier,
                overdue_hours=debt.overdue_hours,
            )
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
    left = tell("in {until}", until=_left(until - at)) if until > at else tell("any time now")
    return notices.send(
        customer=loan.customer,
        event=overdue_event(loan, day),
        kind="loan_overdue",
        title=tell("{loan} is still overdue", loan=loan),
        body=(
            tell(
                "{total} {asset} is owed on {loan}: {late_fee} late fee, {interest} interest,"
                " {principal} principal. Each day costs {per_day} {asset} more. Unless it is repaid"
                " by {until}, {left}, collateral is sold for it, at a fee, whatever the LTV.",
                total=said(owed.total),
                asset=loan.asset_id,
                loan=loan,
                late_fee=said(owed.late_fee),
                interest=said(owed.interest),
                principal=said(owed.principal),
                per_day=said(per_day),
                until=_when(until),
                left=left,
            )
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
        title=tell("{loan} is overdue", loan=loan),
        body=(
            tell(
                "{loan} was due on {overdue_since} and is not repaid.{why} {total} {asset} is owed."
                " From now on each day costs {late_multiplier} times the daily interest. If it is not"
                " repaid by {until}, collateral will be sold for it, at a fee, whatever the LTV.",
                loan=loan,
                overdue_since=_when(debt.overdue_since),
                why=tell(" {why}", why=why) if why else "",
                total=said(owed.total),
                asset=loan.asset_id,
                late_multiplier=debt.late_multiplier,
                until=_when(until),
            )
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
    text = tell("{amount:,f}", amount=amount)
    return figure(text.rstrip("0").rstrip(".") if "." in text else text)


@exact
def _percent(rate: Decimal) -> str:
    return tell("{rate} %", rate=said(rate * 100))


def _when(instant: datetime) -> str:
    return tell("{instant:%-d %B %Y, %H:%M} UTC", instant=instant)


def _left(left: timedelta) -> str:
    """Time to go, cut to the minute: "6 days 14 hours", "59 minutes"."""
    minutes = int(left.total_seconds()) // 60
    days, hours = divmod(minutes // 60, 24)
    minutes = 0 if days else minutes % 60
    told = [
        (days, tell("1 day") if days == 1 else tell("{number} days", number=days)),
        (hours, tell("1 hour") if hours == 1 else tell("{number} hours", number=hours)),
        (minutes, tell("1 minute") if minutes == 1 else tell("{number} minutes", number=minutes)),
    ]
    return joined(" ", (words for number, words in told if number)) or tell("less than a minute")
