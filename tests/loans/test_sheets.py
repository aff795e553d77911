"""Term sheets as documents: canonical, compared, signed, and provable afterwards (R-VIP-15, R-VIP-24)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.commands import acting
from accounts.errors import Refused
from loans.models import Application, Loan, Offer, SignedSheet
from loans.vip import applications, offers, origination, sheet_pdf, sheets, terms
from loans.vip.moves import TermsChanged
from loans.vip.sheets import CoinRate
from risk import parameters
from risk.handling import FeeBase, Mode
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk
from tests.loans.talks import asked, last, move, wanted

FEW = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


@contextmanager
def undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


BODY: dict[str, Any] = {
    "request": 7,
    "version": 2,
    "at": "2026-01-01T10:00:00+00:00",
    "renews": None,
    "replaces": None,
    "receiver": 10001,
    "accounts": [10002],
    "coins": ["BTC"],
    "loans": [{"asset": "USDT", "amount": "1000000", "rate": "0.084", "spread": "0"}],
    "rate_type": "fixed",
    "term_days": 30,
    "lines": {
        "initial": "0.72",
        "margin_call": "0.77",
        "liquidation": "0.91",
        "cutoff": "0.95",
        "fee": "0.02",
    },
    "overdue_hours": 168,
    "late_multiplier": 3,
    "all_or_nothing": False,
    "auto_repay": False,
    "agreement": "1",
}


def paper(**told: Any) -> bytes:
    words = {"customer": "Firm", "body": BODY, "sha256": "ab" * 32, "signed_by": "user:1", "signed_at": TEN}
    return sheet_pdf.render(**(words | told))


# --- Bodies -------------------------------------------------------------------------------------------------


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    """R-VIP-15: known from `printf '{"a":null,"b":"0.1"}' | sha256sum`."""
    turned = dict(reversed(BODY.items()))
    assert sheets.digest(turned) == sheets.digest(BODY)
    assert sheets.canonical({"b": "0.1", "a": None}) == b'{"a":null,"b":"0.1"}'
    known = "b38c96729daa125fd4da69ae8303878b7b4849d1c326e071f08b8c3c527e0ce7"
    assert sheets.digest({"b": "0.1", "a": None}) == known


@pytest.mark.parametrize(
    ("value", "text"), [("0.720000000000", "0.72"), ("1E+3", "1000"), ("0E-8", "0"), ("-0.0050", "-0.005")]
)
def test_one_number_has_one_text(value: str, text: str) -> None:
    """R-VIP-15: equal terms have equal bytes."""
    assert sheets.plain(Decimal(value)) == text


@given(
    rate=st.decimals(0, Decimal("0.999999999999"), places=12),
    term=st.integers(1, 365),
    hours=st.integers(1, 8760),
    initial=st.decimals(Decimal("0.01"), Decimal("0.76"), places=12),
)
def test_what_is_wanted_is_what_is_read_back(rate: Decimal, term: int, hours: int, initial: Decimal) -> None:
    """R-VIP-11, R-VIP-24: no digit is lost between a wish and the body, and only the wish differs."""
    want = replace(
        wanted(), rates=(CoinRate("USDT", rate),), term_days=term, overdue_hours=hours, initial=initial
    )
    body = sheets.revised(BODY, want, version=3, replaces=None, at=TEN)

    assert sheets.wanted_of(body) == want
    expected = set()
    expected |= {"rate.USDT"} if rate != Decimal("0.084") else set()
    expected |= {"term_days"} if term != 30 else set()
    expected |= {"overdue_hours"} if hours != 168 else set()
    expected |= {"lines.initial"} if initial != Decimal("0.72") else set()
    assert sheets.differences(BODY, body) == expected
    assert sheets.digest(body) != sheets.digest(BODY)


def test_a_flexible_sheet_bargains_over_the_spread() -> None:
    """R-VIP-23, R-VIP-24: the rate stays flexible."""
    flexible = BODY | {"rate_type": "flexible", "loans": [BODY["loans"][0] | {"rate": "flexible"}]}
    want = wanted("-0.005", term_days=None)

    body = sheets.revised(flexible, want, version=3, replaces=None, at=TEN)

    assert body["loans"][0] == {"asset": "USDT", "amount": "1000000", "rate": "flexible", "spread": "-0.005"}
    assert body["term_days"] is None


# --- Paper --------------------------------------------------------------------------------------------------


def test_the_same_sheet_gives_the_same_paper() -> None:
    """R-VIP-15: dated by the signature alone."""
    assert paper() == paper()
    assert paper() != paper(signed_at=TEN + timedelta(minutes=1))
    assert paper().startswith(b"%PDF-")


def test_the_paper_says_how_collateral_is_sold_and_what_the_fee_is_taken_on() -> None:
    """R-VIP-24, R-GEN-75: the fee was always said to be of the debt repaid."""
    told = {"mode": "stepped", "target": "0.65", "fee_base": "collateral_sold", "call_trades": "none"}
    rows = dict(sheet_pdf._terms(BODY | {"handling": told}))

    assert (rows["Liquidation fee"], rows["Sold"]) == ("2 % of the collateral sold", "in steps to LTV 65 %")
    assert rows["Trades in a margin call"] == "none"
    assert dict(sheet_pdf._terms(BODY))["Liquidation fee"] == "2 % of the debt repaid"
    assert paper(body=BODY | {"handling": told}) != paper()


def test_a_clients_own_handling_is_in_the_sheet_and_bound_by_what_was_shown(desk: Desk) -> None:
    """R-VIP-24, R-VIP-63: in the body, so under its digest; a sheet shown before it changed is not accepted."""
    shown = terms.check(desks.request(desk), at=TEN).fingerprint
    asked = {"product": "vip", "customer": desk.owner, "actor": BUILDER, "at": TEN}
    parameters.publish_handling(mode=Mode.STEPPED, fee_base=FeeBase.COLLATERAL_SOLD, **asked)

    with pytest.raises(TermsChanged):
        applications.submit(
            request=desks.request(desk), accepted=shown, actor=desk.borrower, at=TEN + timedelta(seconds=1)
        )
    loan = desks.drawn(desk)

    assert loan.sheet is not None
    assert loan.sheet.body["handling"] == {
        "mode": "stepped",
        "target": None,
        "fee_base": "collateral_sold",
        "call_trades": "lowering",
    }


@given(name=st.text(max_size=80))
def test_no_name_breaks_the_paper(name: str) -> None:
    """R-VIP-15: what users typed is printed, never read."""
    made = paper(customer=name, note=name)
    assert made.startswith(b"%PDF-")
    for dangerous in (b"/JavaScript", b"/URI", b"/Launch", b"/OpenAction /"):
        assert dangerous not in made
    assert sheet_pdf.inert(name).encode("latin-1").decode("latin-1").isprintable() or not name


# --- Signing ------------------------------------------------------------------------------------------------


def test_the_accepted_sheet_is_signed_and_its_digest_is_on_the_loan(desk: Desk) -> None:
    """R-VIP-15"""
    application = desks.approved(desk, desks.submitted(desk))

    sheet, loan = SignedSheet.objects.get(), Loan.objects.get()
    assert (loan.sheet, loan.sheet_sha256) == (sheet, sheet.sha256)
    assert (sheet.offer, sheet.body) == (application.accepted, application.accepted.body)  # type: ignore[union-attr]
    assert (sheet.signed_at, sheet.signed_by) == (TEN, desk.borrower.label)
    assert sheets.tampered() == []


@pytest.mark.breaks_the_books
def test_nobody_changes_what_was_signed_and_a_change_would_be_seen(desk: Desk) -> None:
    """R-VIP-15: the database refuses; what got past it shows in the proof."""
    desks.drawn(desk)
    for table, column in (
        ("loans_signedsheet", "body"),
        ("loans_offer", "body"),
        ("loans_loan", "sheet_sha256"),
    ):
        statement = f"UPDATE {table} SET {column} = {column}"  # noqa: S608  names of ours
        refused = pytest.raises(DatabaseError, match="permission denied")
        with refused, acting(BUILDER), connection.cursor() as cursor:
            cursor.execute(statement)
    sheet = SignedSheet.objects.get()
    with acting(BUILDER):
        SignedSheet.objects.create(
            customer=desk.owner,
            body=sheet.body | {"term_days": 60},
            sha256="0" * 64,
            pdf=b"%PDF-other",
            pdf_sha256=sheet.pdf_sha256,
            signed_by="user:1",
            signed_at=TEN,
        )

    assert [problem.partition(": ")[2] for problem in sheets.tampered()] == [
        "the terms are not those that were signed",
        "the PDF is not the one that was signed",
    ]


def test_one_offer_is_signed_once(desk: Desk) -> None:
    """R-VIP-15, TRUST I-23"""
    desks.drawn(desk)
    sheet = SignedSheet.objects.get()
    with pytest.raises(IntegrityError), transaction.atomic(), acting(BUILDER):
        sheets.sign(customer=desk.owner, body=sheet.body, signed_by="user:1", at=TEN)


def test_a_renewal_has_a_sheet_of_the_same_shape(desk: Desk) -> None:
    """R-VIP-15, R-VIP-42"""
    loan = desks.drawn(desk)
    assert loan.sheet is not None
    body = sheets.body_for_renewal(
        loan,
        lines=sheets.lines_of(loan.sheet.body),
        amount=loan.amount,
        annual_rate=Decimal("0.09"),
        spread=Decimal(0),
        term_days=60,
        overdue_hours=168,
        late_multiplier=3,
        auto_repay=False,
        agreement="",
        at=datetime(2026, 1, 26, tzinfo=UTC),
    )

    assert body.keys() == loan.sheet.body.keys()
    assert (body["accounts"], body["coins"]) == ([desk.sub.pk], ["BTC"])
    assert sheets.differences(loan.sheet.body, body) == {"rate.USDT", "term_days"}
    with acting(BUILDER):
        sheets.sign(customer=desk.owner, body=body, signed_by="user:1", at=TEN)
    assert sheets.tampered() == []


# --- Any sequence of moves ----------------------------------------------------------------------------------

MOVES = [
    "counter_offer",
    "accept_counter",
    "accept_offer",
    "counter",
    "decline_offer",
    "approve",
    "cancel",
    "reject",
]
STEPS = st.lists(st.tuples(st.sampled_from([*MOVES, *MOVES[:5]]), st.integers(1, 9)), max_size=12)


def _step(desk: Desk, application: Application, name: str, tenths: int) -> None:
    rate = {"wanted": wanted(f"0.0{tenths}")} if name in {"counter_offer", "counter"} else {}
    if name == "approve":
        desks.approved(desk, application)
    elif name == "cancel":
        applications.cancel(application_id=application.pk, actor=desk.borrower, at=TEN)
    elif name == "reject":
        origination.reject(application_id=application.pk, actor=desk.decider, at=TEN, reason="No.")
    else:
        move(name, application, desk, **rate)


@FEW
@given(satisfied=st.booleans(), steps=STEPS)
def test_any_moves_leave_one_accepted_sheet_whose_hash_is_on_every_loan(
    desk: Desk, satisfied: bool, steps: list[tuple[str, int]]
) -> None:
    """R-VIP-11, R-VIP-15, R-VIP-24: whatever both sides do, and in which order."""
    with undone():
        application = desks.submitted(desk) if satisfied else asked(desk)
        for name, tenths in [*steps, ("approve", 1)]:
            try:
                with transaction.atomic():
                    _step(desk, application, name, tenths)
            except Refused:
                pass  # an expected no; the state below must hold all the same
            _holds(application)


def _holds(application: Application) -> None:
    application.refresh_from_db()
    made = list(application.offers.order_by("version"))
    assert [offer.version for offer in made] == list(range(1, len(made) + 1))
    accepted = [offer for offer in made if offer.status == Offer.Status.ACCEPTED]
    waiting = [offer for offer in made if offer.status == Offer.Status.OPEN]
    is_settled = application.status in {"submitted", "disbursed"}
    assert [application.accepted] == accepted if is_settled else not accepted
    assert len(waiting) <= (application.status in {"negotiating", "offered"})
    loans = list(Loan.objects.filter(line__application=application))
    assert bool(loans) == (application.status == "disbursed")
    for loan in loans:
        assert loan.sheet_sha256 == accepted[0].sha256 == sheets.digest(accepted[0].body)
        assert sheets.rates_of(accepted[0].body) == {loan.asset_id: loan.annual_rate}
    assert not offers.expire_due(at=TEN)
    assert last(application).sha256 == sheets.digest(last(application).body)
