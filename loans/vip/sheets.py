"""The term sheet as a document: one canonical body for every version, its digest, and what was signed (R-VIP-15).

A published offer, a counter-offer and a signed sheet have the same keys, so any two can be laid side by side and
the one that was accepted is, byte for byte, the one that is signed. Amounts and rates are plain decimal strings.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from accounts.errors import Refused
from accounts.models import Customer, User
from accounts.money import RATE_PLACES, ZERO, exact
from accounts.words import joined, tell
from loans.models import Application, Loan, Offer, RateType, SignedSheet
from loans.vip import sheet_pdf
from loans.vip.eligibility import LONGEST_TERM
from loans.vip.terms import LEVELS, Agreed, TermSheet, handling_told
from risk import parameters
from risk.levels import Lines

Body = dict[str, Any]

LONGEST_OVERDUE: Final = 24 * 365  # hours
IDENTITY: Final = frozenset({"request", "version", "at", "renews", "replaces"})
"""What tells versions apart without being a term: never a difference."""


class BadTerms(Refused):
    """Terms that nobody may offer, whatever both sides want. R-GEN-43, R-VIP-20, R-VIP-21"""

    code = "bad_terms"


@dataclass(frozen=True, slots=True)
class CoinRate:
    """What a side wants for one coin: a fixed annual rate, or what is added to the flexible one. A fraction."""

    asset: str
    rate: Decimal


@dataclass(frozen=True, slots=True)
class Wanted:
    """The terms that can be bargained over, all of them, as one side wants them. Fractions, days and hours."""

    rates: tuple[CoinRate, ...]
    initial: Decimal
    margin_call: Decimal
    liquidation: Decimal
    cutoff: Decimal
    fee: Decimal
    term_days: int | None
    overdue_hours: int


# --- Bodies ---------------------------------------------------------------------------------------------


def canonical(body: Mapping[str, Any]) -> bytes:
    """The body as bytes: sorted keys, no spaces, UTF-8. The same terms give the same bytes on every machine."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(body: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical body: 64 hexadecimal digits."""
    return hashlib.sha256(canonical(body)).hexdigest()


def published(application: Application, sheet: TermSheet) -> Body:
    """Version 1: the terms as they are published for this client, for the coins that go ahead."""
    assert sheet.effect is not None, "a sheet without problems is valued"
    current = sheet.effect.current_lines
    is_fixed = application.rate_type == RateType.FIXED
    loans = [
        {
            "asset": line.asset,
            "amount": plain(line.amount),
            "rate": plain(line.annual_rate or ZERO) if is_fixed else RateType.FLEXIBLE.value,
            "spread": "0" if is_fixed else plain(line.spread),
        }
        for line in sorted(sheet.accepted_lines, key=lambda line: line.asset)
    ]
    return {
        "request": application.pk,
        "version": 1,
        "at": sheet.at.astimezone(UTC).isoformat(),
        "renews": None,
        "replaces": None if current is None else _levels(current),
        "receiver": sheet.request.receiver_uid,
        "accounts": sorted(sheet.request.account_uids),
        "coins": sorted(sheet.request.coins),
        "loans": loans,
        "rate_type": str(application.rate_type),
        "term_days": application.term_days,
        "lines": _levels(sheet.effect.lines),
        "overdue_hours": sheet.overdue_hours,
        "late_multiplier": sheet.late_multiplier,
        "handling": handling_told(sheet.handling),
        "all_or_nothing": application.all_or_nothing,
        "auto_repay": application.auto_repay,
        "agreement": sheet.agreement_version,
    }


def revised(
    body: Mapping[str, Any], wanted: Wanted, *, version: int, replaces: Lines | None, at: datetime
) -> Body:
    """The next version: `body` with what one side wants instead; `replaces` are the group's lines today.

    Raises:
        BadTerms: the lines do not rise (R-GEN-43), a fixed rate without a term, or a figure out of its bounds.
    """
    rates = {rate.asset: rate.rate for rate in wanted.rates}
    if set(rates) != {loan["asset"] for loan in body["loans"]} or len(rates) != len(wanted.rates):
        raise BadTerms(tell("Say one rate for each coin of the request."))
    lines = _check(body, wanted)
    is_fixed = body["rate_type"] == RateType.FIXED
    loans = [
        loan
        | ({"rate": plain(rates[loan["asset"]])} if is_fixed else {"spread": plain(rates[loan["asset"]])})
        for loan in body["loans"]
    ]
    return {
        **body,
        "version": version,
        "at": at.astimezone(UTC).isoformat(),
        "replaces": None if replaces is None else _levels(replaces),
        "loans": loans,
        "term_days": wanted.term_days,
        "lines": _levels(lines),
        "overdue_hours": wanted.overdue_hours,
    }


def body_for_renewal(
    old: Loan,
    *,
    lines: Lines,
    amount: Decimal,
    annual_rate: Decimal | None,
    spread: Decimal,
    term_days: int | None,
    overdue_hours: int,
    late_multiplier: int,
    auto_repay: bool,
    agreement: str,
    at: datetime,
) -> Body:
    """The sheet of a renewal: the group keeps its accounts, coins and `lines`; `annual_rate` None is flexible.

    `term_days` None is an open term.
    """
    group = old.group
    loan = {
        "asset": old.asset_id,
        "amount": plain(amount),
        "rate": RateType.FLEXIBLE.value if annual_rate is None else plain(annual_rate),
        "spread": plain(spread) if annual_rate is None else "0",
    }
    accounts = group.members.filter(released_at__isnull=True).values_list("account_id", flat=True)
    coins = group.coins.filter(released_at__isnull=True).values_list("asset_id", flat=True)
    return {
        "request": None,
        "version": 1,
        "at": at.astimezone(UTC).isoformat(),
        "renews": old.pk,
        "replaces": _levels(lines),
        "receiver": group.receiver_id,
        "accounts": sorted(accounts),
        "coins": sorted(coins),
        "loans": [loan],
        "rate_type": (RateType.FLEXIBLE if annual_rate is None else RateType.FIXED).value,
        "term_days": term_days,
        "lines": _levels(lines),
        "overdue_hours": overdue_hours,
        "late_multiplier": late_multiplier,
        "handling": handling_told(
            parameters.handling_for(product=old.product, customer=old.customer_id, at=at)
        ),
        "all_or_nothing": False,
        "auto_repay": auto_repay,
        "agreement": agreement,
    }


# --- Reading a body ---------------------------------------------------------------------------------------


def lines_of(body: Mapping[str, Any]) -> Lines:
    return Lines(**{name: Decimal(body["lines"][name]) for name in LEVELS})


def replaced_lines(body: Mapping[str, Any]) -> Lines | None:
    """The group's lines when this version was made; None for a group that was still to be opened."""
    found = body["replaces"]
    return None if found is None else Lines(**{name: Decimal(found[name]) for name in LEVELS})


def rates_of(body: Mapping[str, Any]) -> dict[str, Decimal]:
    """By coin what is bargained over: the fixed annual rate, or the spread on the flexible one."""
    name = "rate" if body["rate_type"] == RateType.FIXED else "spread"
    return {loan["asset"]: Decimal(loan[name]) for loan in body["loans"]}


def wanted_of(body: Mapping[str, Any]) -> Wanted:
    """What a body says of the terms that can be bargained over: where a counter-offer starts from."""
    lines = body["lines"]
    return Wanted(
        rates=tuple(CoinRate(asset, rate) for asset, rate in rates_of(body).items()),
        **{name: Decimal(lines[name]) for name in LEVELS},
        term_days=body["term_days"],
        overdue_hours=body["overdue_hours"],
    )


def agreed_of(offer: Offer) -> Agreed:
    """What the terms check has to take instead of what is published (R-VIP-18, R-VIP-24).

    Of terms as published only the rates bind; lines that changed before the decision need a new request.
    """
    body, rates = offer.body, rates_of(offer.body)
    is_fixed, is_negotiated = body["rate_type"] == RateType.FIXED, is_bargained(offer)
    return Agreed(
        rates=rates if is_fixed else {},
        spreads={} if is_fixed else rates,
        lines=lines_of(body) if is_negotiated else None,
        overdue_hours=body["overdue_hours"],
    )


def is_bargained(offer: Offer) -> bool:
    """Whether a person wrote these terms; those as published have no author."""
    return offer.author_id is not None


def differences(older: Mapping[str, Any], newer: Mapping[str, Any]) -> frozenset[str]:
    """The names of the terms that differ, such as `rate.USDT`, `lines.initial` or `term_days`."""
    before, after = dict(_terms(older)), dict(_terms(newer))
    return frozenset(name for name in {*before, *after} if before.get(name) != after.get(name))


def _terms(body: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in body.items():
        if name in IDENTITY:
            continue
        if name == "loans":
            for loan in value:
                yield f"amount.{loan['asset']}", loan["amount"]
                yield f"rate.{loan['asset']}", (loan["rate"], loan["spread"])
        elif name == "lines":
            yield from ((f"lines.{level}", value[level]) for level in LEVELS)
        else:
            yield name, value


# --- Signing ------------------------------------------------------------------------------------------------


def sign(
    *,
    customer: Customer,
    body: Body,
    signed_by: str,
    at: datetime,
    offer: Offer | None = None,
    note: str = "",
) -> SignedSheet:
    """Keep the sheet for good, as JSON and as PDF; `signed_by` is the label of who accepted. Inside a command.

    `note` is printed on the PDF and is no part of the body: which coins of the sheet were not paid out.
    """
    sha256 = digest(body)
    pdf = sheet_pdf.render(
        customer=customer.name, body=body, sha256=sha256, signed_by=_named(signed_by), signed_at=at, note=note
    )
    return SignedSheet.objects.create(
        customer=customer,
        offer=offer,
        body=body,
        sha256=sha256,
        pdf=pdf,
        pdf_sha256=hashlib.sha256(pdf).hexdigest(),
        signed_by=signed_by,
        signed_at=at,
    )


def tampered() -> list[str]:
    """Every signed sheet, offer or loan whose terms are no longer what was signed; empty when all is well."""
    found = []
    for sheet in SignedSheet.objects.select_related("offer").order_by("pk").iterator():
        if digest(sheet.body) != sheet.sha256:
            found.append(tell("sheet {sheet}: the terms are not those that were signed", sheet=sheet))
        if hashlib.sha256(bytes(sheet.pdf)).hexdigest() != sheet.pdf_sha256:
            found.append(tell("sheet {sheet}: the PDF is not the one that was signed", sheet=sheet))
        if sheet.offer is not None and sheet.offer.sha256 != sheet.sha256:
            found.append(tell("sheet {sheet}: it is not the offer that was accepted", sheet=sheet))
    for offer in Offer.objects.order_by("pk").iterator():
        if digest(offer.body) != offer.sha256:
            found.append(tell("{offer}: the terms are not those that were offered", offer=offer))
    for loan in Loan.objects.filter(sheet__isnull=False).select_related("sheet").order_by("pk").iterator():
        if loan.sheet is not None and loan.sheet_sha256 != loan.sheet.sha256:
            found.append(tell("loan {loan}: it does not stand on its sheet", loan=loan))
    return found


# --- Private ------------------------------------------------------------------------------------------------


@exact
def plain(value: Decimal) -> str:
    """A decimal without idle zeros and without an exponent: 0.720 is "0.72"."""
    return f"{value.normalize():f}" if value else "0"


def _named(signed_by: str) -> str:
    """The labels with the names of the users behind them, as they are called on the day."""
    labels = signed_by.split(" and ")
    names = {f"user:{user.pk}": user.name for user in User.objects.filter(pk__in=_user_ids(labels))}
    return joined(
        tell(" and "),
        (
            tell("{names} ({label})", names=names[label], label=label) if label in names else label
            for label in labels
        ),
    )


def _user_ids(labels: list[str]) -> list[int]:
    numbers = [label.removeprefix("user:") for label in labels if label.startswith("user:")]
    return [int(number) for number in numbers if number.isdecimal()]


def _levels(lines: Lines) -> dict[str, str]:
    return {name: plain(getattr(lines, name)) for name in LEVELS}


@exact
def _check(body: Mapping[str, Any], wanted: Wanted) -> Lines:
    is_fixed = body["rate_type"] == RateType.FIXED
    for rate in wanted.rates:
        if not (0 <= rate.rate < 1 if is_fixed else -1 < rate.rate < 1) or not _is_stored(rate.rate):
            what = (
                tell("An annual rate is from 0 % to below 100 %")
                if is_fixed
                else tell("A spread is between -100 % and 100 %")
            )
            raise BadTerms(tell("{what}, with at most 10 decimals.", what=what))
    if not all(_is_stored(getattr(wanted, name)) for name in LEVELS):
        raise BadTerms(tell("The lines and the fee are percentages with at most 10 decimals."))
    try:
        lines = Lines(**{name: getattr(wanted, name) for name in LEVELS})
    except ValueError as error:
        raise BadTerms(str(error)) from error
    if wanted.term_days is None and is_fixed:
        raise BadTerms(tell("A fixed rate needs a term in days."))
    if wanted.term_days is not None and not 1 <= wanted.term_days <= LONGEST_TERM:
        raise BadTerms(tell("A term is from 1 to {longest_term} days.", longest_term=LONGEST_TERM))
    if not 1 <= wanted.overdue_hours <= LONGEST_OVERDUE:
        raise BadTerms(
            tell("The overdue period is from 1 to {longest_overdue} hours.", longest_overdue=LONGEST_OVERDUE)
        )
    return lines


def _is_stored(value: Decimal) -> bool:
    """Finite, and kept whole by a column of 12 decimals."""
    return value.is_finite() and value == value.quantize(Decimal(1).scaleb(-RATE_PLACES))
