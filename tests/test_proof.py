"""The proof of the books after a test asks every check that the test can have changed."""

from decimal import Decimal

import pytest
from django.db import transaction

from accounts import books, ledger
from accounts.exchange import exchange
from tests import build, proof

pytestmark = pytest.mark.django_db


def test_what_every_check_reads_is_known() -> None:
    """A check of which nothing is known is asked after every test: right, but slow."""
    assert set(proof.reads) == set(ledger.checks)
    assert all(proof.reads.values())


def test_what_was_written_is_asked_about_even_if_it_was_taken_back() -> None:
    master = build.master(build.customer())
    with transaction.atomic():
        build.deposit(master, "USDT", "100")
        transaction.set_rollback(True)

    about_transfers = {check for check in ledger.checks if "accounts_transfer" in proof.reads[check]}
    assert about_transfers
    assert about_transfers <= set(proof.to_ask())


@pytest.mark.breaks_the_books
def test_a_break_is_found() -> None:
    """Coins that were seized into workout without a sale."""
    account = build.account(build.customer())
    build.deposit(account, "BTC", "5")
    assert proof.problems() == ledger.problems() == []

    wallet = books.wallet(account, "BTC")
    exchange().seize(wallet=wallet, amount=Decimal(2), key="k", at=build.NOON, into=books.workout("BTC"))
    assert proof.problems() == ledger.problems() != []
