"""The same request from many threads at once over /api/v1: one effect, and every caller reads the same answer."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from accounts.models import Approval
from loans.models import Application, Loan
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans import native, talks, visit
from tests.loans.native import asking, ok
from tests.loans.test_firm_second import firm_of
from tests.native import Native

THREADS = 8
InThreads = Callable[[list[Callable[[], Any]]], list[Any]]


def calls(us: Native, path: str, bodies: list[Any], *, key: str = "") -> list[Callable[[], Any]]:
    """One caller a body, each with a client of its own: Django's is not for threads."""
    callers = [Native() for _ in bodies]
    for caller in callers:
        caller.headers = us.headers
    return [partial(one.post, path, body, key=key) for one, body in zip(callers, bodies, strict=True)]


@pytest.mark.usefixtures("committed_db")
def test_one_key_from_eight_threads_pays_once(in_threads: InThreads) -> None:
    """R-GEN-06, TRUST C-07, C-08: eight equal answers; with two bodies one is done and the other refused."""
    with visit.at(TEN):
        desk = desks.set_up()
        loan, us = desks.drawn(desk), native.of(desk)
        path = f"loans/{loan.pk}/repay"
        answers = in_threads(calls(us, path, [{"amount": "1000"}] * THREADS, key="same"))
        assert [status for status, _ in answers] == [200] * THREADS
        assert all(answer == answers[0] for answer in answers)
        assert build.balance(desk.master, "USDT") == 999_000
        mixed = [{"amount": "2000"}, {"amount": "3000"}] * (THREADS // 2)
        answers = in_threads(calls(us, path, mixed, key="other"))
        codes = sorted(status for status, _ in answers)
        assert codes == [200] * (THREADS // 2) + [409] * (THREADS // 2)
        refused = {told["code"] for status, told in answers if status == 409}
        assert refused == {"idempotency_key_reused"}
        assert build.balance(desk.master, "USDT") in (997_000, 996_000)
        assert Loan.objects.get().debt.entries.filter(kind="repayment").count() == 2


@pytest.mark.usefixtures("committed_db")
def test_one_request_and_one_answer_from_eight_threads(in_threads: InThreads) -> None:
    """R-GEN-06, R-VIP-11: one request is made; of accepting and declining its offer one happens."""
    with visit.at(TEN):
        desk = desks.set_up()
        us = native.of(desk)
        sheet = ok(us.post("applications/check", asking(desk)))
        wish = asking(desk, accepted=sheet["fingerprint"], wanted=native.WANTED)
        answers = in_threads(calls(us, "applications/negotiate", [wish] * THREADS, key="ask"))
        assert {told["id"] for status, told in answers if status == 201} == {Application.objects.get().pk}
        assert len(answers) == THREADS
        row = Application.objects.get()
        talks.move("counter_offer", row, desk, wanted=talks.wanted("0.083"))
        room = f"applications/{row.pk}/offers/3"
        accepting, declining = calls(us, f"{room}/accept", [{}] * 4), calls(us, f"{room}/decline", [{}] * 4)
        codes = sorted(status for status, _ in in_threads([*accepting, *declining]))
        assert codes == [200] + [409] * 7
        assert talks.statuses(row)[-1][2] in ("accepted", "declined")


@pytest.mark.usefixtures("committed_db")
def test_one_key_from_eight_threads_is_put_before_a_colleague_once(in_threads: InThreads) -> None:
    """R-GEN-06, R-ADM-09, TRUST C-07: eight equal answers; with two bodies one waits and the other is refused."""
    with visit.at(TEN):
        desk = desks.set_up()
        firm_of(desk)
        us, one = native.of(desk), {"account": desk.sub.pk, "asset": "BTC", "address": "bc1-there"}
        answers = in_threads(calls(us, "withdrawals", [one | {"amount": "1"}] * THREADS, key="same"))
        assert [status for status, _ in answers] == [202] * THREADS
        assert all(answer == answers[0] for answer in answers)
        mixed = [one | {"amount": "2"}, one | {"amount": "3"}] * (THREADS // 2)
        answers = in_threads(calls(us, "withdrawals", mixed, key="other"))
        assert sorted(status for status, _ in answers) == [202] * (THREADS // 2) + [409] * (THREADS // 2)
        refused = {told["code"] for status, told in answers if status == 409}
        assert refused == {"idempotency_key_reused"}
        assert Approval.objects.filter(command="gate.withdraw").count() == 2
        assert build.balance(desk.sub, "BTC") == 25
