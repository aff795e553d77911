"""The history and statement pages: every list as page and as CSV, filters, who sees what (R-GEN-90…95)."""

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import exports
from accounts.commands import acting
from accounts.models import Account, Export, Membership, User
from loans import statements
from loans.models import Loan, Statement
from loans.pages.history_tabs import TABS
from loans.vip import repayment
from risk import accrual, gate
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk
from tests.loans.visit import at, client_of, later

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
NOW = TEN + 3 * DAY
SLUGS = [tab.slug for tab in TABS]
KEY = "4f1c7e1c-6b0e-4b44-8e1c-7f0f6e1f5a10"
DAILY = "230.13698631"  # EX-01


@pytest.fixture
def desk(db: None) -> Desk:
    """A loan of three days, some of it repaid, five BTC more."""
    made = desks.set_up()
    loan = desks.drawn(made)
    accrual.accrue(at=NOW)
    desks.quote(NOW)
    repayment.repay(loan_id=loan.pk, amount=Decimal(1000), actor=made.borrower, at=NOW)
    gate.deposit(account_uid=made.sub.pk, asset="BTC", amount=Decimal(5), actor=BUILDER, at=NOW)
    return made


def first_loan() -> Loan:
    found = Loan.objects.first()
    assert found is not None
    return found


def limited(desk: Desk, account: Account) -> User:
    user = build.user()
    with acting(BUILDER):
        Membership.objects.create(customer=desk.owner, user=user, account=account, since=LONG_AGO)
    return user


def text_of(client: Client, address: str, status: int = 200) -> str:
    response = client.get(address)
    assert response.status_code == status, response.content[:2000]
    return response.content.decode()


def rows_of(client: Client, address: str) -> list[dict[str, str]]:
    response = client.get(address)
    assert response.status_code == 200
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    body = b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]
    return list(csv.DictReader(io.StringIO(body)))


@pytest.mark.parametrize("slug", SLUGS)
def test_every_list_is_a_page_and_a_file(desk: Desk, slug: str) -> None:
    """R-GEN-90: for the borrower and, of a client, for the manager; others do not find it."""
    with at(NOW):
        for user, place in (
            (desk.applicant, "/history"),
            (desk.manager, f"/desk/clients/{desk.owner.pk}/history"),
        ):
            client = client_of(user)
            assert "<h1>History</h1>" in text_of(client, f"{place}/{slug}/")
            rows_of(client, f"{place}/{slug}/rows.csv")
        stranger, other = client_of(build.user()), client_of(build.user("vip_manager"))
        text_of(stranger, f"/history/{slug}/", 404)
        text_of(stranger, f"/desk/clients/{desk.owner.pk}/history/{slug}/", 404)
        text_of(client_of(desk.applicant), f"/desk/clients/{desk.owner.pk}/history/{slug}/", 404)
        text_of(other, f"/desk/clients/{desk.owner.pk}/history/{slug}/rows.csv", 404)
        assert "History" in text_of(
            client_of(build.user("auditor")), f"/desk/clients/{desk.owner.pk}/history/{slug}/"
        )
        assert Client().get(f"/history/{slug}/").status_code == 302


def test_the_rows_say_what_the_books_say(desk: Desk) -> None:
    """R-GEN-90, R-GEN-91, R-GEN-92, R-GEN-93: page and file of the same rows; figures in the file are plain."""
    loan = first_loan()
    with at(NOW):
        client = client_of(desk.applicant)
        [order] = rows_of(client, "/history/ongoing/rows.csv")
        interest = rows_of(client, "/history/interest/rows.csv")
        [paid] = rows_of(client, "/history/repayments/rows.csv")
        adjusted = rows_of(client, "/history/adjustments/rows.csv")
        page = text_of(client, "/history/interest/")

    assert (order["loan"], order["status"], order["annual_rate"]) == (
        str(loan),
        "Accruing_Interest",
        "0.084000000000",
    )
    assert order["collateral_accounts"] == str(desk.sub.pk)
    assert [row["interest"] for row in interest] == [DAILY] * 3
    assert interest[0]["formula"] == "1000000 x 0.084 / 365, rounded up"
    assert interest[0]["at_utc"] == "2026-01-04 00:00:00"
    assert (paid["status"], paid["total"], paid["interest"]) == ("Repaying", "1000.00000000", "690.41095893")
    assert [row["direction"] for row in adjusted] == ["ADDITIONAL", "ADDITIONAL"]
    assert "230.13" in page
    assert f'href="/loans/{loan.pk}/"' in page
    assert "/ledger/entries/" not in page


def test_the_house_gets_to_the_journal_entry(desk: Desk) -> None:
    with at(NOW):
        page = text_of(client_of(desk.manager), f"/desk/clients/{desk.owner.pk}/history/interest/")
    assert "/ledger/entries/" in page


def test_filters_narrow_down_and_are_kept(desk: Desk) -> None:
    """R-GEN-90: coin, account, loan, days."""
    loan = first_loan()
    place = "/history/interest/rows.csv"
    with at(NOW):
        client = client_of(desk.applicant)
        assert len(rows_of(client, f"{place}?loan={loan}&coin=USDT&account={desk.master.pk}")) == 3
        assert rows_of(client, f"{place}?coin=BTC") == []
        assert rows_of(client, f"{place}?account={desk.sub.pk}") == []
        assert (
            len(rows_of(client, f"{place}?since=2026-01-02&until=2026-01-02")) == 1
        )  # the charge of that day
        assert "?since=2026-01-01&amp;until=2026-01-04" in text_of(
            client, "/history/interest/?since=2026-01-01&until=2026-01-04"
        )


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("since=2026-01-04&until=2026-01-01", "swap them"),
        ("since=2025-01-01&until=2026-01-01", "at most 180 days"),
        ("since=1066-10-14&until=1066-10-15", "from 2000 to 2100"),
        ("since=yesterday", "valid date"),
        ("loan=all", "such as L-0042"),
        ("coin=DOGE", "Select a valid choice"),
        ("account=1", "Select a valid choice"),
    ],
)
def test_a_bad_filter_says_why(desk: Desk, query: str, said: str) -> None:
    """R-GEN-90: 422 with the reason; the file 400."""
    with at(NOW):
        client = client_of(desk.applicant)
        page = text_of(client, f"/history/repayments/?{query}", 422)
        assert said in page
        response = client.get(f"/history/repayments/rows.csv?{query}")
    assert response.status_code == 400
    assert said in response.content.decode()


def test_interest_is_asked_for_ninety_days_at_a_time(desk: Desk) -> None:
    """R-GEN-90"""
    with at(NOW):
        page = text_of(client_of(desk.applicant), "/history/interest/?since=2025-10-01&until=2026-01-04", 422)
    assert "at most 90 days" in page


def test_long_lists_have_pages(desk: Desk) -> None:
    """R-GEN-90: 25 a page, the filters kept; a page that is not there is empty."""
    accrual.accrue(at=TEN + 29 * DAY)
    with later(desk.applicant, TEN + 29 * DAY) as client:
        first = text_of(client, "/history/interest/?coin=USDT")
        last = text_of(client, "/history/interest/?coin=USDT&page=2")
        beyond = text_of(client, "/history/interest/?coin=USDT&page=9")
    assert "Page 1 of 2" in first
    assert "?coin=USDT&amp;page=2" in first
    assert last.count('<tr role="row"') == 1 + 4
    assert "Nothing was charged" in beyond


def test_a_page_costs_the_same_however_long(desk: Desk) -> None:
    """R-GEN-90, TRUST: a constant number of queries."""

    def cost(slug: str, moment: datetime) -> int:
        with later(desk.applicant, moment) as client:
            client.get("/history/ongoing/")
            with CaptureQueriesContext(connection) as captured:
                assert client.get(f"/history/{slug}/").status_code == 200
        return len(captured)

    short = [cost(slug, NOW) for slug in SLUGS]
    for number in range(1, 4):
        moment = NOW + timedelta(minutes=number)
        desks.quote(moment)
        desks.drawn(desk, "50000", at=moment)
        gate.deposit(account_uid=desk.sub.pk, asset="BTC", amount=Decimal(1), actor=BUILDER, at=moment)
        repayment.repay(loan_id=first_loan().pk, amount=Decimal(100), actor=desk.borrower, at=moment)
    accrual.accrue(at=NOW + 5 * DAY)
    desks.quote(NOW + 5 * DAY)

    assert [cost(slug, NOW + 5 * DAY) for slug in SLUGS] == short


def test_a_member_for_one_account_sees_its_own_part(desk: Desk) -> None:
    """R-GEN-95: the receiver's member the loans and LTV, the collateral account's its coins only."""
    receiver, pledged = limited(desk, desk.master), limited(desk, desk.sub)
    with at(NOW):
        [order] = rows_of(client_of(receiver), "/history/ongoing/rows.csv")
        assert Decimal(order["ltv"]) > 0
        client = client_of(pledged)
        assert rows_of(client, "/history/ongoing/rows.csv") == []
        assert rows_of(client, "/history/interest/rows.csv") == []
        [moved] = rows_of(client, "/history/adjustments/rows.csv")
        assert (moved["amount"], moved["ltv_before"], moved["ltv_after"]) == ("5.00000000", "", "")
        [held] = rows_of(client, "/history/collateral/rows.csv")
        assert (held["ltv"], held["collateral_value_usd"]) == ("", "")
        assert "0.6" not in held["coins"]
        text_of(client, "/statements/", 404)


# --- Statements ---------------------------------------------------------------------------------------


@pytest.fixture
def issued(desk: Desk) -> Statement:
    from loans.vip import expiry

    moment = datetime(2026, 2, 1, 3, tzinfo=UTC)
    expiry.expire_due(at=moment)
    accrual.accrue(at=moment)
    assert statements.issue_due(at=moment) == 1
    return Statement.objects.get()


FEBRUARY = datetime(2026, 2, 3, tzinfo=UTC)


def test_statements_are_listed_given_out_and_proved(desk: Desk, issued: Statement) -> None:
    """R-GEN-94: PDF and CSV as issued; the proof says so; others find nothing."""
    with later(desk.applicant, FEBRUARY) as client:
        page = text_of(client, "/statements/")
        paper = client.get(f"/statements/{issued.pk}/pdf/")
        rows = client.get(f"/statements/{issued.pk}/rows.csv")
        proved = client.post(f"/statements/{issued.pk}/verify/", follow=True).content.decode()
    assert "January 2026" in page
    assert (paper["Content-Type"], paper.content) == ("application/pdf", bytes(issued.pdf))
    assert issued.sha256 in rows.content.decode()
    assert f"The ledger says the same of January 2026 today: {issued.sha256}" in proved
    for user in (build.user(), build.user("vip_manager"), limited(desk, desk.master)):
        with later(user, FEBRUARY) as client:
            assert client.get(f"/statements/{issued.pk}/pdf/").status_code == 404
            assert client.get(f"/statements/{issued.pk}/rows.csv").status_code == 404
            assert client.post(f"/statements/{issued.pk}/verify/").status_code == 404
    with later(desk.manager, FEBRUARY) as client:
        assert "January 2026" in text_of(client, f"/desk/clients/{desk.owner.pk}/statements/")
        assert client.get(f"/statements/{issued.pk}/pdf/").status_code == 200
        assert client.post(f"/statements/{issued.pk}/verify/", follow=True).status_code == 200


@pytest.mark.parametrize(("kind", "start"), [("pdf", b"%PDF"), ("csv", b"section,at_utc")])
def test_any_month_is_made_by_a_job_with_progress(
    desk: Desk, issued: Statement, kind: str, start: bytes
) -> None:
    """R-GEN-94, R-FTR-08"""
    with later(desk.applicant, FEBRUARY) as client:
        answer = client.post(
            "/statements/ask/",
            {"month": "2026-01", "kind": kind, "key": KEY},
        )
        row = Export.objects.get()
        assert (answer.status_code, answer["Location"]) == (302, f"/exports/{row.pk}/")
        assert exports.run_due(at=FEBRUARY) == 1
    row.refresh_from_db()
    assert (row.status, row.customer) == (Export.Status.DONE, desk.owner)
    assert bytes(row.content or b"").startswith(start)


def test_a_month_that_cannot_be_stated_says_why(desk: Desk) -> None:
    """R-GEN-94: 422 and no export."""
    with later(desk.applicant, datetime(2026, 2, 1, tzinfo=UTC)) as client:
        page = client.post(
            "/statements/ask/",
            {"month": "2026-01", "kind": "pdf", "key": KEY},
        )
        missing = client.post("/statements/ask/", {"month": "2026-02", "kind": "pdf", "key": ""})
    assert page.status_code == missing.status_code == 422
    assert "not booked yet" in page.content.decode()
    assert not Export.objects.exists()
