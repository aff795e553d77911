"""Limits per order, client and desk, on what is lent and what is pledged: who is declined, why, and who goes on."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from accounts.commands import acting
from loans import limits
from loans.limits import OverPlatformCap, Usage
from loans.models import ClientTerms
from loans.vip import terms
from loans.vip.applications import TermsRefused
from loans.vip.terms import TermSheet, Wish
from risk.debts import PoolEmpty
from risk.models import AssetCap, LoanLimit
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk

LATER = LONG_AGO + timedelta(days=1)


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def check(desk: Desk, amount: str = "1000000", *, at: Any = TEN, **changes: Any) -> TermSheet:
    return terms.check(desks.request(desk, amount, **changes), at=at)


def found(sheet: TermSheet) -> list[tuple[str, str]]:
    return [(problem.field, problem.code) for problem in sheet.problems]


def cap(symbol: str, **caps: str) -> None:
    with acting(BUILDER):
        AssetCap.objects.create(
            product="vip",
            asset=build.asset(symbol),
            effective_at=LATER,
            **{name: Decimal(value) for name, value in caps.items()},
        )


def user_limit(
    symbol: str, user_maximum: str, *, vip_level: int | None = None, maximum: str = "10000000"
) -> None:
    with acting(BUILDER):
        LoanLimit.objects.create(
            product="vip",
            asset=build.asset(symbol),
            vip_level=vip_level,
            effective_at=LATER,
            minimum=Decimal(100),
            maximum=Decimal(maximum),
            user_maximum=Decimal(user_maximum),
        )


def own(desk: Desk, **values: Any) -> None:
    with acting(BUILDER):
        ClientTerms.objects.create(customer=desk.owner, starts_at=LATER, reason="Test", **values)


def second_coin() -> None:
    build.asset("USDC")
    build.fund_pool("USDC")
    desks.card("USDC", "0.08")
    desks.loan_limit("USDC")
    desks.quote(TEN, USDC="1")


TWO = (Wish("USDT", Decimal(500001)), Wish("USDC", Decimal(500000)))


# --- Per coin: one is declined, the others go on --------------------------------------------------


def test_a_coin_over_its_limit_stays_out_and_the_other_goes_on(desk: Desk) -> None:
    """R-VIP-06: 500,001 USD is above 500,000 USD for one request; the words name the way out."""
    second_coin()
    desks.loan_limit("USDT", maximum="500000", at=LATER)

    sheet = check(desk, wishes=TWO)

    assert found(sheet) == []
    assert [line.asset for line in sheet.accepted_lines] == ["USDC"]
    assert sheet.lines[0].declined == (
        "500001 USDT is worth 500,001.00 USD, above your limit of 500,000.00 USD for one request. For more send an"
        " enquiry; your VIP manager can arrange it outside the form."
    )
    assert sheet.value == 500000
    assert found(check(desk, "500001")) == [("wishes.USDT", "above_limit")]


def test_all_or_nothing_stops_the_whole_bundle(desk: Desk) -> None:
    """R-VIP-19: the default is per coin."""
    second_coin()
    desks.loan_limit("USDT", maximum="500000", at=LATER)

    assert found(check(desk, wishes=TWO, all_or_nothing=True)) == [("wishes.USDT", "above_limit")]
    desks.loan_limit("USDT", maximum="500001", at=LATER + timedelta(days=1))
    assert found(check(desk, wishes=TWO, all_or_nothing=True)) == []


def test_limits_are_by_vip_level(db: None) -> None:
    """R-VIP-06, R-GEN-37: level 3 has its own row; every other level has the common one."""
    desk = desks.set_up(vip_level=3)
    user_limit("USDT", "900000", vip_level=3, maximum="700000")

    [line] = check(desk, "700000").lines
    assert (line.declined, line.maximum, line.max_borrow) == ("", 700000, 700000)
    assert check(desk, "700000.01").lines[0].declined_code == "above_limit"
    with acting(BUILDER):
        desk.owner.vip_level = 2
        desk.owner.save(update_fields=["vip_level"])
    assert check(desk, "1000000").lines[0].declined == ""


def test_the_user_maximum_counts_all_that_is_owed_of_the_coin(desk: Desk) -> None:
    """R-GEN-37: 500,000 and its first day's interest are owed; exactly the rest may be borrowed."""
    user_limit("USDT", "600000")
    desks.drawn(desk, "500000")
    at = TEN + timedelta(days=1)
    desks.quote(at)
    rest = Decimal(100000) - Decimal("115.06849316")  # ceil(500,000 x 0.084 / 365)

    exactly, over = check(desk, str(rest), at=at), check(desk, str(rest + Decimal("0.00000001")), at=at)

    assert found(exactly) == []
    assert exactly.lines[0].max_borrow == rest
    assert found(over) == [("wishes.USDT", "user_limit")]
    assert (
        "you owe USDT worth 500,115.07 USD, and your limit of 600,000.00 USD leaves" in over.lines[0].declined
    )


def test_good_credit_history_lifts_order_and_user_maximum_but_neither_desk_nor_pool(desk: Desk) -> None:
    """R-VIP-06"""
    user_limit("USDT", "600000", maximum="600000")
    assert found(check(desk)) == [("wishes.USDT", "above_limit")]
    own(desk, is_uncapped=True)

    [line] = check(desk).lines
    assert (line.declined, line.maximum, line.max_borrow) == ("", None, 1080000)
    cap("USDT", platform_borrow="999999.99")
    assert found(check(desk)) == [("wishes.USDT", "platform_limit")]


def test_an_uncapped_client_still_meets_the_pool(desk: Desk) -> None:
    """R-VIP-06, R-GEN-38"""
    own(desk, is_uncapped=True)

    assert found(check(desk, "1000000000.00000001")) == [("wishes.USDT", "pool_empty")]


def test_the_largest_exposure_is_over_all_coins_in_the_order_asked(desk: Desk) -> None:
    """R-ADM-02, R-GEN-37: 500,001 fits 600,000 USD, 500,000 more does not; without the first it does."""
    second_coin()
    own(desk, max_exposure_usd=Decimal(600000))

    sheet = check(desk, wishes=TWO)

    assert [(line.asset, line.declined_code) for line in sheet.lines] == [
        ("USDT", ""),
        ("USDC", "max_exposure"),
    ]
    assert "your limit of 600,000.00 USD over all coins leaves 99,999.00 USD" in sheet.lines[1].declined
    assert found(check(desk, wishes=TWO[::-1])) == []
    assert check(desk, wishes=TWO[1:]).lines[0].declined == ""


def test_a_client_borrows_the_allowed_coins_only(desk: Desk) -> None:
    """R-ADM-02"""
    second_coin()
    own(desk, allowed_coins=["USDC"])

    sheet = check(desk, wishes=TWO)

    assert [(line.asset, line.declined_code) for line in sheet.lines] == [
        ("USDT", "coin_not_allowed"),
        ("USDC", ""),
    ]
    assert sheet.lines[0].declined.startswith(
        "Your terms do not include loans in USDT. For more send an enquiry"
    )


# --- The desk's caps --------------------------------------------------------------------------------


def test_the_desk_lends_up_to_its_cap_over_all_clients(desk: Desk) -> None:
    """R-GEN-37: what another client owes counts; principal only, since interest was not lent."""
    cap("USDT", platform_borrow="1500000")
    build.debt(build.group(build.master(build.customer()), []), amount="600000", at=LONG_AGO)

    assert check(desk, "900000").lines[0].max_borrow == 900000
    over = check(desk, "900000.00000001")
    assert found(over) == [("wishes.USDT", "platform_limit")]
    assert "the desk can lend USDT worth 900,000.00 USD more. Ask for less." in over.lines[0].declined


def test_after_a_payout_the_cap_is_looked_at_again(desk: Desk) -> None:
    """R-GEN-37: on the cap is fine, one unit above is undone."""
    cap("USDT", platform_borrow="600000")
    group = build.group(desk.master, [])
    build.debt(group, amount="600000")
    limits.refuse_over_platform("USDT", TEN)

    def one_unit_more() -> None:
        with transaction.atomic():
            build.debt(group, amount="0.00000001")
            limits.refuse_over_platform("USDT", TEN)

    with pytest.raises(OverPlatformCap, match=r"at most 600,000\.00 USD in all"):
        one_unit_more()

    assert group.debts.count() == 1
    limits.refuse_over_platform("BTC", TEN)  # a coin without a cap


def test_an_empty_pool_has_its_own_code() -> None:
    """R-GEN-38"""
    assert (PoolEmpty.code, PoolEmpty.sapi) == ("pool_empty", -10041)


def test_of_payouts_at_once_no_more_than_the_cap_get_through(
    committed_db: Any, in_threads: Callable[[list[Callable[[], Any]]], list[Any]]
) -> None:
    """R-GEN-37: six payouts of 200,000 under a cap of 600,000: exactly three."""
    build.limits()
    for symbol in ("BTC", "USDT"):
        build.asset(symbol)
    build.fund_pool("USDT")
    build.price("USDT", "1", at=TEN)
    cap("USDT", platform_borrow="600000")
    groups = [build.group(build.master(build.customer()), []) for _ in range(6)]

    def pay_out(number: int) -> Callable[[], Any]:
        def run() -> Any:
            with acting(BUILDER):
                debt = build.debt(groups[number], amount="200000")
                limits.refuse_over_platform("USDT", TEN)
            return debt

        return run

    results = in_threads([pay_out(number) for number in range(6)])

    refused = [result for result in results if isinstance(result, OverPlatformCap)]
    assert (len(refused), sum(group.debts.count() for group in groups)) == (3, 3)
    assert [usage.used for usage in limits.usage_of_the_desk(at=TEN)] == [600000]


def test_of_a_clients_loans_granted_at_once_no_more_than_its_maximum_get_through(
    committed_db: Any, in_threads: Callable[[list[Callable[[], Any]]], list[Any]]
) -> None:
    """R-GEN-37: three groups of one client, 500,000 each, under 1,000,000 in all: exactly two."""
    desk = desks.set_up()
    user_limit("USDT", "1000000")
    requests = []
    for _ in range(3):
        receiver, pledged = build.account(desk.owner), build.account(desk.owner)
        build.deposit(pledged, "BTC", "25", at=LONG_AGO)
        row = desks.submitted(desk, "500000", receiver_uid=receiver.pk, account_uids=(pledged.pk,))
        requests.append(row)

    results = in_threads([lambda row=row: desks.approved(desk, row) for row in requests])  # type: ignore[misc]

    assert [type(result) for result in results if isinstance(result, Exception)] == [TermsRefused]
    assert sum(debt.principal for debt in desk.owner.debts.all()) == 1000000


# --- Collateral -------------------------------------------------------------------------------------


def test_new_collateral_stops_at_the_cap_and_existing_use_is_untouched(desk: Desk) -> None:
    """R-GEN-37: 25 BTC at 60,000 is 1,500,000 USD; below that no new use, but the group that has it borrows on."""
    cap("BTC", platform_collateral="1499999.99")
    assert found(check(desk, "500000")) == [("coins", "collateral_cap")]
    assert (
        "Leave BTC out, choose another account, or send an enquiry." in check(desk, "500000").of("coins")[0]
    )
    with acting(BUILDER):
        AssetCap.objects.create(
            product="vip",
            asset_id="BTC",
            effective_at=LATER + timedelta(days=1),
            platform_collateral=Decimal(1500000),
        )
    assert found(check(desk, "500000")) == []
    desks.drawn(desk, "500000")

    assert found(check(desk, "50000")) == []  # the same wallets: nothing new
    build.deposit(desk.sub, "BTC", "1")  # a top-up is no new use either
    assert found(check(desk, "50000")) == []
    more = build.account(desk.owner)
    build.deposit(more, "BTC", "0.00000001", at=LONG_AGO)
    assert found(check(desk, "50000", account_uids=(desk.sub.pk, more.pk))) == [("coins", "collateral_cap")]


def test_the_cap_per_client_counts_that_client_only(desk: Desk) -> None:
    """R-GEN-37"""
    other = build.customer()
    theirs = build.account(other)
    build.deposit(theirs, "BTC", "100", at=LONG_AGO)
    build.group(build.master(other), [theirs])
    cap("BTC", user_collateral="1500000")

    assert found(check(desk, "500000")) == []
    cap_below = AssetCap(product="vip", asset_id="BTC", effective_at=TEN, user_collateral=Decimal("1499999"))
    with acting(BUILDER):
        cap_below.save()
    assert found(check(desk, "500000")) == [("coins", "collateral_cap")]
    assert (
        "your collateral is limited to 1,499,999.00 USD and 0.00 USD is in use" in check(desk).of("coins")[0]
    )


# --- How full they are ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "mark"), [("79.99", ""), ("80", "yellow"), ("99.99", "yellow"), ("100", "red"), ("101", "red")]
)
def test_yellow_from_80_percent_and_red_from_100(used: str, mark: str) -> None:
    """R-GEN-37"""
    assert Usage("Lent by the desk", "BTC", Decimal(used), Decimal(100)).mark == mark


def test_a_cap_of_nothing_is_full() -> None:
    usage = Usage("Lent by the desk", "BTC", Decimal(0), Decimal(0))
    assert (usage.mark, usage.share, usage.left) == ("red", 1, 0)


money = st.decimals(min_value=0, max_value=10**9, places=8)


@given(used=money, cap=money)
def test_the_mark_and_what_is_left_agree(used: Decimal, cap: Decimal) -> None:
    """R-GEN-37: red exactly when nothing is left; never less than 0."""
    usage = Usage("Lent by the desk", "BTC", used, cap)
    assert (usage.mark == "red") == (usage.left == 0)
    assert usage.left >= 0
    assert (usage.mark != "") == (5 * used >= 4 * cap)


def test_the_client_page_reads_what_the_client_has_used(desk: Desk) -> None:
    """R-GEN-37"""
    user_limit("USDT", "600000")
    own(desk, max_exposure_usd=Decimal(500000))
    cap("BTC", user_collateral="3000000")
    desks.drawn(desk, "500000")

    rows = [
        (usage.name, usage.asset, usage.used, usage.mark) for usage in limits.usage_of(desk.owner, at=TEN)
    ]

    assert rows == [
        ("Owed over all coins", "", 500000, "red"),
        ("Owed by the client", "USDT", 500000, "yellow"),
        ("your collateral", "BTC", 1500000, ""),
    ]


def test_of_a_coin_without_an_own_cap_nothing_is_used(desk: Desk) -> None:
    """R-GEN-37, R-ADM-02: a client whose terms lift the cap is not shown over it"""
    user_limit("USDT", "500000")
    with acting(BUILDER):
        ClientTerms.objects.create(customer=desk.owner, asset_id="USDT", is_uncapped=True, starts_at=LONG_AGO)
    desks.drawn(desk)
    assert "Owed by the client" not in {usage.name for usage in limits.usage_of(desk.owner, at=TEN)}
