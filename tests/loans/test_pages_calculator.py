"""The counter-offer calculator on the request's page: computed by the engine, asked without offering anything."""

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.http import HttpResponse

from loans import dealing
from loans.models import Application, Offer
from loans.pages.desk_calculator import position_of
from loans.pages.desk_waiting import looked_at
from risk import parameters, sweep
from risk.handling import FeeBase
from risk.models import Liquidation
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans import talks
from tests.loans.desk import Desk
from tests.loans.visit import at, client_of

pytestmark = pytest.mark.django_db
TYPED = {
    "calc-rate_USDT": "10",
    "calc-term": "60",
    "calc-fee": "2",
    "calc-fall": "40",
    "calc-cost": "5",
}


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def ask(desk: Desk, application: Application, **typed: str) -> HttpResponse:
    with at(TEN):
        return client_of(desk.manager).get(f"/desk/requests/{application.pk}/", typed)


def text_of(response: HttpResponse) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()).replace("\xa0", " "))


def test_the_terms_that_stand_are_worked_out(desk: Desk) -> None:
    """R-FTR-15, EX-01: 30 days of 230.13698631; 1,000,000 against 25 BTC at 60,000 breaks even at a fall of 32 %."""
    application = desks.submitted(desk)
    page = ask(desk, application)
    [case] = page.context["calculator"].cases
    [coin] = case.yields
    assert (coin.found.interest, coin.days, coin.rate) == (Decimal("6904.10958930"), 30, Decimal("0.084"))
    assert (case.break_even, case.debt_break_even) == (Decimal("0.32"), Decimal("0.333333"))
    assert (case.outcome.loss, case.outcome.fee_missed) == (0, 0)  # at the 30 % that it begins with
    assert "As in version 1" in text_of(page)


def test_what_is_typed_is_worked_out_beside_it_and_begins_the_counter_offer(desk: Desk) -> None:
    """R-FTR-15: 10 % for 60 days at 5 % cost of funds; a fall of 40 % loses 100,000 and the fee. Nothing is offered."""
    application = desks.submitted(desk)
    page = ask(desk, application, **TYPED)
    stands, typed = page.context["calculator"].cases
    assert stands.title == "As in version 1"
    [coin] = typed.yields
    assert (coin.found.interest, coin.found.cost) == (
        60 * Decimal("273.97260274"),
        60 * Decimal("136.98630137"),
    )
    assert coin.found.annual == Decimal("0.05")
    assert (typed.outcome.loss, typed.outcome.fee_missed) == (100_000, 20_000)
    offer = page.context["want"]
    assert (offer["rate_USDT"].value(), offer["term"].value()) == ("10", 60)
    assert Offer.objects.count() == 1


def test_the_loss_is_what_the_engine_would_leave(desk: Desk) -> None:
    """R-FTR-15, R-GEN-76: the calculator's fall, made real, leaves the shortfall it said."""
    application = desks.submitted(desk)
    [row] = looked_at(Application.objects.filter(pk=application.pk), at=TEN)
    slippage = parameters.settings_at(TEN).slippage
    position = position_of(row.state, fee=Decimal("0.02"), slippage=slippage, fee_base=FeeBase.DEBT_REPAID)
    assert position is not None
    told = dealing.sold_out(position, fall=Decimal("0.45"))
    desks.approved(desk, application)
    later = TEN + timedelta(minutes=5)
    desks.quote(later, BTC="33000")
    sweep.sweep(at=later)
    assert Liquidation.objects.get().shortfall_usd == told.loss == 175_000


def test_at_the_break_even_the_engine_collects_debt_and_fee(desk: Desk) -> None:
    """R-FTR-15, R-GEN-75: BTC at 68 % of 60,000 pays 1,000,000 and 20,000; a dollar less does not."""
    desks.drawn(desk)
    later = TEN + timedelta(minutes=5)
    desks.quote(later, BTC="40800")
    sweep.sweep(at=later)
    row = Liquidation.objects.get()
    assert (row.shortfall_usd, row.fee_usd) == (0, 20_000)


def test_values_that_mean_nothing_are_refused_at_their_fields(desk: Desk) -> None:
    """R-FTR-15: and the terms that stand are still worked out."""
    application = desks.submitted(desk)
    for wrong in ({"calc-fall": "101"}, {"calc-fall": "x"}, {"calc-rate_USDT": ""}, {"calc-term": "0"}):
        page = ask(desk, application, **(TYPED | wrong))
        assert page.status_code == 200
        assert page.context["calculator"].form.errors
        assert [case.title for case in page.context["calculator"].cases] == ["As in version 1"]


def test_an_open_flexible_loan_is_looked_at_over_thirty_days(desk: Desk) -> None:
    """R-FTR-15, R-VIP-24: 8 % published and 0.5 % on top."""
    application = talks.asked(
        desk, talks.wanted("0.005", term_days=None), rate_type="flexible", term_days=None
    )
    page = ask(desk, application)
    [case] = page.context["calculator"].cases
    assert (case.yields[0].rate, case.yields[0].days) == (Decimal("0.085"), 30)


def test_without_a_price_nothing_is_said_of_the_stress(desk: Desk) -> None:
    """R-FTR-15, R-GEN-22"""
    application = desks.submitted(desk)
    [row] = looked_at(Application.objects.filter(pk=application.pk), at=TEN)

    blind = replace(row.state, quotes={"BTC": row.state.quotes["BTC"]})
    assert position_of(blind, fee=Decimal(0), slippage=Decimal(0), fee_base=FeeBase.DEBT_REPAID) is None


def test_only_the_clients_manager_asks(desk: Desk) -> None:
    """R-ADM-01, R-FTR-15"""
    application = desks.submitted(desk)
    with at(TEN):
        for user, status in (
            (build.user("vip_manager"), 404),
            (desk.applicant, 404),
            (build.user("auditor"), 403),
        ):
            assert client_of(user).get(f"/desk/requests/{application.pk}/", TYPED).status_code == status
