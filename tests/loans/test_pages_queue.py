"""The queue: scores in words, the clock of each answer, and what the manager has to do next."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext

from accounts.commands import Actor, acting
from accounts.models import User
from loans import client_file, ratecards
from loans.models import Application, ClientNote
from loans.pages.desk_rows import histories_of
from loans.pages.desk_waiting import waiting_rows
from loans.vip import answering, applications, offers, origination
from risk.models import Liquidation, MarketDepth
from tests import build
from tests.build import LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans import talks
from tests.loans.desk import Desk
from tests.loans.visit import at, client_of

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def queue(desk: Desk, instant: datetime = TEN, *, query: str = "") -> HttpResponse:
    with at(instant):
        return client_of(desk.manager).get(f"/desk/{query}")


def text_of(response: HttpResponse) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()).replace("\xa0", " "))


def depth(symbol: str, volume: str, share: str = "0.1", *, instant: datetime = LONG_AGO) -> None:
    with acting(build.BUILDER):
        MarketDepth.objects.create(
            asset=build.asset(symbol),
            effective_at=instant,
            volume_usd=Decimal(volume),
            max_share=Decimal(share),
        )


def another(desk: Desk, amount: str, *, btc: str = "20", instant: datetime = TEN) -> Application:
    """A request of the same client with accounts of its own."""
    sub, receiver = build.account(desk.owner), build.account(desk.owner)
    build.deposit(sub, "BTC", btc, at=LONG_AGO)
    return desks.submitted(desk, amount, at=instant, account_uids=(sub.pk,), receiver_uid=receiver.pk)


# --- Score ------------------------------------------------------------------------------------------------


def test_a_request_is_scored_part_by_part(desk: Desk) -> None:
    """R-FTR-13: 66.67 % of 72 %, all in BTC, 1,500,000 USD at 500,000 a day, a new client, 1 m of 5 m USD."""
    depth("BTC", "5000000")
    application = desks.submitted(desk)
    [row] = waiting_rows(Application.objects.all(), at=TEN)
    assert [(part.name, part.points) for part in row.score.parts] == [
        ("LTV afterwards", 4),
        ("Concentration", 0),
        ("Days to sell it all", 13),
        ("History", 10),
        ("Size", 8),
    ]
    seen = text_of(queue(desk))
    assert "35 LTV afterwards 4/30 Concentration 0/20 Days to sell it all 13/20" in seen
    with at(TEN):
        page = text_of(client_of(desk.manager).get(f"/desk/requests/{application.pk}/"))
    assert "Score 35 of 100" in page
    assert "BTC is 100.00 % of what counts; HHI 1.00" in page
    assert "3.00 days for BTC at its share of the daily volume" in page


def test_a_market_that_nobody_measured_says_so(desk: Desk) -> None:
    """R-FTR-13, R-GEN-79: a depth of tomorrow is not one of today."""
    depth("BTC", "5000000", instant=TEN + 24 * HOUR)
    desks.submitted(desk)
    [row] = waiting_rows(Application.objects.all(), at=TEN)
    assert row.score.parts[2].words == "unknown: no market depth is published for BTC"


def test_history_counts_what_happened(desk: Desk) -> None:
    """R-FTR-13: a loan drawn and one repaid; a chosen step is no liquidation."""
    loan = desks.drawn(desk)
    with acting(build.BUILDER):
        for cause in ("ltv", "soft"):
            Liquidation.objects.create(
                group=loan.group,
                cause=cause,
                status="done_surplus",
                started_at=TEN,
                debt_value=1,
                collateral_value=1,
                market_value=1,
                snapshot={},
            )
    record = histories_of([desk.owner.pk])[desk.owner.pk].record
    assert (record.loans, record.repaid, record.liquidations, record.owing) == (1, 0, 1, False)


def test_the_queue_can_be_ordered_by_score(desk: Desk) -> None:
    """R-FTR-13: the better score first; else the one that is due first."""
    first = desks.submitted(desk)
    safer = another(desk, "500000", instant=TEN + timedelta(seconds=30))
    later = TEN + timedelta(seconds=40)

    def order(sort: str = "") -> list[Application]:
        return [row.application for row in waiting_rows(Application.objects.all(), at=later, sort=sort)]

    assert order() == [first, safer]
    assert order("score") == [safer, first]
    page = queue(desk, later, query="?sort=score").content.decode()
    assert 'hx-get="/desk/?sort=score"' in page
    assert page.index(str(safer)) < page.index(str(first))


# --- Clock ------------------------------------------------------------------------------------------------


def test_a_request_of_yesterday_is_late(desk: Desk) -> None:
    """R-ADM-08: 24 hours unless said; an hour over is "late by 1 h"."""
    application = desks.submitted(desk)
    assert "24 h 0 min" in text_of(queue(desk))
    seen = text_of(queue(desk, TEN + 25 * HOUR))
    assert "late by 1 h 0 min" in seen
    assert "1 late" in seen
    with at(TEN + 25 * HOUR):
        page = text_of(client_of(desk.manager).get(f"/desk/requests/{application.pk}/"))
    assert "an answer was due 2 Jan 2026, 10:00 UTC" in page


def test_the_hours_promised_are_those_of_the_day_it_came(desk: Desk) -> None:
    """R-ADM-08: 4 hours published for later requests change nothing for this one."""
    early = desks.submitted(desk)
    officer = build.BUILDER
    ratecards.publish_product(code="vip", effective_at=TEN + HOUR, review_hours=4, actor=officer, at=TEN)
    desks.quote(TEN + 2 * HOUR)
    late = another(desk, "500000", instant=TEN + 2 * HOUR)
    clocks = answering.clocks_of([early, late])
    assert clocks[early.pk].due_at == TEN + 24 * HOUR
    assert clocks[late.pk].due_at == TEN + 6 * HOUR
    rows = waiting_rows(Application.objects.all(), at=TEN + 7 * HOUR)
    assert [(row.application, row.is_late) for row in rows] == [(late, True), (early, False)]
    with pytest.raises(ratecards.BadProductTerms):
        ratecards.publish_product(
            code="vip", effective_at=TEN + 9 * HOUR, review_hours=0, actor=officer, at=TEN
        )


def test_the_clock_stands_still_while_an_offer_waits_for_the_client(desk: Desk) -> None:
    """R-ADM-08, R-VIP-11: 5 hours of ours, 10 of theirs, then 19 are left."""
    application = talks.asked(desk)
    desks.quote(TEN + 5 * HOUR)
    talks.move("counter_offer", application, desk, at=TEN + 5 * HOUR, wanted=talks.wanted("0.082"))
    assert answering.clocks_of([application])[application.pk].due_at is None
    assert "stands still" in text_of(queue(desk, TEN + 6 * HOUR))
    talks.move("decline_offer", application, desk, at=TEN + 15 * HOUR)
    assert answering.clocks_of([application])[application.pk].due_at == TEN + 34 * HOUR
    seen = text_of(queue(desk, TEN + 35 * HOUR))
    assert "your move" in seen
    assert "late" in seen


def test_how_long_answers_took_lately(desk: Desk) -> None:
    """R-ADM-08: 2 h and 30 h make 16 h, one of them late; what lapsed on our side was never answered."""
    first, second, third = desks.submitted(desk), another(desk, "500000"), another(desk, "500000")
    for application, hours in ((first, 2), (second, 30)):
        origination.reject(
            application_id=application.pk,
            actor=desk.decider,
            at=TEN + hours * HOUR,
            reason="Too concentrated",
        )
    offers.lapse(application_id=third.pk, actor=Actor.job("test"), at=TEN + 100 * HOUR)
    found = answering.answers(Application.objects.all(), at=TEN + 101 * HOUR)
    assert (found.decided, found.average, found.late, found.lapsed) == (2, 16 * HOUR, 1, 1)
    seen = text_of(queue(desk, TEN + 101 * HOUR))
    assert "2 decided in 16 h 0 min on average, 1 late; 1 lapsed unanswered" in seen
    gone = answering.answers(Application.objects.all(), at=TEN + timedelta(days=40))
    assert (gone.decided, gone.average, gone.lapsed) == (0, None, 0)


def test_what_the_client_took_back_is_no_answer(desk: Desk) -> None:
    """R-ADM-08"""
    application = desks.submitted(desk)
    applications.cancel(application_id=application.pk, actor=desk.borrower, at=TEN + HOUR)
    found = answering.answers(Application.objects.all(), at=TEN + 2 * HOUR)
    assert (found.decided, found.lapsed) == (0, 0)


# --- Next actions -----------------------------------------------------------------------------------------


def task(desk: Desk, text: str = "Ask for the accounts", *, hours: int = 5) -> ClientNote:
    return client_file.note(
        customer_id=desk.owner.pk,
        kind="task",
        text=text,
        due_at=TEN + hours * HOUR,
        actor=desk.decider,
        at=TEN,
    )


def test_next_actions_stand_on_the_queue_until_they_are_done(desk: Desk) -> None:
    """R-FTR-16: overdue ones are marked; the button goes back to the queue."""
    row = task(desk)
    assert "Ask for the accounts" in text_of(queue(desk))
    late = text_of(queue(desk, TEN + 6 * HOUR))
    assert "overdue 1 Jan 2026, 15:00 UTC" in late
    with at(TEN + 6 * HOUR):
        sent: dict[str, Any] = {"key": str(uuid4()), "back": "/desk/"}
        answer = client_of(desk.manager).post(f"/desk/notes/{row.pk}/done/", sent)
    assert answer["Location"] == "/desk/"
    row.refresh_from_db()
    assert row.done_by == desk.manager
    assert "Ask for the accounts" not in text_of(queue(desk, TEN + 7 * HOUR))


def test_a_manager_has_no_actions_about_others_clients(desk: Desk) -> None:
    """R-ADM-01, R-FTR-16"""
    row, other = task(desk), build.user("vip_manager")
    with at(TEN):
        client = client_of(other)
        assert "Ask for the accounts" not in text_of(client.get("/desk/"))
        assert client.post(f"/desk/notes/{row.pk}/done/", {"key": str(uuid4())}).status_code == 404
    row.refresh_from_db()
    assert row.done_at is None


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_ticking_off_never_leads_away(desk: Desk, back: str) -> None:
    """R-FTR-16: TRUST section 7."""
    row = task(desk)
    with at(TEN):
        answer = client_of(desk.manager).post(
            f"/desk/notes/{row.pk}/done/", {"key": str(uuid4()), "back": back}
        )
    assert answer["Location"] == f"/desk/clients/{desk.owner.pk}/file/"


def test_the_queue_asks_no_more_questions_for_more_rows(desk: Desk) -> None:
    """STYLE 15, R-FTR-13"""

    def ask(user: User) -> int:
        with at(TEN), CaptureQueriesContext(connection) as asked:
            assert client_of(user).get("/desk/").status_code == 200
        return len(asked)

    def one_more() -> None:
        another(desk, "500000")
        task(desk)

    one_more()
    few = ask(desk.manager)
    for _ in range(3):
        one_more()
    assert ask(desk.manager) == few
