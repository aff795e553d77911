"""R-GEN-02 to R-GEN-04, R-VIP-30 to R-VIP-33, R-VIP-43: the daily clock; EX-01, EX-02, EX-06."""

import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.interest import (
    Charge,
    DailyTerms,
    PeriodCharge,
    RateStep,
    daily_charge,
    due_charges,
    midnights,
    minimum_charge,
    pending,
    rate_before,
)

D = Decimal
MILLION = D(1_000_000)
NEW_YEAR = datetime(2026, 1, 1, 10, tzinfo=UTC)

principals = st.decimals(min_value=D("0.00000001"), max_value=10**12, places=8, allow_nan=False).filter(bool)
rates = st.decimals(min_value=0, max_value=5, places=12, allow_nan=False)
instants = st.datetimes(
    min_value=datetime(2026, 1, 1),  # noqa: DTZ001 (the strategy adds the zone itself)
    max_value=datetime(2026, 4, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


def utc(month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def vip(
    *rates: tuple[datetime, str],
    due_at: datetime | None = None,
    opened_at: datetime = NEW_YEAR,
) -> DailyTerms:
    """EX-01's loan: 1,000,000 USDT at 8.4 % unless other dated rates are given, late threefold."""
    steps = tuple(RateStep(starts_at, D(rate)) for starts_at, rate in rates or [(opened_at, "0.084")])
    return DailyTerms(
        principal=MILLION,
        accrued_through=opened_at,
        due_at=due_at,
        late_multiplier=3,
        places=8,
        steps=steps,
    )


def test_ex01_thirty_days_at_a_fixed_rate() -> None:
    """R-VIP-30, R-GEN-03, EX-01: ⌈1,000,000 × 0.084 / 365⌉ thirty times."""
    charges = due_charges(vip(due_at=utc(1, 31, 10)), utc(1, 31, 10))
    assert len(charges) == 30
    assert charges[0] == PeriodCharge(
        period_start=NEW_YEAR,
        period_end=utc(1, 2),
        basis=MILLION,
        annual_rate=D("0.084"),
        multiplier=1,
        interest=D("230.13698631"),
        late_fee=D(0),
    )
    assert {charge.interest for charge in charges} == {D("230.13698631")}
    assert pending(vip(due_at=utc(1, 31, 10)), utc(1, 31, 10)) == Charge(D("6904.10958930"), D(0))


def test_ex02_three_days_at_a_flexible_rate() -> None:
    """R-VIP-32, EX-02: each midnight charges the rate of the day that ends there."""
    terms = vip((utc(1, 1), "0.08"), (utc(1, 2), "0.09"), (utc(1, 3), "0.075"))
    charges = due_charges(terms, utc(1, 4))
    assert [charge.interest for charge in charges] == [
        D("219.17808220"),
        D("246.57534247"),
        D("205.47945206"),
    ]
    assert pending(terms, utc(1, 4)) == Charge(D("671.23287673"), D(0))


def test_ex06_overdue_days_are_charged_threefold_and_rounded_once() -> None:
    """R-VIP-43, EX-06: the first triple charge is at the first midnight after expiry."""
    terms = vip(due_at=utc(1, 31, 10))
    late = due_charges(terms, utc(2, 3))[30:]
    assert [charge.period_end for charge in late] == [utc(2, 1), utc(2, 2), utc(2, 3)]
    assert {(charge.interest, charge.late_fee, charge.multiplier) for charge in late} == {
        (D("230.13698631"), D("460.27397260"), 3)
    }
    assert late[0].interest + late[0].late_fee == D("690.41095891")
    owed = pending(terms, utc(2, 3))
    assert MILLION + owed.interest + owed.late_fee == D("1008975.34246603")


def test_ex20_interest_due_at_a_renewal_after_25_runs() -> None:
    """R-VIP-31, R-VIP-41, EX-20: a loan of 1 January 10:00, first run on the 2nd."""
    assert pending(vip(), utc(1, 26, 9)) == Charge(D("5753.42465775"), D(0))


def test_a_loan_due_exactly_at_midnight_is_not_late_at_it() -> None:
    """R-VIP-43: strictly after expiry."""
    last, first_late = due_charges(vip(due_at=utc(1, 31)), utc(2, 1))[-2:]
    assert (last.period_end, last.multiplier, last.late_fee) == (utc(1, 31), 1, 0)
    assert (first_late.period_end, first_late.multiplier) == (utc(2, 1), 3)


def test_an_open_loan_is_never_late() -> None:
    """R-VIP-20, R-VIP-43"""
    charges = due_charges(vip(due_at=None), NEW_YEAR + timedelta(days=400))
    assert len(charges) == 400
    assert {charge.multiplier for charge in charges} == {1}


@pytest.mark.parametrize(
    ("principal", "rate", "places", "charged"),
    [
        (
            "28991.60000001",
            "0.0840000001",
            8,
            "6.67203947",
        ),  # a quotient rounded first gives …46
        ("365", "0.1", 8, "0.1"),  # exact: nothing to round
        ("365.00000001", "0.1", 8, "0.10000001"),
        ("0.00000001", "0.000000000001", 8, "0.00000001"),  # the smallest debt still costs a unit
        ("1000000", "0.084", 2, "230.14"),
        ("1000000", "0", 8, "0"),
        ("1000000", "0.548595", 8, "1503"),  # R-GEN-03: 0.1503 % a day is 54.8595 % a year
    ],
)
def test_a_day_is_rounded_up_at_the_coins_places(
    principal: str, rate: str, places: int, charged: str
) -> None:
    """R-GEN-02, R-GEN-03, R-VIP-30"""
    charge = daily_charge(principal=D(principal), annual_rate=D(rate), places=places)
    assert charge == Charge(interest=D(charged), late_fee=D(0))


@given(principal=principals, rate=rates, places=st.integers(0, 8), multiplier=st.integers(1, 5))
def test_a_charge_is_the_ceiling_of_the_exact_product(
    principal: Decimal, rate: Decimal, places: int, multiplier: int
) -> None:
    """R-GEN-02, R-VIP-43: the total is rounded once, and the late fee is what is left."""
    charge = daily_charge(principal=principal, annual_rate=rate, places=places, multiplier=multiplier)
    units = Fraction(principal) * Fraction(rate) / 365 * 10**places
    assert Fraction(charge.interest) * 10**places == math.ceil(units)
    assert Fraction(charge.interest + charge.late_fee) * 10**places == math.ceil(multiplier * units)
    assert charge.late_fee >= 0
    assert (charge.late_fee == 0) or multiplier > 1


def test_a_leap_year_has_365_days_of_interest_a_year_and_366_charges() -> None:
    """R-GEN-03"""
    start = datetime(2028, 1, 1, 12, tzinfo=UTC)
    charges = due_charges(vip(opened_at=start), datetime(2029, 1, 1, 12, tzinfo=UTC))
    assert len(charges) == 366
    assert charges[59].period_start == datetime(2028, 2, 29, tzinfo=UTC)
    assert charges[59].interest == D("230.13698631")


@pytest.mark.parametrize(
    ("after", "until", "days"),
    [
        (utc(1, 1, 10), utc(1, 1, 23, 59), []),
        (utc(1, 1, 10), utc(1, 2), [2]),  # at the instant itself
        (utc(1, 2), utc(1, 2), []),
        (utc(1, 2), utc(1, 2, 23, 59), []),  # a midnight already charged is not charged again
        (utc(1, 1, 23, 59), utc(1, 4, 0, 40), [2, 3, 4]),
        (utc(1, 5), utc(1, 2), []),
        # 23:30 in New York is 04:30 UTC of the next day:
        (datetime(2026, 1, 1, 23, 30, tzinfo=timezone(timedelta(hours=-5))), utc(1, 3), [3]),
    ],
)
def test_midnights_are_after_the_one_and_up_to_the_other(
    after: datetime, until: datetime, days: list[int]
) -> None:
    """R-VIP-31, R-GEN-04"""
    assert list(midnights(after=after, until=until)) == [utc(1, day) for day in days]


def test_a_naive_time_is_a_bug() -> None:
    """R-GEN-04"""
    with pytest.raises(AssertionError):
        list(midnights(after=datetime(2026, 1, 1), until=utc(1, 3)))  # noqa: DTZ001


def test_a_late_run_charges_what_a_punctual_one_charges() -> None:
    """R-GEN-04, R-VIP-31: at 00:40, or after a repayment at 00:20, the midnight's day is one and the same."""
    assert due_charges(vip(), utc(1, 2, 0, 40)) == due_charges(vip(), utc(1, 2)) != []


def test_no_principal_no_charge() -> None:
    """R-VIP-31: only midnights at which principal is outstanding."""
    terms = vip()
    repaid = DailyTerms(D(0), terms.accrued_through, None, 3, 8, terms.steps)
    assert due_charges(repaid, utc(3, 1)) == []


STEPS = [RateStep(utc(1, 2), D("0.09")), RateStep(utc(1, 1), D("0.08")), RateStep(utc(1, 3, 10), D("0.075"))]


@pytest.mark.parametrize(
    ("instant", "rate"),
    [
        (utc(1, 1, 0, 1), "0.08"),
        (utc(1, 2), "0.08"),  # a rate that starts at midnight does not price the day that ends there
        (utc(1, 3), "0.09"),
        (utc(1, 3, 10), "0.09"),
        (utc(1, 4), "0.075"),
    ],
)
def test_the_rate_before_an_instant(instant: datetime, rate: str) -> None:
    """R-VIP-32, R-GEN-53"""
    assert rate_before(STEPS, instant) == D(rate)


def test_no_rate_before_the_first() -> None:
    with pytest.raises(LookupError, match="No rate is in force before 2026-01-01 00:00 UTC"):
        rate_before(STEPS, utc(1, 1))


@given(moments=st.lists(instants, min_size=1, max_size=6), due_at=st.none() | instants)
def test_charging_in_pieces_equals_charging_at_once(moments: list[datetime], due_at: datetime | None) -> None:
    """R-GEN-04, R-VIP-31: whatever times the job runs at, the rows are the same, without gap or overlap."""
    opened_at = datetime(2026, 1, 1, tzinfo=UTC)
    steps = [(opened_at - timedelta(days=1), "0.08"), (utc(1, 20), "0.09"), (utc(2, 14, 7), "0.0750000001")]
    pieces: list[PeriodCharge] = []
    terms = vip(*steps, due_at=due_at, opened_at=opened_at)
    for moment in [*moments, max(moments)]:
        reached = pieces[-1].period_end if pieces else opened_at
        pieces += due_charges(DailyTerms(MILLION, reached, due_at, 3, 8, terms.steps), moment)
    assert pieces == due_charges(terms, max(moments))
    assert [row.period_start for row in pieces[1:]] == [row.period_end for row in pieces[:-1]]
    assert len(pieces) == (max(moments) - opened_at).days


@pytest.mark.parametrize(
    ("days_charged", "min_days", "interest"),
    [(0, 1, "230.13698631"), (1, 1, "0"), (7, 1, "0"), (0, 0, "0"), (1, 3, "460.27397262")],
)
def test_a_loan_repaid_before_its_first_midnight_pays_one_day(
    days_charged: int, min_days: int, interest: str
) -> None:
    """R-VIP-31"""
    charge = minimum_charge(
        principal=MILLION, annual_rate=D("0.084"), places=8, days_charged=days_charged, min_days=min_days
    )
    assert charge == Charge(interest=D(interest), late_fee=D(0))
