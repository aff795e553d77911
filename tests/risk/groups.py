"""Groups for the tests of what a group is worth: EX-03's, and any that Hypothesis likes."""

from decimal import Decimal

from hypothesis import strategies as st

from risk.valuation import Holding, Owed, Tier

D = Decimal
FULL = (Tier(D(0), D(1)),)
BTC_TIERS = (Tier(D(0), D(1)), Tier(D(10_000_000), D("0.8")))
A_TIERS = (Tier(D(0), D(1)), Tier(D(1_000_000), D("0.8")))
C_TIERS = (Tier(D(0), D("0.75")), Tier(D(200_000), D("0.5")), Tier(D(500_000), D(0)))
INITIAL = D("0.72")
EX03_DEBT = [Owed("USDT", D("4027616.44"), D(1))]

amounts = st.decimals(min_value=0, max_value=10**7, places=8, allow_nan=False)
prices = st.decimals(min_value=D("0.0001"), max_value=10**6, places=10, allow_nan=False).filter(bool)
lines = st.decimals(min_value=D("0.01"), max_value=D("0.98"), places=4, allow_nan=False)


@st.composite
def tiers_of_a_coin(draw: st.DrawFn) -> tuple[Tier, ...]:
    """One to four tiers whose ratios do not rise; possibly 0 at the end."""
    floors = draw(st.lists(st.integers(1, 10**7), max_size=3, unique=True).map(sorted))
    ratios = draw(st.lists(st.integers(0, 100), min_size=len(floors) + 1, max_size=len(floors) + 1))
    return tuple(
        Tier(D(floor), D(ratio) / 100)
        for floor, ratio in zip([0, *floors], sorted(ratios, reverse=True), strict=True)
    )


@st.composite
def groups(draw: st.DrawFn) -> tuple[list[Holding], list[Owed]]:
    """Up to three coins over several accounts, and debts, possibly in the same coins."""
    facts = {asset: (draw(prices), draw(tiers_of_a_coin())) for asset in "ABC"}
    holdings = [
        Holding(asset, draw(amounts), facts[asset][0], facts[asset][1], 8)
        for asset in draw(st.lists(st.sampled_from("ABC"), min_size=1, max_size=4))
    ]
    debts = [
        Owed(asset, draw(amounts), facts[asset][0])
        for asset in draw(st.lists(st.sampled_from("ABC"), max_size=3))
    ]
    return holdings, debts


def ex03(btc_price: str = "60000", places: int = 8) -> list[Holding]:
    """Two collateral accounts: 30 BTC, 5 m of A, 600 k of C (A and C at one dollar)."""
    return [
        Holding("BTC", D(30), D(btc_price), BTC_TIERS, places),
        Holding("A", D(2_000_000), D(1), A_TIERS, places),
        Holding("A", D(3_000_000), D(1), A_TIERS, places),
        Holding("C", D(600_000), D(1), C_TIERS, places),
    ]
