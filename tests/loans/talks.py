"""Moves of a negotiation for tests: what a side wants, and one function per move."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from loans.models import Application, Offer
from loans.vip import applications, offers, sheets
from loans.vip.sheets import CoinRate, Wanted
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk


def wanted(rate: str = "0.08", **changes: Any) -> Wanted:
    """8 % for USDT on the published lines, 30 days, 168 hours; with what is said changed."""
    base = Wanted(
        rates=(CoinRate("USDT", Decimal(rate)),),
        initial=Decimal("0.72"),
        margin_call=Decimal("0.77"),
        liquidation=Decimal("0.91"),
        cutoff=Decimal("0.95"),
        fee=Decimal("0.02"),
        term_days=30,
        overdue_hours=168,
    )
    return replace(base, **changes)


def asked(desk: Desk, want: Wanted | None = None, *, at: datetime = TEN, **changes: Any) -> Application:
    """The applicant is not satisfied: 8 % instead of 8.4 % unless said."""
    request = desks.request(desk, **changes)
    return applications.negotiate(
        request=request, wanted=want or wanted(), message="Please.", actor=desk.borrower, at=at
    )


def last(application: Application) -> Offer:
    return Offer.objects.filter(application=application).latest("version")


def move(name: str, application: Application, desk: Desk, *, at: datetime = TEN, **told: Any) -> Offer:
    """`counter_offer` and `accept_counter` by the manager, the others by the borrower, on the last version."""
    actor = desk.decider if name in {"counter_offer", "accept_counter"} else desk.borrower
    told = {"version": last(application).version, "actor": actor} | told
    made: Offer = getattr(offers, name)(application_id=application.pk, at=at, **told)
    application.refresh_from_db()
    return made


def statuses(application: Application) -> list[tuple[int, str, str]]:
    rows = application.offers.order_by("version").values_list("version", "side", "status")
    return [(version, str(side), str(status)) for version, side, status in rows]


def body(application: Application) -> dict[str, Any]:
    accepted = Application.objects.get(pk=application.pk).accepted
    assert accepted is not None
    assert sheets.digest(accepted.body) == accepted.sha256
    found: dict[str, Any] = accepted.body
    return found
