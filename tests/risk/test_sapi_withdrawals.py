"""The dialect's withdrawals: exact, by the gate, once for each id of a client, and not where a firm asks for two."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction

from accounts.commands import Actor, acting, keep_for_proposal
from accounts.models import FirmPolicy
from risk.models import Movement
from tests import build
from tests.build import BUILDER, LONG_AGO, NOON
from tests.loans import visit
from tests.programs import Program, api_key
from tests.risk import movements
from tests.risk.programs import Firm, freeze, nothing_moves
from tests.shapes import refused, told

pytestmark = pytest.mark.django_db
APPLY = "/sapi/v1/capital/withdraw/apply"
HISTORY = "/sapi/v1/capital/withdraw/history"
ASKED = {"coin": "BTC", "address": "bc1qexample", "amount": "0.5"}


@pytest.fixture
def firm() -> Firm:
    return Firm()


def test_coins_are_sent_out(firm: Firm) -> None:
    """R-GEN-05"""
    found = told(firm.program.post(APPLY, **ASKED, transactionFeeFlag="true", name="Cold"), f"POST {APPLY}")
    row = Movement.objects.get(pk=int(found["id"]))
    assert (row.kind, row.source, row.address) == ("withdrawal", firm.master, "bc1qexample")
    assert [str(amount) for amount in firm.btc()] == ["1.50000000", "5.00000000", "0"]


def test_they_may_come_from_funding(firm: Firm) -> None:
    build.deposit(firm.master, "BTC", "3", wallet="funding")
    told(firm.program.post(APPLY, **ASKED, walletType=1), f"POST {APPLY}")
    assert (firm.btc()[0], str(build.balance(firm.master, "BTC", wallet="funding"))) == (2, "2.50000000")


def test_a_clients_own_id_sends_once(firm: Firm) -> None:
    """R-GEN-06"""
    first = told(firm.program.post(APPLY, **ASKED, withdrawOrderId="w-1"), f"POST {APPLY}")
    with nothing_moves():
        assert told(firm.program.post(APPLY, **ASKED, withdrawOrderId="w-1"), f"POST {APPLY}") == first
        again = firm.program.post(APPLY, **(ASKED | {"amount": "0.6"}), withdrawOrderId="w-1")
        assert refused(again) == (400, -1130)


def test_an_own_id_counts_for_its_account(firm: Firm) -> None:
    """R-GEN-06: the programs of two accounts may choose the same, and each finds its own"""
    longest = "x" * 45
    programs, asked = (firm.program, firm.of_sub), ASKED | {"withdrawOrderId": longest}
    made = [told(one.post(APPLY, **asked), f"POST {APPLY}") for one in programs]
    assert made[0] != made[1]
    assert [str(amount) for amount in firm.btc()] == ["1.50000000", "4.50000000", "0"]
    for one, row in zip(programs, made, strict=True):
        (found,) = told(one.get(HISTORY, withdrawOrderId=longest), f"GET {HISTORY}")
        assert (found["id"], found["withdrawOrderId"]) == (row["id"], longest)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"amount": "2.1"}, -4026),
        ({"amount": "0"}, -1100),
        ({"amount": "1e-9"}, -1111),
        ({"coin": "DOGE"}, -5003),
        ({"address": ""}, -1102),
        ({"address": "with a space"}, -1100),
        ({"address": "x" * 121}, -1100),
        ({"network": "TRX"}, -1106),
        ({"addressTag": "17"}, -1106),
        ({"walletType": "2"}, -1130),
        ({"fee": "0"}, -1104),
    ],
)
def test_what_cannot_be_sent_stays(firm: Firm, asked: dict[str, str], code: int) -> None:
    """R-GEN-05, TRUST B-01 to B-06: least of all with a network or a tag that nobody would be told."""
    with nothing_moves():
        assert refused(firm.program.post(APPLY, **(ASKED | asked))) == (400, code)


def test_it_takes_the_permission_and_the_role(firm: Firm) -> None:
    """R-ADM-09, R-GEN-95"""
    reader = Program(api_key(firm.master, firm.user, "can_read", "can_transfer", "can_borrow"))
    with nothing_moves():
        assert refused(reader.post(APPLY, **ASKED)) == (401, -2015)
        assert refused(firm.of_sub.post(APPLY, **(ASKED | {"amount": "5.1"}))) == (400, -4026)
    told(firm.of_sub.post(APPLY, **ASKED), f"POST {APPLY}")
    assert [float(amount) for amount in firm.btc()] == [2, 4.5, 0]


def test_where_a_firm_asks_for_two_no_program_is_enough(firm: Firm) -> None:
    """R-ADM-09"""
    build.colleague(firm.owner, "signatory")
    with acting(BUILDER):
        FirmPolicy.objects.create(customer=firm.owner, effective_at=LONG_AGO, withdraw=True)
    with nothing_moves():
        answer = firm.program.post(APPLY, **ASKED)
        assert refused(answer) == (401, -1002)
        assert "two people" in answer.json()["msg"]


def test_an_id_that_waits_for_a_second_person_has_sent_nothing(firm: Firm) -> None:
    """R-ADM-09: our own API chose the same key, and its withdrawal is a proposal"""
    asked = {"account_uid": firm.master.pk, "asset": "BTC", "amount": Decimal("0.5")}
    mine = Actor.user(firm.user)
    with transaction.atomic():
        keep_for_proposal(mine, f"w:{firm.master.pk}:w-1", "gate.withdraw", asked, proposal=7)
    assert told(firm.program.get(HISTORY, withdrawOrderId="w-1"), f"GET {HISTORY}") == []


def test_collateral_is_sent_as_far_as_its_ltv_allows() -> None:
    """R-VIP-53, R-GEN-22, R-GEN-95: LTV 60 %; a sub-account's key is not told where it stands."""
    debt = movements.secured()
    sub = movements.member_of(debt)
    program = Program(api_key(sub, build.colleague(debt.customer, "signatory")))
    with visit.at(NOON):
        with nothing_moves():
            answer = program.post(APPLY, **(ASKED | {"amount": "4"}))
            assert refused(answer) == (400, -3005)
            assert "LTV" not in answer.json()["msg"]
        told(program.post(APPLY, **(ASKED | {"amount": "3"})), f"POST {APPLY}")
    assert build.balance(sub, "BTC") == 17
    with visit.at(NOON + timedelta(hours=1)), nothing_moves():
        assert refused(program.post(APPLY, **ASKED)) == (400, -3042)


def test_a_freeze_stops_it(firm: Firm) -> None:
    """R-ADM-04"""
    freeze(firm.master, at=NOON)
    with visit.at(NOON), nothing_moves():
        assert refused(firm.program.post(APPLY, **ASKED)) == (400, -10001)


def test_what_was_sent_is_listed(firm: Firm) -> None:
    """R-GEN-90, R-GEN-95: of the key's own account."""
    path = "/sapi/v1/capital/withdraw/history"
    build.deposit(firm.master, "ETH", "3", wallet="funding")

    def rows(**asked: object) -> list[dict[str, object]]:
        found: list[dict[str, object]] = told(firm.program.get(path, **asked), f"GET {path}")
        return found

    def ids(**asked: object) -> list[object]:
        return [row["id"] for row in rows(**asked)]

    with visit.at(NOON):
        first = told(firm.program.post(APPLY, **ASKED, withdrawOrderId="w-1"), f"POST {APPLY}")
        second = firm.program.post(APPLY, **(ASKED | {"coin": "ETH"}), walletType=1).json()
        firm.of_sub.post(APPLY, **ASKED)
        assert ids() == ids(status=6) == [second["id"], first["id"]]
        assert ids(coin="BTC") == ids(withdrawOrderId="w-1") == ids(idList=first["id"]) == [first["id"]]
        assert (ids(offset=1), ids(limit=1)) == ([first["id"]], [second["id"]])
        assert ids(status=2) == ids(withdrawOrderId="w-2") == []
        by_funding, by_spot = rows()
    assert (by_funding["walletType"], by_funding["withdrawOrderId"]) == (1, "")
    assert (by_spot["amount"], by_spot["applyTime"]) == ("0.5", "2026-01-01 12:00:00")
    assert (by_spot["walletType"], by_spot["withdrawOrderId"]) == (0, "w-1")
    with visit.at(NOON + timedelta(days=8)):
        assert ids(withdrawOrderId="w-1") == []
        assert len(ids()) == 2
