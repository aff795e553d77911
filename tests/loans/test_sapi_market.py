"""The fixed-rate market in the dialect: exact shapes, what is refused with which code, and for whom (R-VIP-26)."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts.commands import acting
from loans import supply
from loans.models import Loan, SupplyOrder, SupplyTake
from loans.vip import at_expiry
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans import supplies, visit
from tests.loans.desk import Desk, everything
from tests.loans.supplies import entered, of, taken
from tests.programs import Program, api_key

pytestmark = pytest.mark.django_db
MARKET, BORROW = "/sapi/v1/loan/vip/fixed/market", "/sapi/v1/loan/vip/fixed/borrow"


@pytest.fixture(autouse=True)
def _at_ten() -> Iterator[None]:
    with visit.at(TEN):
        yield


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


@pytest.fixture
def program(desk: Desk) -> Program:
    return Program(api_key(desk.master, desk.applicant))


def wanted(desk: Desk, *orders: tuple[SupplyOrder, str], **changes: Any) -> dict[str, Any]:
    told = ";".join(f"{order.pk}:{order.annual_rate.normalize():f}:{amount}" for order, amount in orders)
    return {
        "supplyRequest": told,
        "borrowCoin": "USDT",
        "loanTerm": 30,
        "borrowUid": desk.master.pk,
        "collateralCoin": "BTC",
        "collateralAccountId": str(desk.sub.pk),
    } | changes


def untouched() -> dict[str, Any]:
    return everything() | {"takes": SupplyTake.objects.count()}


# --- GET fixed/market -----------------------------------------------------------------------------------------


def test_an_offer_has_exactly_the_specified_shape(program: Program) -> None:
    """R-VIP-26, R-GEN-90: SAPI 1.10"""
    order = entered("0.05", "1000000", minimum="100")

    answer = program.get(MARKET, loanCoin="USDT")

    assert answer.status_code == 200
    assert answer.json() == {
        "total": 1,
        "rows": [
            {
                "requestId": order.pk,
                "requestNo": order.pk,
                "coin": "USDT",
                "interestRate": "0.05",
                "duration": 30,
                "minimumAmount": "100",
                "availableAmount": "1000000",
                "estimatedInterest": "4109.59",
            }
        ],
    }


def test_only_what_is_open_now_is_shown_by_term_and_page(desk: Desk) -> None:
    """R-VIP-26: cheapest first, `size` to a page, the total over all pages."""
    orders = [entered(rate) for rate in ("0.07", "0.05", "0.06")]
    entered(days=60)
    entered(ends_at=TEN)
    supply.close(order_id=entered().pk, actor=BUILDER, at=TEN)
    entered(at=TEN + timedelta(seconds=1))

    def market(**sent: Any) -> Any:  # a program has two of these a minute
        return Program(api_key(desk.master, desk.applicant)).get(MARKET, **sent).json()

    first, second = (market(loanCoin="USDT", duration=30, size=2, current=page) for page in (1, 2))

    assert (first["total"], second["total"]) == (3, 3)
    shown = [row["requestId"] for row in (*first["rows"], *second["rows"])]
    assert shown == [orders[1].pk, orders[2].pk, orders[0].pk]
    assert market(loanCoin="USDT")["total"] == 4
    assert market(loanCoin="USDT", current=1000000) == {"rows": [], "total": 4}
    assert market(loanCoin="NONE") == {"rows": [], "total": 0}


def test_what_others_took_and_what_the_pool_lacks_is_not_available(desk: Desk, program: Program) -> None:
    """R-VIP-26, R-GEN-38: min of what is left and what the pool holds; a rest below the minimum may be taken whole."""
    nearly, huge = entered("0.05", "600500"), entered("0.06", "5000000000")
    taken(desk, of(nearly, "600000"))

    small, large = program.get(MARKET, loanCoin="USDT").json()["rows"]

    assert (small["requestId"], small["minimumAmount"], small["availableAmount"]) == (nearly.pk, "500", "500")
    assert (large["requestId"], large["availableAmount"]) == (huge.pk, "999400000")


def test_an_empty_pool_offers_nothing(desk: Desk, program: Program) -> None:
    """R-VIP-26, R-GEN-38"""
    build.asset("USDC")
    entered(asset="USDC")

    assert program.get(MARKET, loanCoin="USDC").json() == {"rows": [], "total": 0}


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({}, -1102),
        ({"loanCoin": ""}, -1102),
        ({"loanCoin": "usdt"}, -1100),
        ({"loanCoin": "USDT", "duration": 0}, -1130),
        ({"loanCoin": "USDT", "duration": "x"}, -1100),
        ({"loanCoin": "USDT", "current": 0}, -1130),
        ({"loanCoin": "USDT", "size": 101}, -1130),
        ({"loanCoin": "USDT", "limit": 10}, -1104),
    ],
)
def test_bad_questions_have_the_dialects_codes(program: Program, sent: dict[str, Any], code: int) -> None:
    """R-VIP-26, TRUST B-08"""
    answer = program.get(MARKET, **sent)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_the_cost_is_the_same_however_many_offers(
    desk: Desk, program: Program, django_assert_max_num_queries: Any
) -> None:
    """R-VIP-26"""
    for _ in range(20):
        entered()
    program.get(MARKET, loanCoin="USDT")
    with django_assert_max_num_queries(8):
        assert len(program.get(MARKET, loanCoin="USDT", size=20).json()["rows"]) == 20


# --- POST fixed/borrow ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_body", [False, True])
def test_taking_of_two_offers_has_exactly_the_specified_shape(desk: Desk, *, in_body: bool) -> None:
    """R-VIP-26: SAPI 1.12. 250,000 at 5 % and 750,000 at 7 % are 1,000,000 at 6.5 %."""
    low, high = entered("0.05", "250000"), entered("0.07", "1000000")
    program = Program(api_key(desk.master, desk.applicant), in_body=in_body)

    answer = program.post(BORROW, **wanted(desk, (low, "250000.0"), (high, "7.5e5")))

    assert answer.status_code == 200, answer.json()
    loan = Loan.objects.get()
    assert answer.json() == {
        "borrowCoin": "USDT",
        "borrowAmount": "1000000",
        "actualReceivedAmount": "1000000",
        "collateralCoin": "BTC",
        "collateralAccountId": str(desk.sub.pk),
        "borrowInterestRate": "0.065",
        "duration": "30Days",
        "autoRepay": True,
        "orderId": loan.pk,
        "status": "Succeeds",
    }
    assert build.balance(desk.master, "USDT") == 1000000
    assert [supplies.left(order) for order in (low, high)] == [0, 250000]


def test_auto_repay_false_goes_on_at_its_expiry(desk: Desk, program: Program) -> None:
    """R-VIP-26: in any case, as clients write it; not sent it is true."""
    order = entered()

    answer = program.post(BORROW, **wanted(desk, (order, "600000"), autoRepay="False"))

    assert answer.json()["autoRepay"] is False
    assert at_expiry.converts(Loan.objects.get())


def test_it_can_be_paid_into_a_real_sub_account(desk: Desk, program: Program) -> None:
    """R-VIP-26, R-VIP-03: borrowUid is any account of the customer that may receive."""
    order, other = entered(), build.account(desk.owner)

    assert program.post(BORROW, **wanted(desk, (order, "600000"), borrowUid=other.pk)).status_code == 200
    assert build.balance(other, "USDT") == 600000


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"supplyRequest": "{order}:0.05:999"}, -10029),
        ({"supplyRequest": "{order}:0.05:1000001"}, -10030),
        ({"supplyRequest": "{order}:0.0499:600000"}, -10028),
        ({"supplyRequest": "{order}:0.05:600000;{order}:0.05:1000"}, -10028),
        ({"supplyRequest": "9007199254740991:0.05:600000"}, -10021),
        ({"supplyRequest": "{order}:0.05"}, -10026),
        ({"supplyRequest": "{order}:0.05:NaN"}, -10026),
        ({"supplyRequest": "{order}:0.05:-600000"}, -10026),
        ({"supplyRequest": "{order}:0.05:600000;"}, -10026),
        ({"supplyRequest": ""}, -1102),
        ({"supplyRequest": None}, -1102),
        ({"supplyRequest": "{order}:0.05:400000"}, -10029),  # R-VIP-07
        ({"loanTerm": 60}, -10021),
        ({"loanTerm": 0}, -1130),
        ({"borrowCoin": "BTC"}, -10021),
        ({"borrowCoin": "NONE"}, -10021),
        ({"borrowUid": 1}, -10020),
        ({"collateralAccountId": "1"}, -10020),
        ({"collateralCoin": "BTC,BTC-Earn"}, -10213),
        ({"collateralCoin": "USDT"}, -10013),
        ({"autoRepay": "maybe"}, -1100),
        ({"limit": "1"}, -1104),
    ],
)
def test_what_is_refused_moves_nothing_and_has_its_code(
    desk: Desk, program: Program, changes: dict[str, Any], code: int
) -> None:
    """R-VIP-26, R-VIP-03, R-VIP-07"""
    order = entered()
    sent = wanted(desk, (order, "600000")) | changes
    sent = {
        name: value.replace("{order}", str(order.pk)) if isinstance(value, str) else value
        for name, value in sent.items()
        if value is not None
    }
    before = untouched()

    answer = program.post(BORROW, **sent)

    assert (answer.status_code, answer.json()["code"]) == (400, code), answer.json()
    assert untouched() == before


def test_accounts_of_others_answer_as_those_that_do_not_exist(desk: Desk, program: Program) -> None:
    """R-VIP-26, R-GEN-95"""
    order, stranger = entered(), build.account(build.customer())
    before = untouched()

    for name in ("borrowUid", "collateralAccountId"):
        theirs, nobodys = (
            program.post(BORROW, **wanted(desk, (order, "600000"), **{name: uid})).json()
            for uid in (stranger.pk, stranger.pk + 10**6)
        )
        assert theirs["code"] == nobodys["code"]
        assert theirs["msg"].replace(str(stranger.pk), "") == nobodys["msg"].replace(
            str(stranger.pk + 10**6), ""
        )
    assert untouched() == before


def test_a_key_that_may_not_borrow_and_a_sub_accounts_key_take_nothing(desk: Desk) -> None:
    """R-VIP-26, R-VIP-02"""
    order = entered()
    looking = Program(api_key(desk.master, desk.applicant, "can_read"))
    sub = Program(api_key(desk.sub, desk.applicant))
    before = untouched()

    for program in (looking, sub):
        answer = program.post(BORROW, **wanted(desk, (order, "600000")))
        assert (answer.status_code, answer.json()["code"]) == (401, -2015)
        assert program.get(MARKET, loanCoin="USDT").status_code == 200
    assert untouched() == before


def test_one_signature_takes_once(desk: Desk, program: Program) -> None:
    """R-VIP-26, TRUST I-26"""
    order = entered()
    payload = "&".join(
        f"{name}={value}".replace(":", "%3A").replace(",", "%2C").replace(";", "%3B")
        for name, value in (
            wanted(desk, (order, "600000")) | {"timestamp": int(TEN.timestamp() * 1000)}
        ).items()
    )
    signed = f"{payload}&signature={program.sign(payload)}"

    first, again = (program.raw("POST", BORROW, signed) for _ in "ab")

    assert (first.status_code, again.status_code) == (200, 400)
    assert again.json()["code"] == -1022
    assert supplies.left(order) == 400000


def test_someone_without_a_vip_level_is_told_so(desk: Desk, program: Program) -> None:
    """R-VIP-26, R-VIP-01"""
    order = entered()
    with acting(BUILDER):
        desk.owner.vip_level = 0
        desk.owner.save(update_fields=["vip_level"])
    before = untouched()

    answer = program.post(BORROW, **wanted(desk, (order, "600000")))

    assert answer.status_code == 400
    assert "has no VIP level" in answer.json()["msg"]
    assert untouched() == before
    assert Decimal(supplies.left(order)) == 1000000
