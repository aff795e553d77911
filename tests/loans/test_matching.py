"""What taking from the fixed-rate market may be, and the rate it comes to (R-VIP-26)."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loans import matching
from loans.matching import BadTaking, NotOnOffer, OnOffer, OtherRate, Taking, TooLittle, TooMuch

RATES = st.decimals(min_value=0, max_value="9.999999999999", places=12)
AMOUNTS = st.decimals(min_value="0.00000001", max_value=10**15, places=8)
TAKINGS = st.lists(st.builds(Taking, st.integers(1, 2**53 - 1), RATES, AMOUNTS), min_size=1, max_size=10)


def taking(order: int = 1, rate: str = "0.05", amount: str = "100") -> Taking:
    return Taking(order, Decimal(rate), Decimal(amount))


def offer(
    order: int = 1, *, rate: str = "0.05", minimum: str = "100", left: str = "1000", places: int = 8
) -> OnOffer:
    return OnOffer(
        order, f"S-{order:04d}", "USDT", 30, Decimal(rate), Decimal(minimum), Decimal(left), places
    )


def refuse(
    *takings: Taking, offers: list[OnOffer] | None = None, asset: str = "USDT", days: int = 30
) -> None:
    known = {each.order: each for each in (offers if offers is not None else [offer()])}
    matching.refuse_unfit(takings, known, asset=asset, term_days=days)


# --- The rate ---------------------------------------------------------------------------------------------


def test_the_worked_example() -> None:
    """R-VIP-26: 100 at 5 % and 300 at 7 % are 400 at 6.5 %."""
    both = [taking(1, "0.05", "100"), taking(2, "0.07", "300")]

    assert matching.weighted_rate(both) == Decimal("0.065")
    assert matching.total(both) == 400


def test_a_rate_that_does_not_end_is_rounded_up_at_twelve_decimals() -> None:
    """R-VIP-26, R-GEN-02: 1 at 5 % and 2 at 6 % are 5.666… %, owed to the desk."""
    both = [taking(1, "0.05", "1"), taking(2, "0.06", "2")]

    assert matching.weighted_rate(both) == Decimal("0.056666666667")


@given(takings=TAKINGS)
def test_the_rate_is_exact_and_between_the_least_and_the_most(takings: list[Taking]) -> None:
    """R-VIP-26: never below the true average, above it by less than a unit of the last place, never outside."""
    rate = matching.weighted_rate(takings)

    interest = sum(Fraction(each.rate) * Fraction(each.amount) for each in takings)
    true = interest / sum(Fraction(each.amount) for each in takings)
    assert 0 <= Fraction(rate) - true < Fraction(1, 10**12)
    assert min(each.rate for each in takings) <= rate <= max(each.rate for each in takings)


def test_the_estimate_of_the_specification() -> None:
    """R-VIP-26, R-GEN-03: 1,000,000 at 5 % for 30 days."""
    found = matching.estimated_interest(
        amount=Decimal(1000000), annual_rate=Decimal("0.05"), term_days=30, places=2
    )

    assert found == Decimal("4109.59")


# --- What programs write ----------------------------------------------------------------------------------


def test_a_text_of_several_orders_is_read() -> None:
    """R-VIP-26"""
    assert matching.read_takings("7:0.05:100;9:0.07:300.5") == (
        taking(7, "0.05", "100"),
        taking(9, "0.07", "300.5"),
    )
    assert matching.read_takings("7:5e-02:1e3") == (taking(7, "0.05", "1000"),)
    assert matching.read_takings("7:0:0.00000001") == (taking(7, "0", "0.00000001"),)


@given(takings=TAKINGS)
def test_what_is_written_is_what_is_read(takings: list[Taking]) -> None:
    """R-VIP-26"""
    text = ";".join(f"{each.order}:{each.rate:f}:{each.amount:f}" for each in takings)

    assert matching.read_takings(text) == tuple(takings)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";",
        "7:0.05:100;",
        "7",
        "7:0.05",
        "7:0.05:100:1",
        "0:0.05:100",
        "-7:0.05:100",
        "7.0:0.05:100",
        "99999999999999999:0.05:100",
        "٧:0.05:100",
        "7:-0.05:100",
        "7:+0.05:100",
        "7:10:100",
        "7:.05:100",
        "7:0.0500000000001:100",
        "7:NaN:100",
        "7:Infinity:100",
        "7:1e99:100",
        "7:0.05:0",
        "7:0.05:-1",
        "7:0.05:1e99",
        "7:0.05:1,000",
        "7:0.05: 100",
        "7:0.05:0.000000001",
        "7:0.05:100000000000000000000",
        "7:0.05:100\x00",
        "７:0.05:100",
    ],
)
def test_anything_else_is_refused_without_repeating_it(text: str) -> None:
    """R-VIP-26, R-GEN-01"""
    with pytest.raises(BadTaking) as refused:
        matching.read_takings(text)
    assert len(text) < 3 or text not in refused.value.message


@given(st.text(max_size=200))
def test_no_text_is_a_crash(text: str) -> None:
    """R-VIP-26: read, or refused."""
    try:
        found = matching.read_takings(text)
    except BadTaking:
        return
    assert all(0 < each.amount < 10**18 and 0 <= each.rate < 10 for each in found)


# --- What fits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "left"), [("100", "1000"), ("1000", "1000"), ("40", "40"), ("100.00000001", "1000")]
)
def test_the_minimum_to_all_that_is_left_may_be_taken(amount: str, left: str) -> None:
    """R-VIP-26: the last rest is less than the minimum and may be taken whole."""
    refuse(taking(amount=amount), offers=[offer(left=left)])


@pytest.mark.parametrize(
    ("wrong", "why", "says"),
    [
        (taking(amount="99.99999999"), TooLittle, "At least 100 USDT is taken of S-0001 at once"),
        (taking(amount="1000.00000001"), TooMuch, "1000 USDT is left of S-0001"),
        (taking(rate="0.049999999999"), OtherRate, "S-0001 is at 0.05 a year"),
        (taking(rate="0.050000000001"), OtherRate, "look at the market again"),
        (taking(order=2), NotOnOffer, "Supply order 2 does not offer USDT for 30 days now"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(wrong: Taking, why: type[Exception], says: str) -> None:
    """R-VIP-26"""
    with pytest.raises(why, match=says):
        refuse(wrong)


def test_one_that_does_not_fit_stops_all() -> None:
    """R-VIP-26"""
    with pytest.raises(TooLittle):
        refuse(taking(), taking(2, amount="1"), offers=[offer(), offer(2)])


@pytest.mark.parametrize(("asset", "days"), [("USDC", 30), ("USDT", 60)])
def test_another_coin_or_term_is_not_on_offer(asset: str, days: int) -> None:
    """R-VIP-26: the same words as for an order that does not exist."""
    with pytest.raises(NotOnOffer, match=f"Supply order 1 does not offer {asset} for {days} days now"):
        refuse(taking(), asset=asset, days=days)


def test_none_too_many_and_one_twice_are_refused() -> None:
    """R-VIP-26"""
    with pytest.raises(BadTaking, match="1 to 10 supply orders at once, not of 0"):
        refuse()
    eleven = range(1, 12)
    with pytest.raises(BadTaking, match="not of 11"):
        refuse(*(taking(each) for each in eleven), offers=[offer(each) for each in eleven])
    with pytest.raises(BadTaking, match="named twice"):
        refuse(taking(), taking())
    refuse(*(taking(each) for each in range(1, 11)), offers=[offer(each) for each in eleven])


def test_an_amount_finer_than_its_coin_is_refused() -> None:
    """R-VIP-26, R-GEN-01"""
    with pytest.raises(BadTaking, match="at most 2 decimals"):
        refuse(taking(amount="100.005"), offers=[offer(places=2)])
