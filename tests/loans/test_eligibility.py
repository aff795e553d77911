"""Who may ask for which loan, with which accounts and coins: every refusal of R-VIP-01…06 on its field."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from accounts import people
from accounts.commands import acting
from accounts.models import Acceptance, Account, AuditRecord
from loans.vip import terms
from loans.vip.terms import TermSheet, Wish
from risk import debts, freezes, groups
from risk.models import Debt
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def check(desk: Desk, amount: str = "1000000", **changes: Any) -> TermSheet:
    return terms.check(desks.request(desk, amount, **changes), at=TEN)


def found(sheet: TermSheet) -> list[tuple[str, str]]:
    return [(problem.field, problem.code) for problem in sheet.problems]


# --- Who --------------------------------------------------------------------------------------------


def test_only_vips_and_those_a_manager_let_in_apply(db: None) -> None:
    """R-VIP-01"""
    desk = desks.set_up(vip_level=0)
    desks.card("USDT", "0.11", vip_level=0)

    assert found(check(desk)) == [("customer_id", "vip_only")]
    assert "Send an enquiry: a VIP manager can let you in." in check(desk).problems[0].message
    people.whitelist(customer_id=desk.owner.pk, actor=BUILDER, at=TEN)
    assert found(check(desk)) == []
    assert check(desk).lines[0].annual_rate == Decimal("0.11")


def test_only_the_master_applies(desk: Desk) -> None:
    """R-VIP-02"""
    sheet = check(desk, asked_by=desk.sub.pk)

    assert found(sheet) == [("asked_by", "master_only")]
    assert "Only the master account may apply" in sheet.problems[0].message
    assert found(check(desk, asked_by=desk.master.pk)) == []


def test_a_stranger_does_not_apply_for_the_customer(desk: Desk) -> None:
    assert found(check(desk, applicant_id=build.user().pk)) == [("applicant_id", "not_a_member")]


def test_the_agreement_is_accepted_first_and_again_when_it_is_new(desk: Desk) -> None:
    """R-VIP-16"""
    for number, hours in (("1", 3), ("2", 1)):
        at = TEN - timedelta(hours=hours)
        people.publish_agreement(version=number, text="Borrowing is risky.", actor=BUILDER, at=at)

        sheet = check(desk)
        assert found(sheet) == [("agreement", "agreement_needed")]
        assert sheet.agreement is not None
        assert sheet.agreement.version == number
        people.accept_agreement(
            customer_id=desk.owner.pk,
            user_id=desk.applicant.pk,
            version=number,
            actor=desk.borrower,
            at=at + timedelta(minutes=1),
        )
        assert found(check(desk)) == []

    assert check(desk).as_json()["agreement"] == "2"


def test_what_was_accepted_is_kept_with_time_and_version_and_cannot_be_changed(desk: Desk) -> None:
    """R-VIP-16, TRUST I-21: a new version asks anew and leaves the earlier acceptance as it was."""
    for version, day in (("2026-01", 1), ("2026-02", 2)):
        at = TEN - timedelta(days=3 - day)
        people.publish_agreement(version=version, text="Borrowing is risky.", actor=BUILDER, at=at)
        people.accept_agreement(
            customer_id=desk.owner.pk,
            user_id=desk.applicant.pk,
            version=version,
            actor=desk.borrower,
            at=at + timedelta(hours=1),
        )

    kept = Acceptance.objects.filter(customer=desk.owner).order_by("pk")
    assert list(kept.values_list("agreement__version", "user", "at")) == [
        ("2026-01", desk.applicant.pk, TEN - timedelta(days=2) + timedelta(hours=1)),
        ("2026-02", desk.applicant.pk, TEN - timedelta(days=1) + timedelta(hours=1)),
    ]
    told = AuditRecord.objects.filter(subject="people.accept_agreement").order_by("pk")
    assert [(row.actor, row.after["arguments"]["version"]) for row in told] == [
        (desk.borrower.label, "2026-01"),
        (desk.borrower.label, "2026-02"),
    ]
    with pytest.raises(DatabaseError), transaction.atomic():
        kept.update(at=TEN)
    assert check(desk).agreement_version == "2026-02"


@pytest.mark.parametrize("scope", ["account_uid", "asset", "everything"])
def test_a_freeze_stops_new_terms_with_its_reason_and_its_end(desk: Desk, scope: str) -> None:
    """R-ADM-04, R-VIP-13: of a collateral account, of the coin, of everything; and only until it ends."""
    places = {"account_uid": {"account_uid": desk.sub.pk}, "asset": {"asset": "USDT"}, "everything": {}}
    freezes.place(
        what="borrow",
        reason="Papers are missing",
        ends_at=TEN + timedelta(days=1),
        actor=BUILDER,
        at=TEN,
        **places[scope],
    )

    sheet = check(desk)

    assert found(sheet) == [("customer_id", "frozen")]
    assert "until 2 January 2026 10:00 UTC, when it ends by itself" in sheet.problems[0].message
    assert "Papers are missing" in sheet.problems[0].message
    desks.quote(TEN + timedelta(days=1))
    assert found(terms.check(desks.request(desk), at=TEN + timedelta(days=1))) == []


def test_a_frozen_collateral_coin_counts_nothing_for_a_new_loan(desk: Desk) -> None:
    """R-ADM-04: what is owed already is still secured by it."""
    desks.drawn(desk, "500000")
    freezes.place(
        what="collateral", reason="Fork", ends_at=TEN + timedelta(days=1), asset="BTC", actor=BUILDER, at=TEN
    )

    sheet = check(desk, "50000")

    assert found(sheet) == [("account_uids", "ltv_too_high")]
    assert "Frozen as collateral, these count nothing for a new loan: BTC." in sheet.problems[0].message
    assert sheet.effect is not None
    assert (sheet.effect.now.ltv, sheet.effect.after.ltv) == (Decimal("0.333333333333"), None)


def test_what_a_liquidation_left_owing_blocks_new_borrowing(desk: Desk) -> None:
    """R-GEN-78"""
    loan = desks.drawn(desk, "500000")
    with acting(BUILDER):
        [debt] = Debt.objects.locked(loan.debt_id)
        debts.make_residual(debt, at=TEN)

    sheet = check(desk, "50000")

    assert found(sheet) == [("customer_id", "residual_debt")]
    assert "500000.00000000 USDT is still owed" in sheet.problems[0].message


def test_contact_purpose_and_manager_are_checked(desk: Desk) -> None:
    """R-VIP-10"""
    sheet = check(desk, contact=" ", purpose="x" * 2001, manager_id=desk.applicant.pk)

    assert found(sheet) == [
        ("manager_id", "no_such_manager"),
        ("contact", "bad_contact"),
        ("purpose", "bad_purpose"),
    ]
    assert found(check(desk, manager_id=desk.manager.pk)) == []
    assert found(check(desk, purpose="Working\x00capital")) == [("purpose", "bad_purpose")]


# --- Where from and where to ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code"), [("sub_virtual", "virtual_receiver"), ("sub_managed", "managed_receiver")]
)
def test_the_receiver_is_the_master_or_a_real_sub(desk: Desk, kind: str, code: str) -> None:
    """R-VIP-03"""
    receiver = build.account(desk.owner, kind=kind)

    assert found(check(desk, receiver_uid=receiver.pk)) == [("receiver_uid", code)]


def test_the_receiver_is_none_of_its_collateral_accounts(desk: Desk) -> None:
    """R-VIP-03, R-GEN-14"""
    sheet = check(desk, account_uids=(desk.sub.pk, desk.master.pk))

    assert found(sheet) == [("account_uids", "receiver_as_collateral")]


def test_a_managed_account_is_no_collateral_and_a_virtual_one_is(desk: Desk) -> None:
    """R-VIP-04"""
    managed, virtual = (build.account(desk.owner, kind=kind) for kind in ("sub_managed", "sub_virtual"))

    assert found(check(desk, account_uids=(desk.sub.pk, managed.pk))) == [("account_uids", "managed_account")]
    assert found(check(desk, account_uids=(desk.sub.pk, virtual.pk))) == []


def test_other_peoples_accounts_do_not_exist(desk: Desk) -> None:
    """R-GEN-15: and an account that is nowhere reads the same."""
    stranger = build.account(build.customer())

    for uid in (stranger.pk, 1):
        theirs = check(desk, account_uids=(desk.sub.pk, uid))
        assert theirs.of("account_uids") == [f"Account {uid} is not one of your accounts."]
        to_them = check(desk, receiver_uid=uid)
        assert to_them.of("receiver_uid") == [f"Account {uid} is not one of your accounts."]


def test_one_to_fifty_collateral_accounts(desk: Desk) -> None:
    """R-VIP-04"""
    subs = [build.account(desk.owner).pk for _ in range(50)]

    assert ("account_uids", "too_many_accounts") in found(check(desk, account_uids=()))
    assert found(check(desk, account_uids=(desk.sub.pk, *subs[:49]))) == []
    assert found(check(desk, account_uids=(desk.sub.pk, *subs))) == [("account_uids", "too_many_accounts")]


def test_a_collateral_account_backs_one_receiver(desk: Desk) -> None:
    """R-GEN-13"""
    desks.drawn(desk, "500000")
    other = build.account(desk.owner)

    sheet = check(desk, "50000", receiver_uid=other.pk)

    assert found(sheet) == [("account_uids", "account_in_use")]
    assert sheet.problems[0].message.startswith("The current collateral account has been used")
    assert found(check(desk, "50000")) == []  # the same receiver may


def test_a_receiver_with_a_group_of_its_own_cannot_take_anothers_account(desk: Desk) -> None:
    """R-GEN-13"""
    other = build.account(desk.owner)
    build.deposit(other, "BTC", "25", at=LONG_AGO)
    receiver = build.account(desk.owner)
    desks.drawn(desk, "500000")
    desks.drawn(desk, "500000", receiver_uid=receiver.pk, account_uids=(other.pk,))

    sheet = check(desk, "50000", account_uids=(desk.sub.pk, other.pk))

    assert found(sheet) == [("account_uids", "account_in_use")]


# --- What -------------------------------------------------------------------------------------------


def test_up_to_ten_coins(desk: Desk) -> None:
    """R-VIP-05"""
    wishes = []
    for number in range(11):
        symbol = f"USD{number}"
        build.asset(symbol)
        build.fund_pool(symbol)
        desks.loan_limit(symbol)
        desks.card(symbol, "0.08")
        build.price(symbol, "1", at=TEN)
        wishes.append(Wish(symbol, Decimal(60000)))

    assert found(check(desk, wishes=tuple(wishes[:10]))) == []
    assert found(check(desk, wishes=tuple(wishes))) == [("wishes", "too_many_coins")]
    assert ("wishes", "too_many_coins") in found(check(desk, wishes=()))


def test_a_coin_is_asked_for_once(desk: Desk) -> None:
    twice = (Wish("USDT", Decimal(500000)), Wish("USDT", Decimal(1)))

    assert found(check(desk, wishes=twice)) == [("wishes.USDT", "coin_twice")]


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "Infinity", "1e18", "0.000000001"])
def test_an_amount_that_is_none_is_refused_on_its_coin(desk: Desk, amount: str) -> None:
    """R-GEN-01"""
    assert found(check(desk, amount)) == [("wishes.USDT", "bad_amount")]


def test_only_coins_the_desk_lends(desk: Desk) -> None:
    assert found(check(desk, wishes=(Wish("NOPE", Decimal(1)),))) == [("wishes.NOPE", "not_loanable")]


@pytest.mark.parametrize(
    ("rate_type", "term_days", "problem"),
    [
        ("fixed", None, ("rate_type", "fixed_needs_a_term")),
        ("fixed", 45, ("term_days", "bad_term")),
        ("floating", 30, ("rate_type", "bad_rate_type")),
    ],
)
def test_terms_and_rates_that_fit(
    desk: Desk, rate_type: str, term_days: int, problem: tuple[str, str]
) -> None:
    """R-VIP-20, R-VIP-21"""
    assert problem in found(check(desk, rate_type=rate_type, term_days=term_days))


@pytest.mark.parametrize(("rate_type", "term_days"), [("flexible", None), ("flexible", 60), ("fixed", 30)])
def test_the_terms_that_are_offered(desk: Desk, rate_type: str, term_days: int | None) -> None:
    """R-VIP-20, R-VIP-21"""
    assert found(check(desk, rate_type=rate_type, term_days=term_days)) == []


def test_a_coin_without_rate_or_limit_says_which(desk: Desk) -> None:
    """R-VIP-06"""
    build.asset("ETH")
    build.fund_pool("ETH", "10")
    build.price("ETH", "3000", at=TEN)

    sheet = check(desk, wishes=(Wish("USDT", Decimal(600000)), Wish("ETH", Decimal(10))))

    assert found(sheet) == [("wishes.ETH", "no_rate"), ("wishes.ETH", "no_limit")]


def test_a_coin_the_pool_lacks_stays_out_and_alone_it_is_refused(desk: Desk) -> None:
    """R-GEN-38, R-VIP-06: 9.99999999 ETH in the pool, 10 asked for."""
    build.asset("ETH")
    build.fund_pool("ETH", "9.99999999")
    build.price("ETH", "3000", at=TEN)
    desks.loan_limit("ETH")
    desks.card("ETH", "0.05")
    ether = Wish("ETH", Decimal(10))

    bundle = check(desk, wishes=(Wish("USDT", Decimal(600000)), ether))
    alone = check(desk, wishes=(ether,))

    assert (found(bundle), [line.asset for line in bundle.accepted_lines]) == ([], ["USDT"])
    assert bundle.lines[1].declined == (
        "The desk has too little ETH to lend now: 9.99999999, and you ask for 10 ETH. Ask for less, or send an"
        " enquiry."
    )
    assert found(alone) == [("wishes.ETH", "pool_empty")]
    build.fund_pool("ETH", "0.00000001")
    assert not check(desk, wishes=(ether,)).lines[0].declined


def test_a_coin_below_its_own_minimum(desk: Desk) -> None:
    """R-VIP-06"""
    desks.loan_limit("USDT", minimum="700000", at=LONG_AGO + timedelta(days=1))

    sheet = check(desk, "600000")

    assert found(sheet) == [("wishes.USDT", "below_minimum")]
    assert "the least is 700,000.00 USD" in sheet.problems[0].message


def test_a_lone_coin_over_its_limit_is_refused(desk: Desk) -> None:
    """R-VIP-06: at the limit it may, one unit above it may not."""
    desks.loan_limit("USDT", maximum="1000000", at=LONG_AGO + timedelta(days=1))

    assert found(check(desk)) == []
    assert found(check(desk, "1000000.00000001")) == [("wishes.USDT", "above_limit")]


def test_collateral_coins_must_count(desk: Desk) -> None:
    """R-GEN-33"""
    build.asset("DOGE")

    assert found(check(desk, coins=("BTC", "DOGE", "NOPE"))) == [
        ("coins", "not_collateral"),
        ("coins", "not_collateral"),
    ]
    assert ("coins", "no_coins") in found(check(desk, coins=()))


def test_only_chosen_coins_count(desk: Desk) -> None:
    """R-GEN-34, R-VIP-51: the BTC is there, but USDT was chosen."""
    assert found(check(desk, coins=("USDT",))) == [("account_uids", "ltv_too_high")]


def test_everything_wrong_is_said_at_once(desk: Desk) -> None:
    virtual = build.account(desk.owner, kind="sub_virtual")

    sheet = check(desk, "-5", receiver_uid=virtual.pk, contact="", rate_type="fixed", term_days=None)

    assert {field for field, _ in found(sheet)} == {"receiver_uid", "contact", "rate_type", "wishes.USDT"}
    assert sheet.effect is None


def test_the_check_agrees_with_the_chapter_that_opens_groups(desk: Desk) -> None:
    """What the check lets through, `groups` accepts; what it refuses, `groups` refuses. R-GEN-10, 14, 15"""
    stranger = build.account(build.customer())
    kinds = [build.account(desk.owner, kind=kind) for kind in Account.Kind.values if kind != "master"]

    for account in [*kinds, stranger, desk.master]:
        refused = bool(check(desk, account_uids=(account.pk,)).of("account_uids")[:1]) and (
            found(check(desk, account_uids=(account.pk,)))[0][1] != "ltv_too_high"
        )
        try:
            groups.check_accounts(customer=desk.owner, receiver=desk.master, accounts=[account])
        except groups.BadCollateralAccount:
            assert refused, account
        else:
            assert not refused, account
