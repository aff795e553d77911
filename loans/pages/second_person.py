"""What a firm's second person is shown of a request, an offer or other terms, then and now (R-ADM-09)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from accounts.models import Account
from accounts.pages import firm_inbox
from accounts.templatetags import figures
from accounts.words import joined, tell
from loans.models import Application, RateType
from loans.pages.bargain import LABELS, terms_told
from loans.vip import terms
from loans.vip.sheets import Wanted
from loans.vip.terms import LEVELS, TermSheet

Arguments = Mapping[str, Any]
OURS = {"agreement_needed"}  # accepted by a tick of its own, before the request is proposed


def of_sheet(sheet: TermSheet) -> dict[str, str]:
    """The terms that the maker accepted, with LTV before and after."""
    asked = sheet.request
    named = Account.objects.in_bulk([asked.receiver_uid, *asked.account_uids])
    words: dict[str, str] = {}
    for line in sheet.accepted_lines:
        words[f"You receive, {line.asset}"] = figures.plain(line.amount, line.asset)
        if line.annual_rate is not None:
            words[f"Rate, {line.asset}"] = tell(
                "{annual_rate} {rate_type}",
                annual_rate=figures.rate(line.annual_rate),
                rate_type=asked.rate_type,
            )
    words |= {
        tell("Term"): tell("{term_days} days", term_days=asked.term_days)
        if asked.term_days
        else tell("open"),
        tell("Into"): tell("Spot, {named}", named=named[asked.receiver_uid]),
        tell("Collateral accounts"): joined(", ", (str(named[uid]) for uid in asked.account_uids)),
        tell("Collateral coins"): joined(", ", asked.coins),
        tell("Purpose"): asked.purpose,
    }
    return words | _ltv(sheet)


def of_wanted(want: Wanted, *, rate_type: str) -> dict[str, str]:
    """Other terms that the firm asks for."""
    is_fixed = rate_type == RateType.FIXED
    rates = {
        tell("Wanted rate, {asset}", asset=rate.asset): figures.rate(rate.rate)
        if is_fixed
        else tell("flexible + {rate}", rate=figures.rate(rate.rate))
        for rate in want.rates
    }
    lines = {
        tell("Wanted: {labels}", labels=LABELS[name]): figures.line(getattr(want, name)) for name in LEVELS
    }
    return (
        rates
        | lines
        | {
            tell("Wanted term"): tell("{term_days} days", term_days=want.term_days)
            if want.term_days
            else tell("open"),
            tell("Wanted overdue period"): tell("{overdue_hours} h", overdue_hours=want.overdue_hours),
        }
    )


def of_offer(asked: Arguments, at: datetime) -> dict[str, str]:
    """What the desk offers, and whether the offer still waits for an answer."""
    row = Application.objects.get(pk=asked["application_id"])
    offer = row.offers.filter(version=asked["version"]).first()
    if offer is None:
        return {}
    status = (
        tell("open", context="offer")
        if offer.status == offer.Status.OPEN and offer.expires_at > at
        else tell("no longer open")
    )
    coins = {
        tell("You receive, {loan}", loan=loan["asset"]): figures.plain(loan["amount"], loan["asset"])
        for loan in offer.body["loans"]
    }
    return {tell("Request"): str(row), tell("The offer"): status} | coins | terms_told(offer.body)


def _request_now(asked: Arguments, at: datetime) -> dict[str, str]:
    return of_now(terms.check(asked["request"], at=at), accepted=asked.get("accepted", ""))


def of_now(sheet: TermSheet, *, accepted: str) -> dict[str, str]:
    """Whether it could be done now, and whether on the terms that the maker accepted."""
    problems = sheet.without(OURS).problems
    possible = (
        tell("no: {problems}", problems=joined(" ", (problem.message for problem in problems)))
        if problems
        else tell("yes")
    )
    is_same = accepted in ("", sheet.fingerprint)
    same = tell("yes") if is_same else tell("no: take it back and check the terms anew")
    return {tell("Possible"): possible, tell("Terms as your colleague accepted them"): same} | _ltv(sheet)


def _ltv(sheet: TermSheet) -> dict[str, str]:
    if sheet.effect is None:
        return {}
    return {"LTV before": figures.ltv(sheet.effect.now.ltv), "LTV after": figures.ltv(sheet.effect.after.ltv)}


firm_inbox.effects["vip.submit"] = _request_now
firm_inbox.effects["vip.negotiate"] = _request_now
firm_inbox.effects["vip.accept_offer"] = of_offer
