"""Two answers to one offer at once, with real commits: one of them counts (R-VIP-11)."""

from collections.abc import Callable
from typing import Any

from accounts.errors import Refused
from loans.models import Application, Offer
from loans.vip import offers
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans.talks import asked, move, statuses, wanted

InThreads = Callable[[list[Callable[[], Any]]], list[Any]]


def test_an_offer_accepted_and_countered_at_once_is_answered_once(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-VIP-11, R-VIP-15: of eight answers to version 3 one is taken, the others are told."""
    desk = desks.set_up()
    application = asked(desk)
    move("counter_offer", application, desk, wanted=wanted("0.083"))
    answer = {"application_id": application.pk, "version": 3, "actor": desk.borrower, "at": TEN}

    def accept() -> Offer:
        return offers.accept_offer(**answer)

    def counter() -> Offer:
        return offers.counter(**answer, wanted=wanted("0.081"))

    results = in_threads([accept, counter] * 4)

    assert sum(isinstance(result, Offer) for result in results) == 1
    assert sum(isinstance(result, Refused) for result in results) == 7
    found = Application.objects.get()
    third = statuses(found)[2:]
    assert third in (
        [(3, "desk", "accepted")],
        [(3, "desk", "countered"), (4, "borrower", "open")],
    )
    assert (found.accepted is None) == (len(third) == 2)
