"""What a program reads of its orders and histories: filters, pages, windows, who sees what, and what it costs."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from loans.models import Loan
from loans.vip import origination, renewal, repayment
from loans.vip.terms import Wish
from risk import accrual
from tests import build
from tests.build import LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans import dialect
from tests.loans.desk import Desk
from tests.loans.dialect import DAY, HOUR, VIP, Clock, ms, read, told
from tests.programs import Program, api_key

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("uncounted")]
MIDNIGHT = TEN.replace(hour=0) + DAY
MS = timedelta(milliseconds=1)


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


@pytest.fixture
def program(desk: Desk, now: Clock) -> Program:
    now(TEN)
    return Program(api_key(desk.master, desk.applicant))


def ids(found: dict[str, Any]) -> list[int]:
    return [row["orderId"] for row in found["rows"]]


# --- Orders -----------------------------------------------------------------------------------------


def test_orders_are_found_by_what_they_are_and_by_what_secures_them(desk: Desk, program: Program) -> None:
    """R-GEN-91: each filter of SAPI 1.1; a filter that nothing meets finds nothing."""
    build.asset("ETH")
    build.ratios("ETH")
    other = build.account(desk.owner)
    receiver = build.account(desk.owner)
    build.deposit(other, "BTC", "25", at=LONG_AGO)
    first = desks.drawn(desk, "500000")
    second = desks.drawn(
        desk, "500000", receiver_uid=receiver.pk, account_uids=(other.pk,), coins=("BTC", "ETH")
    )
    for params, expected in [
        ({}, [second, first]),
        ({"orderId": first.pk}, [first]),
        ({"orderId": 987654321}, []),
        ({"loanCoin": "USDT"}, [second, first]),
        ({"loanCoin": "BTC"}, []),
        ({"collateralAccountId": desk.sub.pk}, [first]),
        ({"collateralAccountId": other.pk}, [second]),
        ({"collateralAccountId": desk.master.pk}, []),  # it receives, it secures nothing
        ({"collateralCoin": "ETH"}, [second]),
        ({"collateralCoin": "ETH,BTC"}, [second, first]),
        ({"collateralCoin": "BTC-Earn"}, []),
        ({"collateralCoin": "ETH", "orderId": first.pk}, []),
    ]:
        found = read(program, "ongoing/orders", **params)
        assert (ids(found), found["total"]) == ([loan.pk for loan in expected], len(expected)), params


def test_pages_are_counted_from_one_and_have_ten_rows(desk: Desk, program: Program) -> None:
    """R-GEN-90, SAPI 1: current 1 to 1000, limit 1 to 100."""
    loans = [desks.drawn(desk, "500000"), *(desks.drawn(desk, "50000") for _ in range(2))]
    newest = [loan.pk for loan in reversed(loans)]
    first, second, third = (read(program, "ongoing/orders", current=n, limit=2) for n in (1, 2, 3))
    assert (ids(first), ids(second), ids(third)) == (newest[:2], newest[2:], [])
    assert first["total"] == second["total"] == third["total"] == 3
    for params in ({"current": 0}, {"current": 1001}, {"limit": 0}, {"limit": 101}):
        assert told(program.get(f"{VIP}/ongoing/orders", **params)) == (400, -1130), params
    assert told(program.get(f"{VIP}/ongoing/orders", size=2)) == (400, -1104)


def test_an_ltv_without_collateral_is_still_a_number(desk: Desk, program: Program) -> None:
    """R-GEN-40: what counts is worth nothing, so LTV is infinite; the dialect writes 999."""
    desks.drawn(desk)
    build.ratios("BTC", ("0", "0"), at=TEN + timedelta(microseconds=1))
    with dialect.clock() as to:
        to(TEN + HOUR)
        [row] = read(program, "ongoing/orders")["rows"]
    assert (row["currentLTV"], row["totalCollateralValueAfterHaircut"]) == ("999", "0")


def test_what_became_of_each_coin_of_a_request(desk: Desk, program: Program) -> None:
    """R-VIP-06, R-VIP-12, R-GEN-92: in review for an open term, rejected, and of a bundle one coin only."""
    waiting = desks.submitted(desk, rate_type="flexible", term_days=None)
    build.asset("USDC")
    desks.loan_limit("USDC")
    desks.card("USDC", "0.08")
    build.fund_pool("USDC")
    desks.quote(TEN, USDC="1")
    rejected = desks.submitted(desk)
    origination.reject(application_id=rejected.pk, actor=desk.decider, at=TEN, reason="Not now.")
    bundle = desks.submitted(desk, wishes=(Wish("USDT", Decimal(500000)), Wish("USDC", Decimal(100000))))
    assert bundle.accepted is not None
    origination.approve(
        application_id=bundle.pk,
        sheet_sha256=bundle.accepted.sha256,
        coins=("USDT",),
        note="No USDC today.",
        actor=desk.decider,
        at=TEN,
    )
    loan = Loan.objects.get()

    found = read(program, "request/data")

    told_of = [
        (row["requestId"], row["loanCoin"], row["status"], row["loanTerm"], row["orderId"])
        for row in found["rows"]
    ]
    assert found["total"] == 4
    assert told_of == [
        (str(bundle.pk), "USDC", "Failed", "30", ""),
        (str(bundle.pk), "USDT", "Accruing_Interest", "30", str(loan.pk)),
        (str(rejected.pk), "USDT", "Failed", "30", ""),
        (str(waiting.pk), "USDT", "Pending", "open term", ""),
    ]


# --- Windows ----------------------------------------------------------------------------------------


def test_both_ends_of_a_window_are_in_it(desk: Desk, program: Program, now: Clock) -> None:
    """R-GEN-90, SAPI 1: a row of the very millisecond, even of the microseconds after it, is found."""
    loan = desks.drawn(desk)
    paid_at = TEN + HOUR + timedelta(microseconds=300)
    repayment.repay(loan_id=loan.pk, amount=Decimal(1000), actor=desk.borrower, at=paid_at)
    now(TEN + DAY)
    at = ms(paid_at)
    for since, until, total in [
        (at, at, 1),
        (at, at + 1, 1),
        (at - 1, at, 1),
        (at + 1, at + 2, 0),
        (at - 2, at - 1, 0),
    ]:
        assert read(program, "repay/history", startTime=since, endTime=until)["total"] == total, (
            since,
            until,
        )

    accrual.accrue(at=MIDNIGHT)
    assert read(program, "accruedInterest", startTime=ms(MIDNIGHT))["total"] == 1
    assert read(program, "accruedInterest", startTime=ms(MIDNIGHT) + 1)["total"] == 0
    assert read(program, "accruedInterest", endTime=ms(MIDNIGHT))["total"] == 1
    assert read(program, "accruedInterest", endTime=ms(MIDNIGHT) - 1)["total"] == 0


def test_a_window_without_ends_is_the_last_ninety_days(desk: Desk, program: Program, now: Clock) -> None:
    """R-GEN-90: without an end until now, without a beginning ninety days."""
    desks.drawn(desk)
    accrual.accrue(at=MIDNIGHT)
    now(MIDNIGHT + 90 * DAY)
    assert read(program, "accruedInterest")["total"] == 1
    now(MIDNIGHT + 90 * DAY + MS)
    assert read(program, "accruedInterest")["total"] == 0
    assert read(program, "accruedInterest", endTime=ms(MIDNIGHT + 90 * DAY))["total"] == 1
    assert read(program, "accruedInterest", startTime=ms(MIDNIGHT + MS))["total"] == 0


@pytest.mark.parametrize(
    ("path", "most", "more"),
    [
        (f"{VIP}/repay/history", 180, {}),
        (f"{VIP}/accruedInterest", 90, {}),
        (f"{VIP}/interestRateHistory", 180, {"coin": "USDT"}),
        ("/sapi/v1/loan/income", 30, {}),
        ("/sapi/v1/loan/borrow/history", 180, {}),
        ("/sapi/v1/loan/repay/history", 180, {}),
        ("/sapi/v1/loan/ltv/adjustment/history", 180, {}),
    ],
)
def test_a_window_has_a_longest_length_and_a_direction(
    path: str, most: int, more: dict[str, str], program: Program
) -> None:
    """R-GEN-90, SAPI 7: -1127 when too long, -1130 when the wrong way round."""
    end = ms(TEN)
    start = ms(TEN - most * DAY)
    assert program.get(path, startTime=start, endTime=end, **more).status_code == 200
    assert told(program.get(path, startTime=start - 1, endTime=end, **more)) == (400, -1127)
    assert told(program.get(path, startTime=start - 1, **more)) == (400, -1127)
    assert told(program.get(path, startTime=end, endTime=end - 1, **more)) == (400, -1130)
    assert told(program.get(path, startTime=end + 1, **more)) == (400, -1130)
    assert told(program.get(path, startTime="yesterday", **more)) == (400, -1100)


# --- Histories --------------------------------------------------------------------------------------


def test_a_repayment_names_the_coins_that_secured_it_then(desk: Desk, program: Program, now: Clock) -> None:
    """R-GEN-92: also when the accounts are free since, and other coins secure the next loan."""
    build.asset("ETH")
    build.ratios("ETH")
    loan = desks.drawn(desk, coins=("BTC", "ETH"))
    build.deposit(desk.master, "USDT", "1000", at=TEN)
    repayment.repay(loan_id=loan.pk, amount=Decimal(1000), actor=desk.borrower, at=TEN + HOUR)
    repayment.repay(loan_id=loan.pk, share=Decimal(1), actor=desk.borrower, at=TEN + 2 * HOUR)
    now(TEN + 3 * HOUR)
    after = desks.drawn(desk, at=TEN + 3 * HOUR)
    repayment.repay(loan_id=after.pk, amount=Decimal(1000), actor=desk.borrower, at=TEN + 3 * HOUR)

    found = read(program, "repay/history")

    assert [(row["collateralCoin"], row["repayStatus"]) for row in found["rows"]] == [
        ("BTC", "Repaying"),
        ("BTC,ETH", "Repaid"),
        ("BTC,ETH", "Repaying"),
    ]
    assert read(program, "repay/history", orderId=after.pk)["total"] == 1
    assert read(program, "repay/history", loanCoin="BTC")["total"] == 0


def test_the_days_of_a_renewed_order_are_found_by_the_order_it_runs_as_now(
    desk: Desk, program: Program, now: Clock
) -> None:
    """R-VIP-42: interest records point to the newest id, and it finds them; the old id finds its own days."""
    loan = desks.drawn(desk)
    accrual.accrue(at=MIDNIGHT + 24 * DAY)
    instant = MIDNIGHT + 24 * DAY + HOUR
    now(instant)
    new = renewal.renew(loan_id=loan.pk, term_days=30, actor=desk.borrower, at=instant)
    accrual.accrue(at=MIDNIGHT + 26 * DAY)
    now(MIDNIGHT + 26 * DAY)
    by_new = read(program, "accruedInterest", orderId=new.pk, limit=100)
    by_old = read(program, "accruedInterest", orderId=loan.pk, limit=100)
    assert (by_new["total"], by_old["total"]) == (27, 25)
    assert {row["orderId"] for row in [*by_new["rows"], *by_old["rows"]]} == {new.pk}


# --- Who sees what ----------------------------------------------------------------------------------


def test_who_reads_sees_their_own_only(desk: Desk, program: Program) -> None:
    """R-GEN-95: the borrower all bound accounts, a collateral account itself, another customer nothing."""
    second = build.account(desk.owner)
    build.deposit(second, "BTC", "1", at=LONG_AGO)
    loan = desks.drawn(desk, account_uids=(desk.sub.pk, second.pk))
    bound = [
        {"collateralAccountId": str(uid), "collateralCoin": "BTC"} for uid in sorted((desk.sub.pk, second.pk))
    ]
    assert read(program, "collateral/account") == {"rows": bound, "total": 2}
    assert read(program, "collateral/account", orderId=loan.pk) == {"rows": bound, "total": 2}
    assert read(program, "collateral/account", orderId=987654321) == {"rows": [], "total": 0}
    assert read(program, "collateral/account", collateralAccountId=second.pk)["rows"] == [bound[1]]
    assert read(program, "collateral/account", collateralAccountId=desk.master.pk)["rows"] == []

    of_sub = Program(api_key(desk.sub, desk.applicant, "can_read"))
    own = {"collateralAccountId": str(desk.sub.pk), "collateralCoin": "BTC"}
    assert read(of_sub, "collateral/account") == {"rows": [own], "total": 1}
    assert read(of_sub, "collateral/account", collateralAccountId=second.pk)["rows"] == []
    assert read(of_sub, "collateral/account", orderId=loan.pk)["rows"] == []
    for what in ("ongoing/orders", "repay/history", "accruedInterest", "request/data"):
        assert read(of_sub, what) == {"rows": [], "total": 0}, what

    member = build.user()
    stranger = Program(api_key(build.master(build.customer(member=member)), member))
    for what in ("ongoing/orders", "repay/history", "accruedInterest", "request/data", "collateral/account"):
        assert read(stranger, what) == {"rows": [], "total": 0}, what
    for params in ({"orderId": loan.pk}, {"collateralAccountId": desk.sub.pk}):
        assert read(stranger, "ongoing/orders", **params) == {"rows": [], "total": 0}


def test_a_receiving_sub_account_reads_its_own_orders(desk: Desk, program: Program) -> None:
    """R-GEN-95, R-VIP-03"""
    receiver = build.account(desk.owner)
    loan = desks.drawn(desk, receiver_uid=receiver.pk)
    of_receiver = Program(api_key(receiver, desk.applicant, "can_read"))
    assert ids(read(of_receiver, "ongoing/orders")) == [loan.pk]
    assert read(of_receiver, "collateral/account")["total"] == 1


def test_a_key_that_may_not_read_reads_nothing(desk: Desk, program: Program) -> None:
    """SAPI 7: -2015 for the permission too."""
    blind = Program(api_key(desk.master, desk.applicant, "can_borrow"))
    assert told(blind.get(f"{VIP}/ongoing/orders")) == (401, -2015)


# --- What it costs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "what", ["ongoing/orders", "repay/history", "accruedInterest", "request/data", "collateral/account"]
)
def test_a_list_costs_as_many_queries_with_ten_loans_as_with_one(
    what: str, desk: Desk, program: Program, now: Clock
) -> None:
    """R-GEN-90: constant, whatever the number of rows."""

    def live(count: int, amount: str) -> None:
        for _ in range(count):
            loan = desks.drawn(desk, amount, at=TEN)
            repayment.repay(loan_id=loan.pk, amount=Decimal(1000), actor=desk.borrower, at=TEN)

    def cost() -> int:
        read(program, "request/data")  # the minute's note that the key was used
        with CaptureQueriesContext(connection) as seen:
            assert read(program, what, **({"limit": 100} if what != "collateral/account" else {}))["rows"]
        return len(seen)

    live(1, "500000")
    accrual.accrue(at=MIDNIGHT)
    now(MIDNIGHT + HOUR)
    one = cost()
    now(TEN)
    live(9, "50000")
    accrual.accrue(at=MIDNIGHT)
    now(MIDNIGHT + HOUR)
    assert (cost(), Loan.objects.count()) == (one, 10)


# --- Stable rate ------------------------------------------------------------------------------------


def test_the_retired_stable_rate_histories_are_empty_and_read_their_parameters(program: Program) -> None:
    """SAPI 2.2: lists of nothing, in each one's own form; a type that is none is refused."""
    known = {"orderId": 1, "loanCoin": "USDT", "collateralCoin": "BNB", "current": 1, "limit": 100}
    for what in ("borrow/history", "repay/history", "ltv/adjustment/history"):
        answer = program.get(f"/sapi/v1/loan/{what}", **known)
        assert (answer.status_code, answer.json()) == (200, {"rows": [], "total": 0}), what
    income = program.get("/sapi/v1/loan/income", asset="USDT", type="repayAmount", limit=100)
    assert (income.status_code, income.json()) == (200, [])
    assert told(program.get("/sapi/v1/loan/income", type="interest")) == (400, -1130)


def test_ids_and_coins_that_are_none_are_refused(program: Program) -> None:
    """TRUST B-05, B-07"""
    for params in (
        {"orderId": "L-0001"},
        {"orderId": "-1"},
        {"loanCoin": "usdt"},
        {"collateralCoin": "BTC;"},
    ):
        assert told(program.get(f"{VIP}/ongoing/orders", **params)) == (400, -1100), params
    for params in ({"orderId": 0}, {"orderId": 2**53}):
        assert told(program.get(f"{VIP}/ongoing/orders", **params)) == (400, -1130), params
