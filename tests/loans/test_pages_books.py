"""The books on the desk: who reads them, months, files, corrections with both sides, confirmations (R-ADM-11)."""

import html
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.urls import reverse

from accounts import approvals, books, closing, exports, ledger
from accounts.commands import Actor, acting
from accounts.exchange import exchange
from accounts.models import Approval, AuditRecord, Export, JournalEntry, Membership, PeriodClose, User
from loans.models import BalanceConfirmation
from loans.vip import repayment, sheets
from risk import accrual, corrections, gate
from tests import build
from tests.build import BUILDER, LONG_AGO, NOON, TEN
from tests.loans import desk, visit
from tests.loans.desk import Desk

pytestmark = pytest.mark.django_db
JANUARY = datetime(2026, 2, 1, tzinfo=UTC)
TODAY = JANUARY + timedelta(days=2, hours=9)
READERS = ("finance", "auditor", "admin")


@pytest.fixture
def one() -> Iterator[Desk]:
    """A loan of the 1st with every day of January charged; the clock stands at 3 February."""
    made = desk.set_up()
    desk.drawn(made, rate_type="flexible", term_days=None)
    accrual.accrue(at=TODAY)
    with visit.at(TODAY):
        yield made


def text_of(response: Any) -> str:
    """The words of a page, without its markup."""
    words = html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode()))
    return " ".join(words.replace("\u00a0", " ").split())


def get(user: User, name: str, *args: object, **query: str) -> Any:
    return visit.client_of(user).get(reverse(f"loans:{name}", args=args), query)


def post(user: User, name: str, *args: object, **asked: Any) -> Any:
    return visit.client_of(user).post(reverse(f"loans:{name}", args=args), {"key": str(uuid4())} | asked)


def wrong_deposit(one: Desk) -> JournalEntry:
    wallet = books.wallet(one.master, "USDT")
    return exchange().deposit(wallet=wallet, amount=Decimal("12.5"), key="deposit:x", at=NOON)


def release(user: User) -> Approval:
    waiting = Approval.objects.get(status=Approval.Status.PENDING)
    return approvals.release(approval_id=waiting.pk, actor=Actor.user(user), at=TODAY)


# --- Who ---------------------------------------------------------------------------------------------------------


def test_finance_auditors_and_admins_read_the_books(one: Desk) -> None:
    """R-ADM-11, R-ADM-01: others of the house are told why not; to borrowers the pages do not exist."""
    entry = wrong_deposit(one)
    pages: list[tuple[str, tuple[object, ...]]] = [
        ("books", ()),
        ("books_period", (2026, 1)),
        ("desk_confirmations", ()),
    ]
    for name, args in pages:
        for role in READERS:
            assert get(build.user(role), name, *args).status_code == 200, (name, role)
        for role in ("risk_officer", "ops", "vip_manager"):
            assert get(build.user(role), name, *args).status_code == 403, (name, role)
        assert get(one.applicant, name, *args).status_code == 404, name
    for role, status in (("finance", 200), ("admin", 200), ("auditor", 403), ("ops", 403), ("borrower", 404)):
        assert get(build.user(role), "ledger_reverse", entry.pk).status_code == status, role


@pytest.mark.parametrize(
    ("role", "status"), [("auditor", 403), ("ops", 403), ("vip_manager", 403), ("borrower", 404)]
)
def test_only_finance_proposes(one: Desk, role: str, status: int) -> None:
    """R-ADM-11, R-ADM-03"""
    entry, user = wrong_deposit(one), build.user(role)

    assert post(user, "books_close", 2026, 1, reason="x").status_code == status
    assert post(user, "ledger_reverse", entry.pk, reason="x").status_code == status
    assert not Approval.objects.exists()


# --- Months ------------------------------------------------------------------------------------------------------


def test_a_month_is_proposed_released_and_shown_closed(one: Desk) -> None:
    """R-ADM-11: with its trial balance, coin by coin, both sides equal."""
    maker, checker = build.user("finance"), build.user("admin")
    page = text_of(get(maker, "books_period", 2026, 1))
    # 31 charges of 1,000,000 x 0.08 / 365 = 219.17808220 (rounded up)
    for words in (
        "January 2026",
        "Interest income",
        "6,794.52 0548",
        "Propose to close through 31 January 2026",
    ):
        assert words in page, words
    assert "Propose to close" not in text_of(get(build.user("auditor"), "books_period", 2026, 1))

    answer = post(maker, "books_close", 2026, 1, reason="Reconciled with custody")
    assert answer.status_code == 302
    assert not PeriodClose.objects.exists()
    assert "Close the books through 31 January 2026" in text_of(get(checker, "books"))
    release(checker)

    row = PeriodClose.objects.get()
    index = text_of(get(maker, "books"))
    assert "closed through 1 Feb 2026, 00:00 UTC" in index
    assert row.sha256[:12] in index
    assert row.sha256 in text_of(get(maker, "books_period", 2026, 1))
    assert post(maker, "books_close", 2026, 1, reason="Again").status_code == 422


def test_a_month_with_something_to_book_says_what(one: Desk) -> None:
    """R-ADM-11: the refusal is on the form, with what to wait for."""
    build.fund_pool("USDT")
    late = build.debt(build.group(one.sub, []), amount="5", at=TEN)
    maker = build.user("finance")

    assert "It cannot be closed yet" in text_of(get(maker, "books_period", 2026, 1))
    answer = post(maker, "books_close", 2026, 1, reason="Too early")

    assert answer.status_code == 422
    assert f"the interest of 1 debt(s), such as {late}" in text_of(answer)
    assert not Approval.objects.exists()


def test_months_that_are_not_over_or_are_none_do_not_exist(one: Desk) -> None:
    """R-ADM-11"""
    for year, month in ((2026, 2), (2026, 13), (0, 1), (1999, 1)):
        assert get(build.user("finance"), "books_period", year, month).status_code == 404, (year, month)


def test_the_last_proof_of_the_books_is_shown(one: Desk) -> None:
    """R-ADM-11"""
    closing.prove(actor=BUILDER, at=TODAY)

    shown = text_of(get(build.user("auditor"), "books"))
    assert "Proven last 3 Feb 2026, 09:00 UTC no fault; it is done every hour" in shown


@pytest.mark.breaks_the_books
def test_faults_are_told_at_the_top(one: Desk) -> None:
    """R-ADM-11"""
    AuditRecord.objects.create(
        kind="command",
        subject=closing.PROOF,
        actor="job:x",
        after={"at": TODAY.isoformat(), "problems": ["pool:USDT: overdrawn by 5"]},
    )

    assert "The books do not prove themselves. pool:USDT: overdrawn by 5." in text_of(
        get(build.user("auditor"), "books")
    )


# --- Files -------------------------------------------------------------------------------------------------------


def test_files_are_made_by_a_job_and_belong_to_who_asked(one: Desk) -> None:
    """R-ADM-11: the auditor asks for the journal of January and gets its transfers."""
    auditor = build.user("auditor")
    answer = post(auditor, "books_export", kind="journal", first="2026-01-01", last="2026-01-31")
    made = Export.objects.get()
    assert answer["Location"] == reverse("accounts:export", args=[made.pk])
    assert made.arguments == {"after": "2026-01-01T00:00:00+00:00", "through": "2026-02-01T00:00:00+00:00"}

    exports.run_due(at=TODAY)

    file = visit.client_of(auditor).get(reverse("accounts:export_file", args=[made.pk])).content.decode()
    assert file.count("\r\n") == 1 + 31 + 2  # the header, January's charges, the loan's two transfers
    assert (
        visit.client_of(build.user("finance")).get(reverse("accounts:export", args=[made.pk])).status_code
        == 404
    )


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": "nonsense", "first": "2026-01-01", "last": "2026-01-31"},
        {"kind": "journal", "first": "2026-01-31", "last": "2026-01-01"},
        {"kind": "journal", "first": "soon", "last": "9999-12-31"},
        {"kind": "journal", "first": "", "last": ""},
    ],
)
def test_a_file_of_no_span_is_refused_on_the_form(one: Desk, asked: dict[str, str]) -> None:
    """R-ADM-11"""
    assert post(build.user("finance"), "books_export", **asked).status_code == 422
    assert not Export.objects.exists()


# --- Corrections -------------------------------------------------------------------------------------------------


def test_an_entry_is_reversed_and_each_shows_both_sides(one: Desk) -> None:
    """R-ADM-11, R-ADM-03"""
    entry, maker, checker = wrong_deposit(one), build.user("finance"), build.user("finance")
    assert "Reverse it" in text_of(get(maker, "ledger_entry", entry.pk))
    assert "Reverse it" not in text_of(get(build.user("auditor"), "ledger_entry", entry.pk))
    page = text_of(get(maker, "ledger_reverse", entry.pk))
    assert f"spot:{one.master.pk}:USDT, {one.owner.name} −12.50 USDT custody:USDT −12.50 USDT" in page

    assert post(maker, "ledger_reverse", entry.pk, reason="").status_code == 422
    assert post(maker, "ledger_reverse", entry.pk, reason="Another bank's").status_code == 302
    assert not JournalEntry.objects.filter(reverses=entry).exists()
    release(checker)

    reversal = JournalEntry.objects.get(reverses=entry)
    wallet = f"spot:{one.master.pk}:USDT"
    sides = f"USDT {wallet} → custody:USDT 12.50 000000 USDT custody:USDT → {wallet} 12.50 000000 USDT"
    for looked_at in (entry, reversal):
        shown = text_of(get(build.user("auditor"), "ledger_entry", looked_at.pk))
        assert sides in shown
        assert "Reverse it" not in shown
    assert f"Reversed by J-{reversal.pk}" in text_of(get(maker, "ledger_entry", entry.pk))
    assert f"It reverses J-{entry.pk}" in text_of(get(maker, "ledger_entry", reversal.pk))
    assert post(maker, "ledger_reverse", entry.pk, reason="Again").status_code == 422
    assert f"J-{reversal.pk} reverses J-{entry.pk}" in text_of(get(maker, "books"))


def test_a_repayment_shows_both_sides_of_the_debt_and_the_client_sees_it_undone(one: Desk) -> None:
    """R-ADM-11: what each of the two did to the debt; the client's own list of movements says so too."""
    debt = one.owner.debts.get()
    owed = debt.booked
    paid = repayment.repay(loan_id=debt.loan.pk, amount=Decimal(9000), actor=one.borrower, at=TODAY).entry
    moved = gate.deposit(account_uid=one.sub.pk, asset="BTC", amount=Decimal(2), actor=one.borrower, at=TODAY)
    for entry in (paid, moved.entry):
        corrections.reverse(entry_id=entry.pk, actor=BUILDER, at=TODAY, reason="x")

    debt.refresh_from_db()
    assert debt.booked == owed
    back = JournalEntry.objects.get(reverses=paid)
    page = text_of(get(build.user("auditor"), "ledger_entry", paid.pk))
    # 33 charges of 219.1780822 are 7,232.8767126 of interest; the rest of 9,000 is principal
    assert f"{debt} J-{paid.pk} −1,767.12 32874 USDT −7,232.87 67126 USDT 0.00 USDT" in page
    assert f"{debt} J-{back.pk} +1,767.12 32874 USDT +7,232.87 67126 USDT 0.00 USDT" in page
    mine = text_of(visit.client_of(one.applicant).get(reverse("risk:movements")))
    assert f"undone by J-{JournalEntry.objects.get(reverses=moved.entry).pk}" in mine


def test_an_entry_that_stays_says_what_to_do_instead(one: Desk) -> None:
    """R-ADM-11"""
    charge, maker = JournalEntry.objects.filter(kind="accrual").first(), build.user("finance")
    assert charge is not None

    assert "A day's charge is a link of a chain" in text_of(get(maker, "ledger_entry", charge.pk))
    page = get(maker, "ledger_reverse", charge.pk)
    assert "A day's charge is a link of a chain" in text_of(page)
    assert b"Propose to reverse" not in page.content
    assert post(maker, "ledger_reverse", charge.pk, reason="x").status_code == 422
    assert not Approval.objects.exists()


# --- Confirmations -----------------------------------------------------------------------------------------------


def asked(one: Desk, as_of: str = "2026-01-31T00:00") -> BalanceConfirmation:
    answer = post(build.user("auditor"), "desk_confirmations", customer=one.owner.pk, as_of=as_of)
    row = BalanceConfirmation.objects.get()
    assert answer["Location"] == reverse("loans:desk_confirmation", args=[row.pk])
    return row


def test_an_auditor_asks_and_the_client_confirms(one: Desk) -> None:
    """R-ADM-11: the same figures on both sides; the paper and the canonical body to take away."""
    row = asked(one)
    mine = text_of(get(one.applicant, "confirmation", row.pk))
    for words in ("25.00 BTC", "1,000,000.00 USDT", "6,575.34 2466 USDT", "Is this right?", row.sha256):
        assert words in mine, words
    assert str(row) in text_of(get(one.applicant, "confirmations"))
    notice = one.owner.notices.get(kind="balance_confirmation")
    told = visit.client_of(one.applicant).get(reverse("accounts:notice", args=[notice.pk]))
    assert reverse("loans:confirmation", args=[row.pk]).encode() in told.content

    paper = get(one.applicant, "confirmation_paper", row.pk)
    assert (paper["Content-Type"], paper.content) == ("application/pdf", bytes(row.pdf))
    body = get(one.applicant, "confirmation_data", row.pk).content
    assert sheets.digest(json.loads(body)) == row.sha256

    assert post(one.applicant, "confirmation", row.pk, says="right").status_code == 302

    shown = text_of(get(build.user("finance"), "desk_confirmation", row.pk))
    assert "Confirmed. " + one.applicant.name in shown
    assert "The ledger says the same today." in shown
    assert "Is this right?" not in text_of(get(one.applicant, "confirmation", row.pk))
    assert AuditRecord.objects.filter(kind="view", subject=f"accounts_customer:{one.owner.pk}").exists()


def test_a_dispute_needs_words_and_reaches_the_desk(one: Desk) -> None:
    """R-ADM-11"""
    row = asked(one)

    refused = post(one.applicant, "confirmation", row.pk, says="wrong", words=" ")
    assert refused.status_code == 422
    assert "Say what is not right" in text_of(refused)
    post(one.applicant, "confirmation", row.pk, says="wrong", words="<b>24 BTC</b>, not 25")

    finance = build.user("finance")
    assert "Disputed" in text_of(get(finance, "desk_confirmations", status="disputed"))
    assert "1 disputed" in text_of(get(finance, "books"))
    page = get(finance, "desk_confirmation", row.pk)
    assert b"&lt;b&gt;24 BTC&lt;/b&gt;" in page.content


def test_confirmations_are_seen_by_their_customer_and_the_books_readers_only(one: Desk) -> None:
    """R-ADM-11, R-GEN-95: others do not learn that there is one."""
    row = asked(one)
    viewer, trader = build.user(), build.user()
    with acting(BUILDER):
        Membership.objects.create(customer=one.owner, user=viewer, role="viewer", since=LONG_AGO)
        Membership.objects.create(customer=one.owner, user=trader, account=one.sub, since=LONG_AGO)
    stranger = build.customer(member=build.user()).memberships.get().user

    for name in ("confirmation", "confirmation_paper", "confirmation_data"):
        assert get(viewer, name, row.pk).status_code == 200, name
        for user in (trader, stranger, one.manager):
            assert get(user, name, row.pk).status_code == 404, (name, user)
    assert b"confirmations/" not in visit.client_of(trader).get(reverse("accounts:notices")).content
    assert "Ask a signatory or treasurer" in text_of(get(viewer, "confirmation", row.pk))
    assert post(viewer, "confirmation", row.pk, says="right").status_code == 422
    assert post(stranger, "confirmation", row.pk, says="right").status_code == 404
    row.refresh_from_db()
    assert row.status == "waiting"


def test_the_same_instant_is_asked_about_once(one: Desk) -> None:
    """R-ADM-11"""
    asked(one)
    again = post(build.user("finance"), "desk_confirmations", customer=one.owner.pk, as_of="2026-01-31T00:00")
    ahead = post(build.user("finance"), "desk_confirmations", customer=one.owner.pk, as_of="2027-01-31T00:00")

    assert (again.status_code, ahead.status_code) == (422, 422)
    assert "already" in text_of(again)
    assert "lies ahead" in text_of(ahead)
    assert BalanceConfirmation.objects.count() == 1


def test_a_posting_into_a_closed_month_is_a_refusal_in_words(one: Desk) -> None:
    """R-ADM-11: never an error page; here a proposal that waited over a close is released with a later date."""
    entry = wrong_deposit(one)
    closing.close(through=JANUARY, actor=BUILDER, at=TODAY)

    with pytest.raises(ledger.PeriodClosed, match="It can be booked with a later date"):
        corrections.reverse(entry_id=entry.pk, actor=BUILDER, at=NOON, reason="x")
