"""What we say a customer holds and owes at an instant, for them to confirm or dispute (R-ADM-11).

The body is recomputed from rows alone: wallets from their transfers, debts from their entries with what was due and
not booked yet, pledged accounts and coins by their dates. So the ledger makes the same body again any day, and a
difference is a finding. Amounts are plain decimal strings; the digest is of the canonical body, not of the paper.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from accounts import ledger, membership, notices
from accounts.commands import Actor, FourEyes, command
from accounts.errors import Refused
from accounts.models import Customer, LedgerAccount, Membership, User
from accounts.money import ZERO
from accounts.powers import MemberRule, Power
from accounts.words import capital, joined, tell
from loans import confirmation_paper
from loans.models import BalanceConfirmation, Loan
from loans.vip import sheets
from risk import past
from risk.book import WALLET
from risk.models import CollateralGroup

Body = dict[str, Any]
Status = BalanceConfirmation.Status

ASKERS: Final = frozenset({User.Role.FINANCE, User.Role.AUDITOR, User.Role.ADMIN})
SECTIONS: Final = ("wallets", "debts", "collateral")
LONGEST_ANSWER: Final = 2000  # characters; the width of the column


class BadInstant(Refused):
    """Nobody can confirm what is not known yet, nor the same instant twice."""

    code = "bad_instant"


class AlreadyAnswered(Refused):
    code = "already_answered"


class NothingSaid(Refused):
    """A dispute says what is wrong."""

    code = "reason_needed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What `verify` found: `rows` that the ledger says otherwise now, in words; empty when all is as it was."""

    is_untouched: bool  # the stored body is still what its digest names
    rows: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        return self.is_untouched and not self.rows


@command(
    "confirmations.issue",
    returns=BalanceConfirmation,
    four_eyes=FourEyes(makers=ASKERS, checkers=ASKERS, needed=lambda _: False),
)
def issue(
    *, customer_id: int, as_of: datetime, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> BalanceConfirmation:
    """Write down what the customer held and owed at `as_of`, and ask them. By finance, an auditor or an admin. R-ADM-11

    Raises:
        NotYourRole: anybody else.
        BadInstant: it lies ahead, or this customer was asked about it already.
    """
    if as_of > at:
        raise BadInstant(tell("{as_of} lies ahead; ask about an instant that is over.", as_of=_when(as_of)))
    customer = Customer.objects.get(pk=customer_id)
    body = body_of(customer, as_of=as_of)
    sha256 = sheets.digest(body)
    row = BalanceConfirmation(
        customer=customer,
        as_of=as_of,
        body=body,
        sha256=sha256,
        pdf=confirmation_paper.render(customer=customer.name, body=body, sha256=sha256, made_at=at),
        requested_by_id=actor.user_id,
        requested_at=at,
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        raise BadInstant(
            tell("{customer} was asked about {as_of} already.", customer=customer.name, as_of=_when(as_of))
        ) from error
    notices.send(
        customer=customer,
        event=f"confirmation:{row.pk}",
        kind="balance_confirmation",
        title=tell("Please confirm your balances as of {as_of}", as_of=_when(as_of)),
        body=_told(body, as_of),
        facts={"confirmation": row.pk, "sha256": sha256},
        at=at,
    )
    return row


@command("confirmations.answer", returns=BalanceConfirmation, member=MemberRule(Power.ACCEPT))
def answer(
    *,
    confirmation_id: int,
    agrees: bool,
    words: str,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> BalanceConfirmation:
    """The customer says that it is right, or what is not. By a signatory or treasurer of theirs. R-ADM-11

    Raises:
        membership.NotYours, NotYourPart: nobody of the customer who may.
        AlreadyAnswered: it was confirmed or disputed before.
        NothingSaid: a dispute without words, or too many of them.
    """
    rows = BalanceConfirmation.objects.select_for_update(no_key=True, of=("self",))
    row = rows.filter(pk=confirmation_id).first()
    if row is None or membership.of_user(actor.user_id, row.customer_id) is None:
        raise membership.NotYours(tell("There is nothing like that among what you act for."))
    if row.status != Status.WAITING:
        raise AlreadyAnswered(
            tell(
                "{row} is {status} already; write to the desk instead.",
                row=row,
                status=row.get_status_display().lower(),
            )
        )
    words = words.strip()
    if len(words) > LONGEST_ANSWER or not (words or agrees):
        raise NothingSaid(
            tell(
                "Say what is not right, in at most {longest_answer} characters.",
                longest_answer=LONGEST_ANSWER,
            )
        )
    row.status = Status.CONFIRMED if agrees else Status.DISPUTED
    row.answered_by_id, row.answered_at, row.answer = actor.user_id, at, words
    row.save(update_fields=["status", "answered_by", "answered_at", "answer"])
    return row


# --- Reads ------------------------------------------------------------------------------------------------


def visible_to(user: User) -> QuerySet[BalanceConfirmation]:
    """Finance, auditors and admins see all; members those of the customers they act for as a whole. R-GEN-95"""
    rows = BalanceConfirmation.objects.defer("pdf").order_by("-requested_at", "-pk")
    if user.is_active and user.role in ASKERS:
        return rows
    whole = Membership.objects.filter(user=user, account=None, user__is_active=True)
    return rows.filter(customer__in=whole.values("customer"))


def body_of(customer: Customer, *, as_of: datetime) -> Body:
    """What the customer held, owed and had pledged at `as_of`, from the ledger; without what is zero."""
    groups = list(CollateralGroup.objects.filter(customer=customer, opened_at__lte=as_of).order_by("pk"))
    return {
        "customer": customer.pk,
        "as_of": as_of.astimezone(UTC).isoformat(),
        "wallets": _wallets(customer, as_of),
        "debts": [debt for group in groups for debt in _debts(group, as_of)],
        "collateral": [pledge for group in groups if (pledge := _pledge(group, as_of))],
    }


def verify(row: BalanceConfirmation) -> Finding:
    """Recompute the body from the ledger as it is now, and lay it beside what was said."""
    now = body_of(row.customer, as_of=row.as_of)
    found = []
    for section in SECTIONS:
        said, is_now = ({sheets.canonical(one): one for one in body[section]} for body in (row.body, now))
        found += [
            tell("{section}: the ledger has no longer {said}", section=section, said=_line(said[gone]))
            for gone in said.keys() - is_now
        ]
        found += [
            tell("{section}: the ledger has {is_now}", section=section, is_now=_line(is_now[new]))
            for new in is_now.keys() - said
        ]
    return Finding(is_untouched=sheets.digest(row.body) == row.sha256, rows=tuple(sorted(found)))


def tampered() -> list[str]:
    """Every confirmation whose figures are no longer those that its digest names; empty when all is well."""
    rows = BalanceConfirmation.objects.defer("pdf").order_by("pk")
    return [
        tell("confirmation {row}: the figures are not those that were sent", row=row)
        for row in rows.iterator()
        if sheets.digest(row.body) != row.sha256
    ]


# --- Private ----------------------------------------------------------------------------------------------


def _wallets(customer: Customer, as_of: datetime) -> list[Body]:
    uids = customer.accounts.values_list("pk", flat=True)
    held = ledger.balances_at(account_ids=uids, kinds=LedgerAccount.WALLETS, at=as_of)
    return [
        {"account": uid, "wallet": kind, "asset": asset, "balance": sheets.plain(balance)}
        for (uid, kind, asset), balance in sorted(held.items())
        if balance
    ]


def _debts(group: CollateralGroup, as_of: datetime) -> list[Body]:
    owed = [one for one in past.debts_at(group, at=as_of) if one.parts.total]
    loans = dict(Loan.objects.filter(debt__in=[one.debt.pk for one in owed]).values_list("debt_id", "pk"))
    return [
        {
            "debt": str(one.debt),
            "loan": f"L-{loans[one.debt.pk]:04d}" if one.debt.pk in loans else "",
            "asset": one.debt.asset_id,
            "principal": sheets.plain(one.parts.principal),
            "interest": sheets.plain(one.parts.interest),
            "late_fee": sheets.plain(one.parts.late_fee),
            "total": sheets.plain(one.parts.total),
        }
        for one in owed
    ]


def _pledge(group: CollateralGroup, as_of: datetime) -> Body | None:
    """The accounts and coins that secured the group then, and what of these coins was in the accounts."""
    then = Q(since__lte=as_of) & (Q(released_at__isnull=True) | Q(released_at__gt=as_of))
    uids = sorted(group.members.filter(then).values_list("account_id", flat=True))
    coins = sorted(group.coins.filter(then).values_list("asset_id", flat=True))
    if not uids and not coins:
        return None
    held = ledger.balances_at(account_ids=uids, kinds=[WALLET], at=as_of)
    sums = {coin: ZERO for coin in coins}
    for (_, _, asset), balance in held.items():
        if asset in sums:
            sums[asset] += balance
    pledged = {coin: sheets.plain(balance) for coin, balance in sums.items()}
    return {"group": str(group), "receiver": group.receiver_id, "accounts": uids, "pledged": pledged}


def _line(row: Mapping[str, Any]) -> str:
    return joined(
        ", ", (tell("{name} {value}", name=name, value=value) for name, value in row.items() if value != "")
    )


def _told(body: Body, as_of: datetime) -> str:
    wallets = [
        tell(
            "{one} of {one2}: {one3}",
            one=capital(LedgerAccount.Kind(one["wallet"]).label),
            one2=one["account"],
            one3=_said(one, tell("balance")),
        )
        for one in body["wallets"]
    ]
    debts = [
        tell("{one}: {one2} owed", one=one["loan"] or one["debt"], one2=_said(one, tell("total")))
        for one in body["debts"]
    ]
    lines = [*wallets, *debts] or [tell("You held nothing here and owed nothing.")]
    ask = tell("Confirm it, or say what is not right, under Balance confirmations.")
    return joined("\n", [tell("This is what our books say of {as_of}:", as_of=_when(as_of)), *lines, ask])


def _said(row: Mapping[str, str], field: str) -> str:
    return tell("{row:,f} {row2}", row=Decimal(row[field]), row2=row["asset"])


def _when(instant: datetime) -> str:
    return tell("{utc:%-d %B %Y %H:%M} UTC", utc=instant.astimezone(UTC))
