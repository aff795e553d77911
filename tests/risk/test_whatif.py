"""R-FTR-01: what a what-if says is what the engine does when the change is really made."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from accounts.errors import Refused
from loans.models import Loan
from loans.vip import repayment
from risk import book, deleveraging, freezes, gate, groups, parameters, prospects, sweep, whatif
from risk.handling import Mode
from risk.levels import Action, Band, band
from risk.models import CollateralGroup, Liquidation, MarginCall
from risk.prospects import Fate
from risk.valuation import Tier
from risk.whatif import Borrowing, Changes, Repayment, TopUp, Trade, Withdrawal
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk
from tests.loans.desk import Desk

D = Decimal
LATER = TEN + timedelta(seconds=10)
COINS = ("BTC", "ETH", "SOL", "USDT")
PLACES = {"BTC": 8, "ETH": 6, "SOL": 2, "USDT": 8}
PRICES = {"BTC": D(60_000), "ETH": D(3_000), "SOL": D(150), "USDT": D(1)}

pytestmark = pytest.mark.django_db


@contextmanager
def undone() -> Iterator[None]:
    """Every example starts from the same desk."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def market() -> Desk:
    """25 BTC and other coins in two collateral accounts."""
    for coin in ("ETH", "SOL"):
        build.asset(coin, places=PLACES[coin])
    build.ratios("ETH", ("0", "0.9"), ("200000", "0.6"))
    build.ratios("SOL", ("0", "0.8"), ("30000", "0"))
    made = desk.set_up()
    quote(TEN)
    for coin in ("BTC", "ETH", "SOL"):
        build.fund_pool(coin, "100000")
    second = build.account(made.owner)
    build.deposit(made.sub, "ETH", "100", at=TEN)
    build.deposit(second, "SOL", "400", at=TEN)
    build.deposit(second, "BTC", "1", at=TEN)
    return made


def quote(at: Any, **usd: Decimal) -> None:
    build.prices(at=at, **{coin: str(price) for coin, price in (PRICES | usd).items()})


def borrowed(market: Desk, amount: str = "1000000") -> CollateralGroup:
    accounts = [account.pk for account in market.owner.accounts.exclude(pk=market.master.pk).order_by("pk")]
    return desk.drawn(market, amount, account_uids=tuple(accounts), coins=COINS).group


def amounts(coin: str, most: int) -> st.SearchStrategy[Decimal]:
    unit = D(1).scaleb(-PLACES[coin])
    return st.integers(1, most * 10 ** PLACES[coin]).map(lambda units: units * unit)


HELD = (("BTC", "ETH"), ("BTC", "SOL"))  # in the first and in the second account
MOST = {"BTC": 30, "ETH": 120, "SOL": 500, "USDT": 1_000_000}
coins = st.sampled_from(COINS)
price_changes = st.dictionaries(
    st.sampled_from(COINS[:3]), st.integers(40, 140).map(lambda percent: D(percent) / 100), max_size=3
)
ratio_changes = st.dictionaries(
    coins,
    st.integers(0, 100).flatmap(
        lambda top: st.tuples(st.just(top), st.integers(0, top), st.integers(1, 2_000_000))
    ),
    max_size=1,
)


@st.composite
def steps(draw: st.DrawFn) -> tuple[str, str, Decimal, str, int]:
    """What, a coin, an amount, a coin to buy, and which of the two accounts; mostly of coins that are there."""
    number = draw(st.integers(0, 1))
    coin = draw(st.sampled_from(HELD[number]) | coins)
    return (
        draw(st.sampled_from(["trade", "top_up", "repay", "withdraw"])),
        coin,
        draw(amounts(coin, MOST[coin] // draw(st.sampled_from([25, 5, 1])))),
        draw(coins.filter(lambda other: other != coin)),
        number,
    )


def change_of(group: CollateralGroup, drawn: tuple[str, str, Decimal, str, int]) -> whatif.Change:
    what, coin, amount, buy, number = drawn
    uid = group.members.order_by("account_id")[number].account_id
    if what == "repay":
        return Repayment(group.debts.get().pk, amount if coin == "USDT" else amount * 1000 % 1_000_000 + 1)
    if what == "trade":
        return Trade(uid, coin, amount, buy)
    return TopUp(uid, coin, amount) if what == "top_up" else Withdrawal(uid, coin, amount)


def really(market: Desk, group: CollateralGroup, change: whatif.Change) -> str:
    """Do it by the command; the refusal's code, or nothing."""
    by = {"actor": market.borrower, "at": LATER}
    try:
        with transaction.atomic():
            if isinstance(change, TopUp):
                gate.deposit(account_uid=change.uid, asset=change.asset, amount=change.amount, **by)
            elif isinstance(change, Repayment):
                loan = Loan.objects.get(debt=change.debt_id)
                repayment.repay(loan_id=loan.pk, amount=change.amount, **by)
            elif isinstance(change, Trade):
                gate.trade(
                    account_uid=change.uid, sell=change.sell, amount=change.amount, buy=change.buy, **by
                )
            elif isinstance(change, Withdrawal):
                gate.withdraw(
                    account_uid=change.uid, asset=change.asset, amount=change.amount, address="bc1q", **by
                )
    except Refused as refusal:
        return refusal.code
    return ""


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    amount=st.integers(700_000, 1_200_000),
    moved=price_changes,
    ratios=ratio_changes,
    drawn=st.lists(steps(), max_size=4),
)
def test_a_what_if_equals_what_is_really_done(
    market: Desk,
    amount: int,
    moved: dict[str, Decimal],
    ratios: dict[str, tuple[int, int, int]],
    drawn: list[tuple[str, str, Decimal, str, int]],
) -> None:
    """R-FTR-01: LTV, refusals, max borrow, max withdraw, line prices and the watch, to the last unit"""
    with undone():
        group = borrowed(market, str(amount))
        build.deposit(market.master, "USDT", "2000000", at=TEN)
        new = {coin: PRICES[coin] * factor for coin, factor in moved.items()}
        tiers = {
            coin: (Tier(D(0), D(top) / 100), Tier(D(floor), D(rest) / 100))
            for coin, (top, rest, floor) in ratios.items()
        }
        changes = Changes(prices=new, ratios=tiers, steps=tuple(change_of(group, one) for one in drawn))
        quote(LATER)
        asked = whatif.ask(book.state_of(group, at=LATER), changes, at=LATER)

        quote(LATER, **new)
        for coin, found in tiers.items():
            parameters.publish_ratios(
                asset=coin,
                tiers=tuple((tier.floor, tier.ratio) for tier in found),
                effective_at=LATER,
                actor=BUILDER,
                at=LATER,
            )
        for answer in asked.answers:
            code = really(market, group, answer.change)
            assert bool(code) is not answer.allowed, (answer, code)
            event(f"{type(answer.change).__name__}: {code or 'done'}")
        group.refresh_from_db()
        assert_same(group, asked)
        assert_the_watch_agrees(group, asked)


def assert_same(group: CollateralGroup, asked: whatif.WhatIf) -> None:
    real = book.state_of(group, at=LATER)
    if group.closed_at is not None:
        assert asked.worth.debt == 0
        return
    assert asked.worth == real.worth(permission=False)
    assert asked.after.worth() == real.worth()
    assert asked.band is band(real.worth(permission=False), real.lines)
    for line in (real.lines.margin_call, real.lines.liquidation):
        assert prospects.fall_to(asked.after, line) == prospects.fall_to(real, line)
        for coin in COINS:
            assert prospects.line_price(asked.after, coin, line) == prospects.line_price(real, coin, line)
    for coin in COINS:
        most = prospects.most_borrow(asked.after, coin)
        assert most == prospects.most_borrow(real, coin)
        assert_most_is_what_the_matrix_lets_borrow(real, coin, most)
    for uid in real.members:
        for coin in COINS:
            held = sum(
                (w.balance for w in asked.after.wallets if (w.uid, w.asset) == (uid, coin)), start=D(0)
            )
            most = prospects.most_withdraw(asked.after, coin, held)
            assert most == gate.most_withdrawable(account_uid=uid, asset=coin, at=LATER)


def assert_most_is_what_the_matrix_lets_borrow(real: book.GroupState, coin: str, most: Decimal) -> None:
    def permitted(amount: Decimal) -> bool:
        try:
            groups.permit(
                action=Action.BORROW, before=real, after=real.changed(borrowed={coin: amount}), at=LATER
            )
        except groups.NotPermitted:
            return False
        return True

    if band(real.worth(), real.lines) is Band.SAFE and most:
        assert permitted(most)
    assert not permitted(most + D(1).scaleb(-PLACES[coin]))


def assert_the_watch_agrees(group: CollateralGroup, asked: whatif.WhatIf) -> None:
    """Two readings on the same prices, so that a breach is confirmed (R-GEN-23)."""
    for second in (0, 5, 10):
        at = LATER + timedelta(seconds=second)
        quote(at, **{coin: asked.after.quotes[coin].price for coin in COINS})
        assert not sweep.sweep(at=at).failed
    fate = asked.foreseen.fate
    event(f"the watch: {fate}")
    assert Liquidation.objects.filter(group=group).exists() is (fate is Fate.SOLD), asked.foreseen
    called = MarginCall.objects.filter(group=group).exists()
    assert called is (fate is Fate.CALLED), asked.foreseen


# --- One by one ---------------------------------------------------------------------------------------------


def test_each_change_by_hand(market: Desk) -> None:
    """R-FTR-01: 26 BTC, 100 ETH (200,000 at 90 %, 100,000 at 60 %), 400 SOL (30,000 at 80 %): 1,824,000 count"""
    group = borrowed(market)
    first, second = group.members.order_by("account_id").values_list("account_id", flat=True)
    state = book.state_of(group, at=TEN)
    assert state.worth().collateral == 1_824_000

    def collateral(*steps: whatif.Change, **more: Any) -> tuple[Decimal, Decimal]:
        found = whatif.ask(state, Changes(steps=steps, **more), at=TEN)
        assert all(answer.allowed for answer in found.answers)
        return found.worth.debt, found.worth.collateral

    debt = group.debts.get().pk
    assert collateral() == (1_000_000, 1_824_000)
    assert collateral(prices={"BTC": D(50_000)}) == (1_000_000, 1_564_000)
    assert collateral(TopUp(second, "BTC", D(1))) == (1_000_000, 1_884_000)
    assert collateral(Repayment(debt, D(400_000))) == (600_000, 1_824_000)
    assert collateral(Trade(first, "ETH", D(50), "USDT")) == (
        1_000_000,
        1_560_000 + 24_000 + 135_000 + 150_000,
    )
    assert collateral(Withdrawal(first, "BTC", D(5))) == (1_000_000, 1_524_000)
    assert collateral(Borrowing("USDT", D(100_000))) == (1_100_000, 1_824_000)
    assert collateral(ratios={"BTC": (Tier(D(0), D("0.5")),)}) == (1_000_000, 1_044_000)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda uid, debt: Withdrawal(uid, "BTC", D(10)), "must stay below the initial line of 72 %"),
        (lambda uid, debt: Withdrawal(uid, "BTC", D(26)), "This wallet holds 25 BTC"),
        (lambda uid, debt: Trade(uid, "BTC", D(25), "SOL"), "must stay below the margin call line of 77 %"),
        (lambda uid, debt: Borrowing("USDT", D(400_000)), "above the initial line of 72 %"),
        (lambda uid, debt: Repayment(debt, D(999_995)), "closes the loan"),
        (lambda uid, debt: Repayment(debt, D(2_000_000)), "you cannot repay more"),
        (lambda uid, debt: TopUp(1, "BTC", D(1)), "not a collateral account"),
    ],
)
def test_what_would_be_refused_changes_nothing_and_says_why(market: Desk, change: Any, says: str) -> None:
    """R-FTR-01, R-VIP-52, R-GEN-52"""
    group = borrowed(market)
    uid = group.members.order_by("account_id")[0].account_id
    found = whatif.ask(
        book.state_of(group, at=TEN), Changes(steps=(change(uid, group.debts.get().pk),)), at=TEN
    )
    [answer] = found.answers
    assert not answer.allowed
    assert says in answer.reason
    assert found.after == found.market


def test_the_shock_map_is_the_what_if_of_each_pair_of_prices(market: Desk) -> None:
    """R-FTR-01: coin by coin, and all coins that move against one of them"""
    state = book.state_of(borrowed(market), at=TEN)
    moves = (D("-0.5"), D(0), D("0.2"))
    seen = prospects.shock_map(state, across="BTC", down="ETH", across_moves=moves, down_moves=moves)
    for row, eth in zip(seen, moves, strict=True):
        for spot, btc in zip(row, moves, strict=True):
            new = {"BTC": PRICES["BTC"] * (1 + btc), "ETH": PRICES["ETH"] * (1 + eth)}
            asked = whatif.ask(state, Changes(prices=new), at=TEN)
            assert (spot.ltv, spot.band) == (asked.worth.ltv, asked.band)
    together = prospects.shock_map(
        state, across=prospects.ALL, down="BTC", across_moves=(D("-0.5"),), down_moves=(D(0),)
    )
    halved = {coin: PRICES[coin] / 2 for coin in COINS[:3]}
    assert together[0][0].ltv == whatif.ask(state, Changes(prices=halved), at=TEN).worth.ltv


@pytest.mark.parametrize(
    ("btc", "fate", "taken"),
    [(D(52_000), Fate.CALLED, []), (D(47_500), Fate.SOFTENED, ["soft"]), (D(42_000), Fate.SOLD, ["ltv"])],
)
def test_chosen_de_leveraging_is_foreseen(market: Desk, btc: Decimal, fate: Fate, taken: list[str]) -> None:
    """R-FTR-01, R-FTR-05: "nothing is sold yet" would be wrong from the chosen start on; and it is what happens"""
    group = borrowed(market, "1200000")
    deleveraging.choose(
        group_id=group.pk, start=D("0.8"), target=D("0.76"), step_share=D("0.1"), actor=BUILDER, at=TEN
    )
    state = book.state_of(group, at=TEN)
    prices = {"BTC": btc, "ETH": D(1_500), "SOL": D(100)}
    asked = whatif.ask(state, Changes(prices=prices), at=TEN)
    assert asked.foreseen.fate is fate, asked.worth.ltv
    for second in (0, 5):
        quote(LATER + timedelta(seconds=second), **prices)
        sweep.sweep(at=LATER + timedelta(seconds=second))
    assert [row.cause for row in Liquidation.objects.all()] == taken


def test_a_step_that_a_freeze_holds_back_is_not_foreseen(market: Desk) -> None:
    """R-FTR-01, R-FTR-05, R-ADM-04"""
    group = borrowed(market, "1200000")
    deleveraging.choose(
        group_id=group.pk, start=D("0.8"), target=D("0.76"), step_share=D("0.1"), actor=BUILDER, at=TEN
    )
    freezes.place(
        what="trade",
        reason="Dispute",
        ends_at=LATER + timedelta(days=1),
        group_id=group.pk,
        actor=BUILDER,
        at=TEN,
    )
    fallen = {"BTC": D(47_500), "ETH": D(1_500), "SOL": D(100)}
    asked = whatif.ask(book.state_of(group, at=TEN), Changes(prices=fallen), at=TEN)
    assert asked.foreseen.fate is Fate.CALLED


def test_a_sale_under_way_is_foreseen_to_go_on(market: Desk) -> None:
    """R-FTR-01, R-GEN-70: below the liquidation line too, until its target; then it ends"""
    parameters.publish_handling(product="vip", mode=Mode.STEPPED, effective_at=TEN, actor=BUILDER, at=TEN)
    group = borrowed(market, "1200000")
    fallen = {"BTC": D(44_500), "ETH": D(1_500), "SOL": D(100)}
    for second in (0, 5):
        quote(LATER + timedelta(seconds=second), **fallen)
        sweep.sweep(at=LATER + timedelta(seconds=second))
    at = LATER + timedelta(seconds=5)
    assert Liquidation.objects.get().status == "running"
    state = book.state_of(group, at=at)
    assert state.worth(permission=False).is_below(D("0.91"))
    now = whatif.ask(state, Changes(), at=at)
    assert (now.foreseen.fate, "go on until" in now.foreseen.words) == (Fate.SOLD, True)
    risen = whatif.ask(state, Changes(prices={"BTC": D(90_000)}), at=at)
    assert (risen.foreseen.fate, risen.foreseen.words) == (Fate.NOTHING, "The sale under way would end.")


def test_old_prices_are_asked_about_as_they_are(market: Desk) -> None:
    """R-FTR-01, R-GEN-22: a debt without a fresh price refuses what leaves; a price that is given is fresh"""
    group = borrowed(market)
    at = TEN + timedelta(hours=2)
    state = book.state_of(group, at=at)
    uid = group.members.order_by("account_id")[0].account_id
    found = whatif.ask(state, Changes(steps=(Withdrawal(uid, "BTC", D(1)),)), at=at)
    assert found.answers[0].code == "price_too_old"
    assert found.foreseen.fate is Fate.BLIND
    fresh = whatif.ask(state, Changes(prices=PRICES, steps=(Withdrawal(uid, "BTC", D(1)),)), at=at)
    assert fresh.answers[0].allowed
