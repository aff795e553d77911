"""What the desk lends and takes as collateral, and at which rates, in the dialect (R-GEN-90, R-GEN-31, R-VIP-22…23)."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from accounts.models import Asset
from accounts.money import RATE_PLACES, divide_up
from accounts.sapi import params
from accounts.sapi.errors import Denied
from accounts.sapi.registry import Call, endpoint
from accounts.sapi.wire import Json, dec, ms, rows
from loans import rates
from loans.histories import market
from loans.histories.market import CollateralCoin, LoanableRow
from loans.sapi.asking import CURRENT, END, LIMIT, LOAN_COIN, MOMENT, START, window
from loans.sapi.codes import NOT_LOANABLE
from risk.valuation import Tier, Tiers

HOURS_PER_YEAR: Final = Decimal(8760)  # R-GEN-03
MOST_COINS: Final = 10
TOP_LEVEL: Final = 9
PLACES: Final = ("_1st", "_2nd", "_3rd", "_4th")  # the tiers that the dialect has room for
FIRST_CEILING: Final = Decimal(10_000_000)  # USD; where a tier without end is cut to fill the room
WIDER: Final = 10


@endpoint(
    "GET /sapi/v1/loan/vip/request/interestRate",
    params.symbols("loanCoin", most=MOST_COINS, required=True),
    weight=400,
    example=[
        {
            "asset": "USDT",
            "flexibleHourlyInterestRate": "0.0000626",
            "flexibleDailyInterestRate": "0.001503",
            "flexibleYearlyInterestRate": "0.548595",
            "time": 1767225600000,
        }
    ],
)
def borrow_rates(call: Call) -> Json:
    """Today's flexible rate of each coin, the client's own spread in it, in the order asked. R-VIP-23, R-VIP-24

    Raises:
        Denied: one of them is not lent at a flexible rate now.
    """
    lent = market.loanable(vip_level=call.customer.vip_level, at=call.at, customer=call.customer)
    flexible = {row.asset.pk: row for row in lent if row.flexible is not None}
    missing = [coin for coin in call["loanCoin"] if coin not in flexible]
    if missing:
        raise Denied(NOT_LOANABLE, f"{missing[0]} is not lent at a flexible rate now.")
    return [
        {
            "asset": coin,
            "flexibleHourlyInterestRate": _hourly(flexible[coin]),
            "flexibleDailyInterestRate": dec(flexible[coin].daily[0]),
            "flexibleYearlyInterestRate": dec(flexible[coin].flexible),
            "time": ms(call.at),
        }
        for coin in call["loanCoin"]
    ]


@endpoint(
    "GET /sapi/v1/loan/vip/interestRateHistory",
    params.symbol("coin", required=True),
    START,
    END,
    CURRENT,
    LIMIT,
    weight=400,
    example={
        "rows": [{"coin": "USDT", "annualizedInterestRate": "0.0647", "time": 1767225600000}],
        "total": 1,
    },
)
def rate_history(call: Call) -> Json:
    """The published flexible rates, newest first: each from its `time` on. The oldest is the one in force when the
    period begins, told as of then, so that a rate that never moved is not missing. R-GEN-53, R-VIP-23

    Raises:
        Denied: there is no such coin to borrow.
    """
    since, until = window(call)
    asset = Asset.objects.filter(pk=call["coin"], loanable=True).first()
    if asset is None:
        raise Denied(NOT_LOANABLE, f"{call['coin']} is not a coin the desk lends.")
    first = since + MOMENT
    series = rates.history(asset, vip_level=call.customer.vip_level, since=first, until=until + MOMENT)
    steps = [step for one in series if one.key == rates.FLEXIBLE for step in reversed(one.steps)]
    skipped = (call["current"] - 1) * call["limit"]
    found = [
        {
            "coin": asset.pk,
            "annualizedInterestRate": dec(step.rate),
            "time": ms(max(step.starts_at, first)),
        }
        for step in steps[skipped : skipped + call["limit"]]
    ]
    return rows(found, len(steps))


@endpoint(
    "GET /sapi/v1/loan/vip/loanable/data",
    LOAN_COIN,
    params.whole("vipLevel", low=0, high=TOP_LEVEL, about="the caller's own unless said"),
    weight=400,
    example={
        "rows": [
            {
                "loanCoin": "USDT",
                "_flexibleDailyInterestRate": "0.0015",
                "_flexibleYearlyInterestRate": "0.5486",
                "_30dDailyInterestRate": "0.000136",
                "_30dYearlyInterestRate": "0.0345",
                "_60dDailyInterestRate": "0.000145",
                "_60dYearlyInterestRate": "0.04103",
                "minLimit": "100",
                "maxLimit": "1000000",
                "vipLevel": 1,
            }
        ],
        "total": 1,
    },
)
def loanable_data(call: Call) -> Json:
    """What can be borrowed online at a level: rates with the client's own spread, limits of one order in USD.

    A fixed rate that is not published is left out. A coin without limits is not lent online, and one without a
    flexible rate has no place in these rows. R-VIP-06, R-VIP-22
    """
    level = call.customer.vip_level if call["vipLevel"] is None else call["vipLevel"]
    found = market.loanable(vip_level=level, at=call.at, customer=call.customer)
    shown = [
        _loanable(row)
        for row in found
        if call["loanCoin"] in (None, row.asset.pk) and row.flexible is not None and row.maximum is not None
    ]
    return rows(shown, len(shown))


@endpoint(
    "GET /sapi/v1/loan/vip/collateral/data",
    params.symbol("collateralCoin"),
    weight=400,
    example={
        "rows": [
            {
                "collateralCoin": "BTC",
                "_1stCollateralRatio": "100%",
                "_1stCollateralRange": "0-10000000",
                "_2ndCollateralRatio": "80%",
                "_2ndCollateralRange": "10000000-100000000",
                "_3rdCollateralRatio": "60%",
                "_3rdCollateralRange": "100000000-1000000000",
                "_4thCollateralRatio": "0%",
                "_4thCollateralRange": ">1000000000",
            }
        ],
        "total": 1,
    },
)
def collateral_data(call: Call) -> Json:
    """What counts of each collateral coin, by slices of its market value in USD. R-GEN-30, R-GEN-31

    Always four slices: fewer tiers are cut further at the same ratio, which says the same; of more than four, the last
    slice has the lowest ratio of the rest, so that no client counts on more than counts.
    """
    found = [
        _collateral(coin)
        for coin in market.collateral(at=call.at)
        if call["collateralCoin"] in (None, coin.asset.pk)
    ]
    return rows(found, len(found))


def slices(tiers: Tiers) -> Iterator[tuple[Decimal, Decimal | None, Decimal]]:
    """Just four slices, the last without end, that count for what the tiers do and never for more."""
    kept = list(tiers) or [Tier(floor=Decimal(0), ratio=Decimal(0))]
    while len(kept) > len(PLACES):
        last, before = kept.pop(), kept.pop()
        kept.append(Tier(floor=before.floor, ratio=min(last.ratio, before.ratio)))
    while len(kept) < len(PLACES):
        last = kept[-1]
        kept.append(Tier(floor=max(last.floor * WIDER, FIRST_CEILING), ratio=last.ratio))
    for tier, following in zip(kept, [*kept[1:], None], strict=True):
        yield tier.floor, following.floor if following is not None else None, tier.ratio


# --- Private ----------------------------------------------------------------------------------------


def _hourly(row: LoanableRow) -> str:
    assert row.flexible is not None
    return dec(divide_up(row.flexible, HOURS_PER_YEAR, RATE_PLACES))


def _loanable(row: LoanableRow) -> dict[str, Any]:
    names = ("_flexible", "_30d", "_60d")
    yearly = (row.flexible, row.fixed_30, row.fixed_60)
    told: dict[str, Any] = {"loanCoin": row.asset.pk}
    for name, day, year in zip(names, row.daily, yearly, strict=True):
        if year is not None:
            told |= {f"{name}DailyInterestRate": dec(day), f"{name}YearlyInterestRate": dec(year)}
    return told | {"minLimit": dec(row.minimum), "maxLimit": dec(row.maximum), "vipLevel": row.vip_level}


def _collateral(coin: CollateralCoin) -> dict[str, str]:
    told = {"collateralCoin": coin.asset.pk}
    for place, (floor, ceiling, ratio) in zip(PLACES, slices(coin.tiers), strict=True):
        told[f"{place}CollateralRatio"] = f"{dec(ratio * 100)}%"
        told[f"{place}CollateralRange"] = (
            f">{dec(floor)}" if ceiling is None else f"{dec(floor)}-{dec(ceiling)}"
        )
    return told
