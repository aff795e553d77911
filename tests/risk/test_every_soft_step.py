"""Steps of chosen de-leveraging from whatever is held for whatever is owed: R-FTR-05 as properties."""

from decimal import Decimal

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from accounts.commands import acting
from accounts.ledger import problems
from accounts.models import Asset
from accounts.money import round_up, unit
from risk import book, deleveraging, parameters, soft_plan, steps
from risk.models import CollateralGroup, Debt, Liquidation, Sale, Settings
from risk.soft_plan import Choice
from risk.valuation import Worth
from tests import build
from tests.risk.forced_sales import SWEEPER, World, owes
from tests.risk.test_every_liquidation import total

D = Decimal
NOON = build.NOON

places = st.integers(0, 8)
coin_prices = st.decimals(min_value="0.01", max_value="50000", places=4, allow_nan=False)
HELD, OWED = ("BTC", "ETH", "USDT"), ("USDC", "USDT")


def market(data: st.DataObject) -> None:
    for symbol in ("BTC", "ETH", "USDC", "USDT"):
        build.asset(symbol, places=data.draw(places))
        tail = data.draw(st.sampled_from(["0", "0.3", "0.8"]))
        build.ratios(symbol, ("0", "1"), ("50000", tail), rank=data.draw(st.integers(0, 3)))
        dollar = symbol.startswith("USD")
        build.price(symbol, str(data.draw(st.decimals("0.9", "1.1", places=3) if dollar else coin_prices)))


def held(data: st.DataObject) -> dict[str, tuple[str, str]]:
    """Of each coin up to 200,000 USD, in two accounts."""
    found = {}
    for symbol in HELD:
        price = Decimal(str(build.Price.objects.filter(asset=symbol).latest("pk").price))
        exponent = Asset.objects.get(pk=symbol).places
        most = max(int(200_000 / price), 1)
        amounts = [data.draw(st.decimals(0, most, places=exponent, allow_nan=False)) for _ in range(2)]
        found[symbol] = (str(amounts[0]), str(amounts[1]))
    return found


def in_debt(data: st.DataObject, world: World, ltv: Decimal) -> list[Debt]:
    """Two debts that together make about this LTV."""
    state = book.state_of(world.group, at=NOON)
    worth = state.worth(permission=False)
    share = Decimal(data.draw(st.integers(5, 95))) / 100
    found = []
    for symbol, part in zip(OWED, (share, 1 - share), strict=True):
        exponent = Asset.objects.get(pk=symbol).places
        amount = round_up(worth.collateral * ltv * part, exponent)
        assume(0 < amount < 10**9)
        found.append(world.owe(symbol, str(amount)))
        build.fund_pool(symbol)
    return found


class EverySoftStep(TestCase):
    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(data=st.data())
    def test_ltv_falls_nothing_is_lost_and_the_bounds_hold(self, data: st.DataObject) -> None:
        """R-FTR-05, R-GEN-05, R-GEN-72, R-GEN-76, R-GEN-77"""
        market(data)
        slippage = data.draw(st.sampled_from([D(0), D("0.003"), D("0.2")]))
        with acting(SWEEPER):
            Settings.objects.create(effective_at=build.LONG_AGO, slippage=slippage)
        holdings = held(data)
        world = World(list(HELD), **holdings)
        owed = in_debt(data, world, data.draw(st.decimals("0.80", "0.9", places=3, allow_nan=False)))
        choice = Choice(
            D("0.8"),
            data.draw(st.sampled_from([D("0.72"), D("0.76"), D("0.79")])),
            data.draw(st.sampled_from([D("0.01"), D("0.1"), D("0.5")])),
        )
        row = deleveraging.choose(
            group_id=world.group.pk,
            start=choice.start,
            target=choice.target,
            step_share=choice.step_share,
            actor=SWEEPER,
            at=NOON,
        )
        before = book.state_of(world.group, at=NOON)
        at_first = before.worth(permission=False)
        assume(at_first.is_at_least(choice.start))
        assume(at_first.is_below(before.lines.liquidation))
        in_force = parameters.settings_at(NOON)
        debts = steps.in_order(before, [one.debt for one in before.debts])
        planned = soft_plan.takings(before, debts, choice, settings=in_force)

        with acting(SWEEPER):
            [locked] = CollateralGroup.objects.locked(world.group.pk)
            state = book.state_of(locked, at=NOON)
            taken = deleveraging.step(row=row, state=state, settings=in_force, at=NOON)

        assert not problems()
        after = book.state_of(world.group, at=NOON).worth(permission=False)
        if taken is None:
            assert not planned
            assert after == at_first
            assert not Liquidation.objects.exists()
            return
        self.bounds_hold(taken, at_first, after, choice, owed)
        for one in planned:  # whole units of the debt may need less of the coin than was planned, never more
            sales = taken.sales.filter(coin=one.coin, debt=one.debt_id)
            assert 0 < total(sale.sold for sale in sales) <= one.sold
        for debt in owed:
            repaid = total(one.repaid for one in planned if one.debt_id == debt.pk)
            assert debt.principal - Debt.objects.get(pk=debt.pk).booked == repaid
        for symbol, amounts in holdings.items():
            gone = total(sale.sold for sale in taken.sales.filter(coin=symbol))
            wallets = build.balance(world.first, symbol) + build.balance(world.second, symbol)
            assert wallets - (total(map(D, amounts)) - gone) == self.crumbs(taken, symbol, owed)

    def bounds_hold(
        self, taken: Liquidation, first: Worth, after: Worth, choice: Choice, owed: list[Debt]
    ) -> None:
        assert (taken.status, taken.shortfall_usd) == ("stopped_healthy", 0)
        assert after.is_safer_than(first)
        quotes = {sale.debt.asset_id: sale.debt_mark.price for sale in Sale.objects.all()}
        slack = total(unit(debt.asset.places) * quotes.get(debt.asset_id, D(1)) for debt in owed)
        assert first.debt - after.debt <= first.debt * choice.step_share + slack
        for debt in owed:
            now = Debt.objects.get(pk=debt.pk)
            assert now.residual_since is None
            assert now.closed_reason in ("", Debt.Closed.REPAID)
            paid = debt.principal - now.booked
            fee = total(sale.fee for sale in taken.sales.filter(debt=debt))
            assert fee == owes(debt.asset_id)[1]
            assert fee <= round_up(paid * D("0.005"), debt.asset.places)

    def crumbs(self, taken: Liquidation, symbol: str, owed: list[Debt]) -> Decimal:
        """What whole units of a coin brought too much came back in the debt's coin."""
        found = D(0)
        for debt in owed:
            if debt.asset_id == symbol:
                sales = taken.sales.filter(debt=debt)
                paid = debt.principal - Debt.objects.get(pk=debt.pk).booked
                found += total(sale.proceeds for sale in sales) - paid - total(sale.fee for sale in sales)
        return found
