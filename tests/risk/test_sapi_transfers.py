"""The dialect's transfers: exact amounts, by the gate, out of what the key reaches only; and their lists."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.commands import acting
from accounts.models import IdempotencyKey, Membership
from risk.models import Movement
from risk.sapi.transfers import _ELSEWHERE
from tests import build
from tests.build import BUILDER, NOON
from tests.loans import visit
from tests.programs import Program, api_key
from tests.risk import movements
from tests.risk.programs import Firm, nothing_moves
from tests.shapes import refused, told

pytestmark = pytest.mark.django_db
D = Decimal
ASSET = "/sapi/v1/asset/transfer"
UNIVERSAL = "/sapi/v1/sub-account/universalTransfer"
TO_MASTER = "/sapi/v1/sub-account/transfer/subToMaster"
TO_SUB = "/sapi/v1/sub-account/transfer/subToSub"
SPOT = {"fromAccountType": "SPOT", "toAccountType": "SPOT", "asset": "BTC"}
DAY = timedelta(days=1)


@pytest.fixture
def firm() -> Firm:
    return Firm()


def ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def give(firm: Firm, amount: str = "1", **more: Any) -> Any:
    asked = SPOT | {"toEmail": firm.sub.email, "amount": amount} | more
    return told(firm.program.post(UNIVERSAL, **asked), f"POST {UNIVERSAL}")


# --- Between wallets of one account -------------------------------------------------------------------


def test_coins_go_to_funding_and_back(firm: Firm) -> None:
    """R-GEN-05"""
    out = told(firm.program.post(ASSET, type="MAIN_FUNDING", asset="BTC", amount="1.5"), f"POST {ASSET}")
    assert (firm.btc()[0], build.balance(firm.master, "BTC", wallet="funding")) == (D("0.5"), D("1.5"))
    told(firm.program.post(ASSET, type="FUNDING_MAIN", asset="BTC", amount="1e-8"), f"POST {ASSET}")
    assert build.balance(firm.master, "BTC", wallet="funding") == D("1.49999999")
    row = Movement.objects.get(pk=out["tranId"])
    assert (row.kind, row.amount, row.source, row.target) == ("transfer", D("1.5"), firm.master, firm.master)


@pytest.mark.parametrize("kind", _ELSEWHERE)
def test_wallets_that_are_not_here_have_the_exchanges_answer(firm: Firm, kind: str) -> None:
    with nothing_moves():
        answer = firm.program.post(ASSET, type=kind, asset="BTC", amount="1")
        code = -5011 if "FUTURE" in kind else -3003 if "MARGIN" in kind else -5010
        assert refused(answer) == (400, code)
        assert told(firm.program.get(ASSET, type=kind), f"GET {ASSET}") == {"total": 0, "rows": []}


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"amount": "2.00000001"}, -5002),
        ({"amount": "0"}, -1100),
        ({"amount": "-1"}, -1100),
        ({"amount": "1.000000001"}, -1111),
        ({"amount": "NaN"}, -1100),
        ({"asset": "DOGE"}, -5003),
        ({"asset": "btc"}, -1100),
        ({"type": "MAIN_MOON"}, -1130),
        ({"type": ""}, -1102),
        ({"fromSymbol": "BTCUSDT"}, -1106),
        ({"extra": "1"}, -1104),
    ],
)
def test_what_makes_no_sense_moves_nothing(firm: Firm, asked: dict[str, str], code: int) -> None:
    """R-GEN-05, TRUST B-01 to B-06"""
    with nothing_moves():
        answer = firm.program.post(ASSET, **({"type": "MAIN_FUNDING", "asset": "BTC", "amount": "1"} | asked))
        assert refused(answer) == (400, code)


def test_a_coin_has_its_own_decimals(firm: Firm) -> None:
    """R-GEN-01"""
    build.asset("EUR", places=2, kind="fiat")
    build.deposit(firm.master, "EUR", "10")
    with nothing_moves():
        answer = firm.program.post(ASSET, type="MAIN_FUNDING", asset="EUR", amount="1.001")
        assert refused(answer) == (400, -1111)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(units=st.integers(min_value=1, max_value=300_000_000))
def test_what_leaves_one_wallet_arrives_in_the_other(firm: Firm, units: int) -> None:
    """R-GEN-05: to the last unit, or nothing at all."""
    amount = D(units).scaleb(-8)
    before = firm.btc()[0], build.balance(firm.master, "BTC", wallet="funding")
    answer = firm.program.post(ASSET, type="MAIN_FUNDING", asset="BTC", amount=f"{amount:f}")
    after = firm.btc()[0], build.balance(firm.master, "BTC", wallet="funding")
    if amount <= before[0]:
        assert answer.status_code == 200
        assert after == (before[0] - amount, before[1] + amount)
    else:
        assert refused(answer) == (400, -5002)
        assert after == before


# --- Between accounts ---------------------------------------------------------------------------------


def test_a_masters_key_moves_between_all_its_accounts(firm: Firm) -> None:
    """R-GEN-95: from and to the master without an address, and between two others."""
    give(firm, "0.5")
    assert firm.btc() == (D("1.5"), D("5.5"), D(0))
    between = {"fromEmail": firm.sub.email, "toEmail": firm.sibling.email}
    give(firm, "5.25", **between)
    assert firm.btc() == (D("1.5"), D("0.25"), D("5.25"))
    asked = SPOT | {"fromEmail": firm.sibling.email, "amount": "0.00000001"}
    told(firm.program.post(UNIVERSAL, **asked), f"POST {UNIVERSAL}")
    assert firm.btc() == (D("1.50000001"), D("0.25"), D("5.24999999"))


def test_a_clients_own_id_has_one_effect(firm: Firm) -> None:
    """R-GEN-06: the same again gets the first outcome; the same id for something else is refused."""
    first = give(firm, clientTranId="abc-1")
    assert first["clientTranId"] == "abc-1"
    with nothing_moves():
        assert give(firm, clientTranId="abc-1") == first
        asked = SPOT | {"toEmail": firm.sub.email, "amount": "0.5", "clientTranId": "abc-1"}
        assert refused(firm.program.post(UNIVERSAL, **asked)) == (400, -1130)
    assert firm.btc() == (D(1), D(6), D(0))
    assert give(firm, "0.5")["clientTranId"] == ""
    assert IdempotencyKey.objects.filter(command="gate.transfer").count() == 1


def test_an_id_is_not_served_again_with_a_colleagues_key(firm: Firm) -> None:
    """R-GEN-06: whose program did it may have left the firm since; who asks by the id is told that it was done."""
    colleague = build.colleague(firm.owner, "treasurer")
    first = Program(api_key(firm.master, colleague))
    asked = SPOT | {"toEmail": firm.sub.email, "amount": "0.5", "clientTranId": "abc-1"}
    done = told(first.post(UNIVERSAL, **asked), f"POST {UNIVERSAL}")
    with acting(BUILDER):
        Membership.objects.filter(user=colleague).delete()
    with nothing_moves():
        assert refused(first.post(UNIVERSAL, **asked)) == (401, -2015)
        assert refused(firm.program.post(UNIVERSAL, **asked)) == (400, -1130)
    (row,) = told(firm.program.get(UNIVERSAL, clientTranId="abc-1"), f"GET {UNIVERSAL}")["result"]
    assert (row["tranId"], row["clientTranId"]) == (done["tranId"], "abc-1")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("USDT_FUTURE", -5011),
        ("COIN_FUTURE", -5011),
        ("MARGIN", -3003),
        ("ISOLATED_MARGIN", -3003),
        ("ALPHA", -5010),
    ],
)
def test_accounts_that_are_not_here(firm: Firm, kind: str, code: int) -> None:
    for side in ("fromAccountType", "toAccountType"):
        asked = SPOT | {"toEmail": firm.sub.email, "amount": "1", side: kind}
        with nothing_moves():
            assert refused(firm.program.post(UNIVERSAL, **asked)) == (400, code)


def test_transfers_to_nowhere_move_nothing(firm: Firm) -> None:
    """R-GEN-05"""
    for asked, code in (
        ({}, -1128),
        ({"toEmail": firm.master.email}, -5010),
        ({"toEmail": firm.sub.email, "symbol": "BTCUSDT"}, -1106),
        ({"toEmail": "not an address"}, -1100),
        ({"toEmail": firm.sub.email, "clientTranId": "x" * 51}, -1100),
        ({"toEmail": firm.sub.email, "amount": "2.1"}, -5002),
    ):
        with nothing_moves():
            assert refused(firm.program.post(UNIVERSAL, **(SPOT | {"amount": "1"} | asked))) == (400, code)


def test_others_accounts_are_as_those_that_do_not_exist(firm: Firm) -> None:
    """R-GEN-95, TRUST B-07, B-13"""
    others = build.account(build.customer())
    build.deposit(others, "BTC", "9")
    answers = set()
    with nothing_moves():
        for side in ("fromEmail", "toEmail"):
            for address in (others.email, "nobody@example.com", build.master(others.customer).email):
                answer = firm.program.post(UNIVERSAL, **(SPOT | {side: address, "amount": "1"}))
                assert refused(answer) == (400, -5021)
                answers.add(answer.content)
        for address in (others.email, "nobody@example.com"):
            answers.add(firm.of_sub.post(TO_SUB, toEmail=address, asset="BTC", amount="1").content)
            answers.add(firm.program.get(UNIVERSAL, fromEmail=address).content)
    assert len(answers) == 1


# --- A sub-account's key ------------------------------------------------------------------------------


def test_a_subs_key_gives_to_its_master_and_to_its_siblings(firm: Firm) -> None:
    """R-GEN-95: out of its own account only."""
    first = told(firm.of_sub.post(TO_MASTER, asset="BTC", amount="0.5"), f"POST {TO_MASTER}")
    assert firm.btc() == (D("2.5"), D("4.5"), D(0))
    told(firm.of_sub.post(TO_SUB, toEmail=firm.sibling.email, asset="BTC", amount="4"), f"POST {TO_SUB}")
    assert firm.btc() == (D("2.5"), D("0.5"), D(4))
    assert Movement.objects.get(pk=int(first["txnId"])).target == firm.master


def test_a_subs_key_takes_from_no_other_account(firm: Firm) -> None:
    """R-GEN-95"""
    with nothing_moves():
        for side in ("fromEmail", "toEmail"):
            for account in (firm.master, firm.sibling, firm.sub):
                answer = firm.of_sub.post(UNIVERSAL, **(SPOT | {side: account.email, "amount": "1"}))
                assert refused(answer) == (401, -1002)
        assert refused(firm.of_sub.post(TO_MASTER, asset="BTC", amount="5.1")) == (400, -5002)
        assert refused(firm.program.post(TO_MASTER, asset="BTC", amount="1")) == (401, -1002)
        assert refused(firm.of_sub.get(UNIVERSAL)) == (401, -1002)


def test_who_acts_for_one_account_gives_to_no_other_by_program_either(firm: Firm) -> None:
    """R-GEN-95, R-ADM-09: between its own wallets they may, as on the pages."""
    one = build.colleague(firm.owner, "trader", only=firm.sub)
    program = Program(api_key(firm.sub, one, "can_read", "can_transfer"))
    with nothing_moves():
        assert refused(program.post(TO_MASTER, asset="BTC", amount="1")) == (401, -1002)
        answer = program.post(TO_SUB, toEmail=firm.sibling.email, asset="BTC", amount="1")
        assert refused(answer) == (400, -5021)  # they are not told that it exists
    assert program.post(ASSET, type="MAIN_FUNDING", asset="BTC", amount="1").status_code == 200
    assert firm.btc() == (D(2), D(4), D(0))


def test_a_key_without_the_permission_moves_nothing(firm: Firm) -> None:
    """R-ADM-09"""
    viewer = build.colleague(firm.owner, "viewer")
    with nothing_moves():
        for user in (firm.user, viewer):
            program = Program(api_key(firm.master, user, "can_read"))
            for path in (ASSET, UNIVERSAL):
                answer = program.post(path, **({"amount": "1", "asset": "BTC"} | _asked(path, firm)))
                assert refused(answer) == (401, -2015)


def _asked(path: str, firm: Firm) -> dict[str, str]:
    return {"type": "MAIN_FUNDING"} if path == ASSET else SPOT | {"toEmail": firm.sub.email}


def test_a_write_is_served_once(firm: Firm) -> None:
    """TRUST I-26, B-08"""
    payload = f"type=MAIN_FUNDING&asset=BTC&amount=1&recvWindow=60000&timestamp={ms(NOON)}"
    with visit.at(NOON):
        signed = f"{payload}&signature={firm.program.sign(payload)}"
        assert firm.program.raw("POST", ASSET, signed).status_code == 200
        with nothing_moves():
            assert refused(firm.program.raw("POST", ASSET, signed)) == (400, -1022)


# --- The gate -----------------------------------------------------------------------------------------


def _secured() -> tuple[Any, Program, Program]:
    """LTV 60 %, 72 % at 16.66 BTC; keys of the master and of the collateral account."""
    debt = movements.secured()
    user = build.colleague(debt.customer, "signatory")
    sub = movements.member_of(debt)
    return debt, Program(api_key(build.master(debt.customer), user)), Program(api_key(sub, user))


def test_collateral_leaves_as_far_as_its_ltv_allows() -> None:
    """R-VIP-52, R-VIP-53: 3 of 20 BTC may go, 4 may not."""
    debt, program, of_sub = _secured()
    sub = movements.member_of(debt)
    with visit.at(NOON):
        asked = SPOT | {"fromEmail": sub.email}
        with nothing_moves():
            answer = program.post(UNIVERSAL, **asked, amount="4")
            assert refused(answer) == (400, -3005)
            assert "LTV" in answer.json()["msg"]
            assert refused(of_sub.post(ASSET, type="MAIN_FUNDING", asset="BTC", amount="4")) == (400, -3005)
        assert program.post(UNIVERSAL, **asked, amount="3").status_code == 200
    assert build.balance(sub, "BTC") == 17


def test_a_subs_key_is_told_nothing_of_the_loan_it_secures() -> None:
    """R-GEN-95"""
    _, _, of_sub = _secured()
    with visit.at(NOON), nothing_moves():
        for path, asked in ((TO_MASTER, {}), (ASSET, {"type": "MAIN_FUNDING"})):
            answer = of_sub.post(path, **asked, asset="BTC", amount="4")
            assert refused(answer) == (400, -3005)
            assert "LTV" not in answer.json()["msg"]
            assert "Ask whoever acts for the whole customer" in answer.json()["msg"]


def test_nothing_leaves_collateral_without_a_price() -> None:
    """R-GEN-22"""
    debt, program, _ = _secured()
    with visit.at(NOON + timedelta(hours=1)), nothing_moves():
        answer = program.post(UNIVERSAL, **SPOT, fromEmail=movements.member_of(debt).email, amount="0.1")
        assert refused(answer) == (400, -3042)


# --- Lists --------------------------------------------------------------------------------------------


def test_transfers_between_wallets_are_listed_by_page(firm: Firm) -> None:
    """R-GEN-90"""
    for hour in range(3):
        with visit.at(NOON + timedelta(hours=hour)):
            firm.program.post(ASSET, type="MAIN_FUNDING", asset="BTC", amount=f"0.{hour + 1}")
    with visit.at(NOON + timedelta(hours=4)):
        firm.of_sub.post(ASSET, type="MAIN_FUNDING", asset="BTC", amount="1")
        found = told(firm.program.get(ASSET, type="MAIN_FUNDING", size=2, current=1), f"GET {ASSET}")
        rest = told(firm.program.get(ASSET, type="MAIN_FUNDING", size=2, current=2), f"GET {ASSET}")
        other = told(firm.program.get(ASSET, type="FUNDING_MAIN"), f"GET {ASSET}")
    assert found["total"] == rest["total"] == 3
    assert [row["amount"] for row in (*found["rows"], *rest["rows"])] == ["0.3", "0.2", "0.1"]
    assert rest["rows"][0]["timestamp"] == ms(NOON)
    assert (other["total"], other["rows"]) == (0, [])


def test_transfers_between_accounts_are_listed(firm: Firm) -> None:
    """R-GEN-90: those the master gave, unless an address is named."""
    with visit.at(NOON):
        give(firm, "0.5", clientTranId="first")
        give(firm, "5", fromEmail=firm.sub.email, toEmail=firm.sibling.email)
        by_master = told(firm.program.get(UNIVERSAL), f"GET {UNIVERSAL}")
        by_sub = told(firm.program.get(UNIVERSAL, fromEmail=firm.sub.email), f"GET {UNIVERSAL}")
        into_sub = told(firm.program.get(UNIVERSAL, toEmail=firm.sub.email), f"GET {UNIVERSAL}")
        by_id = told(firm.program.get(UNIVERSAL, clientTranId="first"), f"GET {UNIVERSAL}")
        nothing = told(firm.program.get(UNIVERSAL, clientTranId="other"), f"GET {UNIVERSAL}")
    (row,) = by_master["result"]
    assert by_master == into_sub == by_id
    assert (row["fromEmail"], row["toEmail"], row["amount"]) == (firm.master.email, firm.sub.email, "0.5")
    assert (row["clientTranId"], row["createTimeStamp"]) == ("first", ms(NOON))
    assert [row["amount"] for row in by_sub["result"]] == ["5"]
    assert nothing == {"result": [], "totalCount": 0}


def test_the_older_list_and_the_subs_own(firm: Firm) -> None:
    """R-GEN-90, R-GEN-95"""
    older, own = "/sapi/v1/sub-account/sub/transfer/history", "/sapi/v1/sub-account/transfer/subUserHistory"
    one = build.colleague(firm.owner, "viewer", only=firm.sub)
    limited = Program(api_key(firm.sub, one, "can_read"))
    with visit.at(NOON):
        give(firm, "0.5")
        firm.of_sub.post(TO_SUB, toEmail=firm.sibling.email, asset="BTC", amount="2")
        (row,) = told(firm.program.get(older), f"GET {older}")
        (given,) = told(firm.of_sub.get(own), f"GET {own}")
        (got,) = told(firm.of_sub.get(own, type=1, asset="BTC"), f"GET {own}")
        (seen,) = told(limited.get(own), f"GET {own}")
        assert told(firm.of_sub.get(own, asset="ETH"), f"GET {own}") == []
        assert refused(firm.of_sub.get(older)) == refused(firm.program.get(own)) == (401, -1002)
    assert (row["from"], row["to"], row["qty"]) == (firm.master.email, firm.sub.email, "0.5")
    assert (given["counterParty"], given["email"], given["qty"]) == ("subAccount", firm.sibling.email, "2")
    assert (got["counterParty"], got["email"], got["type"]) == ("master", firm.master.email, 1)
    assert seen["email"] == ""


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"startTime": ms(NOON), "endTime": ms(NOON) - 1}, -1127),
        ({"startTime": ms(NOON - 8 * DAY), "endTime": ms(NOON)}, -1127),
        ({"startTime": "yesterday"}, -1100),
        ({"page": 0}, -1130),
        ({"limit": 501}, -1130),
        ({"fromEmail": "a@example.com", "toEmail": "b@example.com"}, -1128),
    ],
)
def test_lists_have_their_limits(firm: Firm, asked: dict[str, Any], says: int) -> None:
    """R-GEN-90"""
    with visit.at(NOON):
        assert refused(firm.program.get(UNIVERSAL, **asked)) == (400, says)


def test_a_list_is_of_the_time_that_is_asked_for(firm: Firm) -> None:
    """R-GEN-90: both ends are in it; one of them reaches seven days."""
    with visit.at(NOON):
        give(firm)

    def total(**times: int) -> int:
        count = told(firm.program.get(UNIVERSAL, **times), f"GET {UNIVERSAL}")["totalCount"]
        assert isinstance(count, int)
        return count

    with visit.at(NOON + 30 * DAY):
        assert total() == 0
        assert total(startTime=ms(NOON)) == total(endTime=ms(NOON)) == 1
        assert total(startTime=ms(NOON), endTime=ms(NOON)) == 1
        assert total(startTime=ms(NOON) + 1) == total(endTime=ms(NOON) - 1) == 0
        assert total(endTime=ms(NOON + 7 * DAY)) == 1
        assert total(endTime=ms(NOON + 7 * DAY) + 1) == 0


def test_lists_cost_the_same_however_long(firm: Firm) -> None:
    def queries() -> list[int]:
        counted = []
        for path, asked in ((UNIVERSAL, {}), (ASSET, {"type": "MAIN_FUNDING"})):
            with CaptureQueriesContext(connection) as captured:
                assert firm.program.get(path, **asked).status_code == 200
            counted.append(len(captured))
        return counted

    with visit.at(NOON):
        give(firm, "0.1", clientTranId="one")
        firm.program.post(ASSET, type="MAIN_FUNDING", asset="BTC", amount="0.1")
        before = queries()
        for number in range(5):
            give(firm, "0.1", clientTranId=f"more-{number}")
            firm.program.post(ASSET, type="MAIN_FUNDING", asset="BTC", amount="0.1")
        assert queries() == before
