"""Balance confirmations: what the ledger says of an instant, said to the customer, and their answer (R-ADM-11)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from accounts import books, ledger, membership
from accounts.commands import Actor, NotYourRole, acting
from accounts.exchange import exchange
from accounts.models import Membership, Notice, User
from accounts.pages.forms import signature
from loans import confirmations
from loans.models import BalanceConfirmation
from loans.pages.confirmations import AskForm
from loans.vip import repayment, sheets
from risk import accrual, corrections
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk
from tests.loans.desk import Desk

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
THIRD = datetime(2026, 1, 3, 12, 0, tzinfo=UTC)  # after the midnights of the 2nd and the 3rd
LATER = datetime(2026, 2, 9, tzinfo=UTC)
DUE = "460.27397262"  # 2 x 230.13698631


def drawn() -> Desk:
    """1,000,000 USDT at 8.4 % against 25 BTC since the 1st; the loan lies in the master's Spot."""
    one = desk.set_up()
    desk.drawn(one)
    return one


def issue(one: Desk, as_of: datetime = THIRD, *, by: User | None = None, at: datetime = LATER) -> Any:
    actor = BUILDER if by is None else Actor.user(by)
    return confirmations.issue(customer_id=one.owner.pk, as_of=as_of, actor=actor, at=at)


def answer(row: BalanceConfirmation, user: User, *, agrees: bool = True, words: str = "") -> Any:
    return confirmations.answer(
        confirmation_id=row.pk, agrees=agrees, words=words, actor=Actor.user(user), at=LATER
    )


def member(one: Desk, role: str, **more: Any) -> User:
    user = build.user()
    with acting(BUILDER):
        Membership.objects.create(customer=one.owner, user=user, role=role, since=LONG_AGO, **more)
    return user


# --- What it says ------------------------------------------------------------------------------------------------


def test_it_says_what_was_held_owed_and_pledged_at_the_instant() -> None:
    """R-ADM-11, R-VIP-33: interest due and not booked yet is owed; what came later is not in it."""
    one = drawn()
    build.deposit(one.sub, "BTC", "9", at=THIRD + timedelta(seconds=1))

    row = issue(one)

    loan = {"debt": row.body["debts"][0]["debt"], "loan": row.body["debts"][0]["loan"], "asset": "USDT"}
    owes = {"principal": "1000000", "interest": DUE, "late_fee": "0", "total": f"1000{DUE}"}
    assert row.body == {
        "customer": one.owner.pk,
        "as_of": "2026-01-03T12:00:00+00:00",
        "wallets": [
            {"account": one.master.pk, "wallet": "spot", "asset": "USDT", "balance": "1000000"},
            {"account": one.sub.pk, "wallet": "spot", "asset": "BTC", "balance": "25"},
        ],
        "debts": [loan | owes],
        "collateral": [
            {
                "group": row.body["collateral"][0]["group"],
                "receiver": one.master.pk,
                "accounts": [one.sub.pk],
                "pledged": {"BTC": "25"},
            }
        ],
    }
    assert row.sha256 == sheets.digest(row.body)
    assert bytes(row.pdf).startswith(b"%PDF")


def test_the_ledger_makes_the_same_body_again_whatever_happened_since() -> None:
    """R-ADM-11: charges booked late, repayments, a closed loan, coins that left: the instant stays what it was."""
    one = drawn()
    row = issue(one, at=THIRD)  # nothing is accrued yet
    accrual.accrue(at=THIRD + 5 * DAY)
    build.deposit(one.master, "USDT", "50000", at=THIRD + 5 * DAY)
    desk.quote(THIRD + 5 * DAY)
    loan = one.owner.debts.get().loan  # type: ignore[attr-defined]
    repayment.repay(loan_id=loan.pk, share=Decimal(1), actor=one.borrower, at=THIRD + 5 * DAY)
    assert one.owner.debts.get().closed_at is not None

    assert confirmations.verify(row).is_good
    assert confirmations.body_of(one.owner, as_of=THIRD) == row.body
    assert confirmations.body_of(one.owner, as_of=THIRD + 6 * DAY)["debts"] == []


def test_a_row_dated_back_is_found() -> None:
    """R-ADM-11: the check names what the ledger says otherwise now."""
    one = drawn()
    row = issue(one)
    exchange().pay_out(
        wallet=books.wallet(one.sub, "BTC"), amount=Decimal(1), key="late", at=THIRD - timedelta(hours=1)
    )

    found = confirmations.verify(row)

    assert not found.is_good
    assert found.is_untouched
    assert f"wallets: the ledger has account {one.sub.pk}, wallet spot, asset BTC, balance 24" in found.rows
    gone = f"wallets: the ledger has no longer account {one.sub.pk}, wallet spot, asset BTC, balance 25"
    assert gone in found.rows


def test_a_correction_is_dated_today_so_the_past_stays_confirmed() -> None:
    """R-ADM-11"""
    one = drawn()
    entry = exchange().deposit(
        wallet=books.wallet(one.master, "USDT"), amount=Decimal(5), key="wrong", at=TEN
    )
    row = issue(one)
    corrections.reverse(entry_id=entry.pk, actor=BUILDER, at=LATER, reason="Not theirs")

    assert confirmations.verify(row).is_good


@pytest.mark.breaks_the_books
def test_check_ledger_finds_figures_that_are_not_their_digest() -> None:
    """R-ADM-11"""
    one = drawn()
    row = issue(one)
    row.pk, row.as_of, row.body = None, THIRD + DAY, row.body | {"debts": []}
    with acting(BUILDER):
        row.save(force_insert=True)

    assert f"confirmation {row}: the figures are not those that were sent" in ledger.problems()
    assert not confirmations.verify(row).is_untouched


def test_the_paper_is_the_same_every_time() -> None:
    """R-ADM-11"""
    one = drawn()
    row = issue(one)
    made = {"customer": one.owner.name, "body": row.body, "sha256": row.sha256, "made_at": LATER}

    assert confirmations.confirmation_paper.render(**made) == bytes(row.pdf)


# --- Asking ------------------------------------------------------------------------------------------------------


def test_the_customer_is_told_with_figures() -> None:
    """R-ADM-11, R-GEN-65"""
    one = drawn()
    row = issue(one)

    notice = Notice.objects.get(kind="balance_confirmation")
    assert (notice.customer, notice.facts["confirmation"]) == (one.owner, row.pk)
    assert notice.title == "Please confirm your balances as of 3 January 2026 12:00 UTC"
    assert f"Spot of {one.sub.pk}: 25 BTC" in notice.body
    assert "1,000,460.27397262 USDT owed" in notice.body


def test_nobody_is_asked_about_what_lies_ahead_or_twice() -> None:
    """R-ADM-11"""
    one = drawn()
    with pytest.raises(confirmations.BadInstant, match="lies ahead"):
        issue(one, LATER + DAY)
    issue(one)
    with pytest.raises(confirmations.BadInstant, match="was asked about 3 January 2026 12:00 UTC already"):
        issue(one)

    assert BalanceConfirmation.objects.count() == 1
    assert Notice.objects.filter(kind="balance_confirmation").count() == 1


def test_finance_auditors_and_admins_ask() -> None:
    """R-ADM-11, R-ADM-01"""
    one = drawn()
    for role in ("vip_manager", "risk_officer", "ops", "borrower"):
        with pytest.raises(NotYourRole):
            issue(one, by=build.user(role))
    assert not BalanceConfirmation.objects.exists()

    for number, role in enumerate(("finance", "auditor", "admin")):
        user = build.user(role)
        assert issue(one, THIRD + number * DAY, by=user).requested_by == user


# --- Answering ---------------------------------------------------------------------------------------------------


def test_a_member_confirms_and_that_is_that() -> None:
    """R-ADM-11"""
    one = drawn()
    row = answer(issue(one), one.applicant)

    assert (row.status, row.answered_by, row.answered_at) == ("confirmed", one.applicant, LATER)
    with pytest.raises(confirmations.AlreadyAnswered, match="confirmed already"):
        answer(row, one.applicant, agrees=False, words="No")
    row.refresh_from_db()
    assert (row.status, row.answer) == ("confirmed", "")


@pytest.mark.parametrize("words", ["", "   \n", "x" * 2001])
def test_a_dispute_says_what_is_wrong(words: str) -> None:
    """R-ADM-11"""
    one = drawn()
    row = issue(one)

    with pytest.raises(confirmations.NothingSaid, match="Say what is not right"):
        answer(row, one.applicant, agrees=False, words=words)
    row.refresh_from_db()
    assert row.status == "waiting"

    row = answer(row, one.applicant, agrees=False, words=" We repaid on the 2nd ")
    assert (row.status, row.answer) == ("disputed", "We repaid on the 2nd")


def test_only_those_answer_who_may_bind_the_firm() -> None:
    """R-ADM-11, R-ADM-09, R-GEN-95"""
    one = drawn()
    row = issue(one)
    for user, refusal in (
        (member(one, "viewer"), membership.NotYourPart),
        (member(one, "trader"), membership.NotYourPart),
        (member(one, "signatory", account=one.sub), membership.NotYourPart),
        (build.user(), membership.NotYours),
        (build.user("finance"), membership.NotYours),
        (one.manager, membership.NotYours),
    ):
        with pytest.raises(refusal):
            answer(row, user)
    row.refresh_from_db()
    assert row.status == "waiting"

    assert answer(row, member(one, "treasurer")).status == "confirmed"


def test_members_see_their_own_and_only_as_a_whole() -> None:
    """R-ADM-11, R-GEN-95"""
    one = drawn()
    row = issue(one)

    for user in (one.applicant, member(one, "viewer"), build.user("auditor"), build.user("finance")):
        assert confirmations.visible_to(user).get() == row
    for user in (build.user(), one.manager, build.user("ops"), member(one, "signatory", account=one.sub)):
        assert not confirmations.visible_to(user).exists()


def test_a_client_is_asked_for_by_number_or_name() -> None:
    """R-ADM-11: no list of every client; a name that several have is refused, with their numbers."""
    one = drawn()
    other = build.customer(name=f"{one.owner.name} Two")
    for text, found in (
        (str(other.pk), other),
        (f" {one.owner.name.upper()} ", one.owner),  # the whole name is one client's
        ("two", other),
        (one.owner.name[:3], None),
        ("nobody", None),
        ("9" * 30, None),
        ("9" * 5000, None),
        ("", None),
    ):
        form = AskForm({"customer": text, "as_of": "2026-01-31T00:00", "key": str(uuid4())})
        assert form.is_valid() == (found is not None), text
        assert form.cleaned_data.get("customer") == found
    form = AskForm({"customer": one.owner.name[:3], "as_of": "2026-01-31T00:00", "key": str(uuid4())})
    assert f"{other.pk} {other.name}" in str(form.errors["customer"])
    assert "<option" not in str(AskForm())


def test_clients_of_one_name_are_not_confirmed_for_each_other() -> None:
    """R-ADM-03: what was looked at for one is shown again for the other."""
    signed = set()
    for client in (build.customer(name="Acme"), build.customer(name="Acme")):
        form = AskForm({"customer": str(client.pk), "as_of": "2026-01-31T00:00", "key": str(uuid4())})
        assert form.is_valid()
        signed.add(signature(form))
    assert len(signed) == 2
