"""R-GEN-81: a liquidation replayed from its entries comes to what it did, taking by taking."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from accounts.money import ZERO
from risk import book, past, prices, takings
from risk.models import CollateralGroup, Debt, DebtEntry, Liquidation
from risk.takings import Taking
from tests import build
from tests.risk.forced_sales import World, carry_on, liquidate, stepped

D = Decimal
SECONDS = timedelta(seconds=5)


def whole(row: Liquidation) -> list[Taking]:
    """The takings of a liquidation, after they have been held against its own totals."""
    row.refresh_from_db()
    found = takings.takings(row)
    sales = [sale for one in found for sale in one.sales]
    assert sales == list(row.sales.order_by("step"))
    assert [one.number for one in found] == list(range(1, len(found) + 1))
    brought = sum((sale.sold * sale.price for sale in sales), ZERO)
    assert abs(brought - row.sold_usd) < D("1e-9")
    booked = DebtEntry.objects.filter(
        kind="liquidation", entry__reference__startswith=f"liquidation:{row.pk}:"
    )
    repaid: dict[int, Decimal] = {}
    for entry in booked:
        repaid[entry.debt_id] = (
            repaid.get(entry.debt_id, ZERO) - entry.principal - entry.interest - entry.late_fee
        )
    told: dict[int, Decimal] = {}
    for one in found:
        if one.repaid.total:
            told[one.debt.pk] = told.get(one.debt.pk, ZERO) + one.repaid.total
        assert one.crumb >= 0
    assert told == repaid
    if found:
        assert found[0].before.told_ltv == row.ltv
    for one, following in zip(found, found[1:], strict=False):
        assert following.is_first or following.before == one.after
    return found


def left_in_usd(world: World, at: datetime) -> Decimal:
    """What the debts still owe, at the last prices."""
    quotes = prices.latest(at=at)
    rows = Debt.objects.filter(group=world.group)
    return sum((row.booked * quotes[row.asset_id].price for row in rows), ZERO)


class EveryReplay(TestCase):
    @settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
    @given(data=st.data())
    def test_a_sale_at_once_ends_where_the_books_ended(self, data: st.DataObject) -> None:
        """R-GEN-81, R-GEN-76: any coins at any prices; what is left of debts and collateral is what the rows say."""
        for symbol in ("BTC", "ETH", "USDC", "USDT"):
            build.asset(symbol, places=data.draw(st.integers(0, 8)))
            build.ratios(symbol, ("0", "1"), ("5000", "0.7"), rank=data.draw(st.integers(0, 3)))
            build.price(symbol, str(data.draw(st.decimals("0.01", "100000", places=4))))

        def amount(symbol: str, least: int) -> str:
            places = build.asset(symbol).places
            return str(data.draw(st.decimals(least, 10**5, places=places)))

        held = {symbol: (amount(symbol, 0), amount(symbol, 0)) for symbol in ("BTC", "ETH", "USDT")}
        world = World(["BTC", "ETH", "USDT"], **held)
        for symbol in ("USDC", "USDT"):
            world.owe(symbol, amount(symbol, 1))
            build.fund_pool(symbol)

        row = liquidate(world.group)

        assert row is not None
        found = whole(row)
        if found:
            assert found[-1].after.debt == left_in_usd(world, build.NOON)
            assert sum((one.fee for one in found), ZERO) == sum((sale.fee for sale in row.sales.all()), ZERO)

    @settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
    @given(data=st.data())
    def test_each_step_begins_and_ends_where_the_past_says(self, data: st.DataObject) -> None:
        """R-GEN-73, R-GEN-81, R-GEN-94: whatever prices do between steps and whatever comes in."""
        for symbol in ("BTC", "ETH", "USDC", "USDT"):
            build.asset(symbol)
            build.ratios(symbol, ("0", "1"), ("50000", "0.8"), rank=data.draw(st.integers(0, 3)))
        build.prices(BTC="40000", ETH="2000", USDC="1", USDT="1")
        world = World(["BTC", "ETH", "USDT"], BTC=("1", "1"), ETH=("5", "0"), USDT=("1000", "0"))
        world.owe("USDC", "40000")
        world.owe("USDT", f"{data.draw(st.integers(38, 40))}000")
        for symbol in ("USDC", "USDT"):
            build.fund_pool(symbol)
        stepped(step_share=data.draw(st.sampled_from([D("0.2"), D("0.5")])))
        row, at = liquidate(world.group), build.NOON
        assert row is not None
        ended = {at: book.state_of(CollateralGroup.objects.get(), at=at).worth(permission=False)}
        for _ in range(40):
            if row.status != "running":
                break
            at += SECONDS
            falls = data.draw(st.decimals("0.7", "1.05", places=2))
            build.prices(at, BTC=str(40000 * falls), ETH=str(2000 * falls), USDC="1", USDT="1")
            if data.draw(st.booleans()):
                build.deposit(world.second, "ETH", "0.1", at=at)
            row = carry_on(row, at=at)
            if row.status in ("running", "stopped_healthy"):
                ended[at] = book.state_of(CollateralGroup.objects.get(), at=at).worth(permission=False)

        found = whole(row)
        for one, following in zip(found, [*found[1:], None], strict=True):
            if (following is None or following.is_first) and one.at in ended:
                assert one.after == ended[one.at]
                assert past.state_at(world.group, at=one.at).worth(permission=False) == ended[one.at]
        if row.status == "stopped_healthy" and found[-1].at == row.ended_at:
            assert found[-1].after.told_ltv == row.end_ltv


@pytest.mark.django_db
def test_a_sale_of_two_accounts_is_one_taking_with_two_pieces() -> None:
    """R-GEN-77, R-GEN-81: 100,000 owed, 1.1 BTC at 100,000 in two accounts; one settlement, its entries in order."""
    build.asset("BTC")
    build.asset("USDT")
    build.ratios("BTC")
    build.prices(BTC="100000", USDT="1")
    world = World(["BTC"], BTC=("0.6", "0.5"))
    world.owe("USDT", "100000")
    build.fund_pool("USDT")

    row = liquidate(world.group)

    assert row is not None
    [one] = whole(row)
    assert len(one.sales) == 2
    assert [entry.reference for entry in one.entries] == [
        f"liquidation:{row.pk}:1:seize",
        f"liquidation:{row.pk}:2:seize",
        f"liquidation:{row.pk}:2",
    ]
    assert (one.sold, one.fee, one.repaid.total) == (D("1.02"), D(2000), D(100_000))
    assert (one.before.debt, one.before.collateral) == (D(100_000), D(110_000))
    assert (one.after.debt, one.after.collateral) == (ZERO, D(8000))
    assert one.before.told_ltv == D("0.909090909090")
    assert one.after.told_ltv == ZERO
    assert {line.entry_id for line in one.postings} == {entry.pk for entry in one.entries}
