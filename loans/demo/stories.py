"""What happened at the demo's desk, as a table. Times are days before now, amounts are as a borrower types them.

A story is one collateral group: who borrows into which account, what secures it, which LTV it has `ltv_ago`
days ago (0: now), and what happens to it. How much collateral that takes follows from the market of those days
(`past`), so the table stays a table. What the desk did besides is in `dealings`.
"""

from decimal import Decimal
from typing import Final

from loans.demo.parts import (
    FIXED,
    FLEXIBLE,
    MASTER,
    Draw,
    Move,
    Outcome,
    Renew,
    Repay,
    Story,
    TopUp,
    Trade,
    Wants,
    Withdraw,
)
from risk.levels import Lines

NEGOTIATED: Final = {
    "Meridian Treasury": Lines(
        initial=Decimal("0.8"),
        margin_call=Decimal("0.87"),
        liquidation=Decimal("0.91"),
        cutoff=Decimal("0.95"),
        fee=Decimal("0.02"),
    )
}

STORIES: Final = (
    # The documented logins.
    Story(
        "Alder Street Capital",
        accounts=("Reserve", "Algo1"),
        coins=(("BTC", "0.6"), ("ETH", "0.4")),
        ltv="0.55",
        draws=(
            Draw("25.2", (("USDT", "2400000"),), FIXED, 30, "Bridge until a fund closing"),
            Draw("12.4", (("USDC", "600000"),), FLEXIBLE, None, "Working capital"),
        ),
        steps=(
            Withdraw("24.8", MASTER, "USDT", "1500000"),
            Repay("4.1", "0.25", draw=1),
            TopUp("9.3", MASTER, "USD", "180000", "fiat"),
            TopUp("3.2", "Spare", "BTC", "14"),
            Move("2.6", MASTER, "Spare", "USDC", "50000"),
        ),
    ),
    Story(
        "Alder Street Capital",
        receiver="Trading",
        accounts=("Margin book",),
        ltv="0.757",
        draws=(Draw("20.3", (("USDT", "1500000"),), FIXED, 60, "Market neutral trading"),),
        steps=(Trade("20.1", "Trading", "USDT", "240000", "ETH"),),
    ),
    Story(
        "Kestrel Digital",
        accounts=("Reserve", "Staking"),
        coins=(("ETH", "0.7"), ("SOL", "0.3")),
        ltv="0.792",
        draws=(Draw("18.4", (("USDT", "1800000"),), FLEXIBLE, None, "Validator hardware"),),
        steps=(Withdraw("18.1", MASTER, "USDT", "1250000"),),
    ),
    Story(
        "Meridian Treasury",
        accounts=("Reserve", "Cold store"),
        ltv="0.838",
        draws=(Draw("15.3", (("USDT", "6000000"),), FIXED, 60, "Acquisition finance"),),
        steps=(Withdraw("14.9", MASTER, "USDT", "5900000"),),
    ),
    Story(
        "Marlow & Finch",
        ltv="0.48",
        draws=(Draw("32.3", (("USDC", "750000"),), FIXED, 30, "Inventory"),),
        steps=(Withdraw("32.0", MASTER, "USDC", "745000"),),
    ),
    Story(
        "Tiber Quant",
        accounts=("Reserve", "Desk2"),
        coins=(("SOL", "1"),),
        ltv="0.93",
        ltv_ago="6.75",
        draws=(Draw("21.5", (("USDT", "2000000"),), FLEXIBLE, None, "Basis trade"),),
        steps=(Withdraw("21.2", MASTER, "USDT", "1990000"),),
    ),
    Story(
        "Harbour Lane Partners",
        accounts=("Reserve", "Treasury"),
        coins=(("BTC", "0.7"), ("ETH", "0.3")),
        ltv="0.52",
        draws=(
            Draw(
                "0.396",
                (("USDT", "1400000"),),
                FIXED,
                30,
                "Vendor prepayments",
                Outcome.OFFERED,
                hours="5.5",
                wants=Wants(
                    (("USDT", "0.069"),),
                    days=45,
                    margin_call="0.8",
                    overdue_hours=240,
                    message="We pay our vendors after 45 days, and BTC moves a lot within a day.",
                ),
                offer=Wants(
                    (("USDT", "0.0725"),),
                    days=45,
                    overdue_hours=192,
                    message="45 days and a day more to repay; the lines stay as they are for everybody.",
                ),
            ),
        ),
    ),
    Story(
        "Cinder Row Mining",
        coins=(("TRX", "1"),),
        ltv="0.915",
        draws=(Draw("12.2", (("USDT", "1100000"),), FLEXIBLE, None, "New machines"),),
        steps=(Withdraw("11.9", MASTER, "USDT", "1040000"),),
    ),
    Story(
        "Wexford Arbitrage",
        coins=(("DOT", "1"),),
        ltv="0.87",
        ltv_ago="24.4",
        draws=(Draw("30.4", (("USDT", "800000"),), FLEXIBLE, None, "Staking and a hedge"),),
        steps=(
            Withdraw("30.1", MASTER, "USDT", "799000"),
            TopUp("14.6", MASTER, "USDT", "12000"),
        ),
    ),
    Story("Sofia Marin", steps=(TopUp("3.4", "Savings", "BTC", "6.25"),)),
    Story(
        "Jonas Weber", steps=(TopUp("6.1", "Savings", "BTC", "9.5"), TopUp("6.0", MASTER, "USDT", "12000"))
    ),
    # Running, of every kind.
    Story(
        "Elena Petrova",
        ltv="0.42",
        draws=(
            Draw("10.7", (("USDT", "820000"),), FIXED, 30, "House purchase"),
            Draw("0.9", (("USDT", "200000"),), FLEXIBLE, None, "Renovation of the house", Outcome.WAITING),
        ),
    ),
    Story(
        "Halcyon Fund",
        accounts=("Cash",),
        coins=(("USDT", "0.7"), ("USDC", "0.3")),
        ltv="0.57",
        draws=(Draw("30.4", (("BTC", "25"),), FIXED, 60, "Short hedge"),),
        steps=(TopUp("29.5", MASTER, "USD", "250000", "fiat"), Trade("30.1", MASTER, "BTC", "12", "USDT")),
    ),
    Story(
        "Ostrava Mining",
        accounts=("Treasury", "Pool payouts"),
        ltv="0.51",
        draws=(
            Draw("41.4", (("USDC", "1200000"),), FIXED, 30, "Electricity, paid before the coins are mined"),
        ),
        steps=(
            Withdraw("41.0", MASTER, "USDC", "1100000"),
            TopUp("20.5", "Pool payouts", "BTC", "0.84217763"),
            TopUp("13.9", "Pool payouts", "BTC", "0.80115008"),
            Renew("13.4", 30),
        ),
    ),
    Story(
        "Kenji Sato",
        accounts=("Reserve", "Bots"),
        coins=(("BTC", "0.8"), ("LINK", "0.2")),
        ltv="0.33",
        draws=(Draw("27.6", (("ETH", "300"),), FLEXIBLE, None, "Staking"),),
        steps=(Repay("17.3", "0.1"), Repay("9.2", "0.15"), Repay("2.4", "0.2")),
    ),
    Story(
        "Quill Market Making",
        accounts=("MM1", "MM2"),
        coins=(("BTC", "0.5"), ("ETH", "0.3"), ("BNB", "0.2")),
        ltv="0.61",
        draws=(
            Draw(
                "22.8",
                (("USDT", "1500000"), ("ETH", "250"), ("SOL", "4000")),
                FLEXIBLE,
                60,
                "Inventory for three order books",
            ),
        ),
        steps=(
            Move("22.5", MASTER, "Reserve", "SOL", "1500"),
            Move("15.2", "Reserve", "Reserve", "SOL", "500", ("spot", "funding")),
            Trade("11.7", MASTER, "USDT", "300000", "SOL"),
        ),
    ),
    Story(
        "Fjord Asset Management",
        coins=(("ETH", "1"),),
        ltv="0.43",
        draws=(
            Draw("16.9", (("USDC", "950000"),), FIXED, 60, "Fund of funds subscription"),
            Draw("0.2", (("USDC", "450000"),), FIXED, 30, "Second subscription", Outcome.WAITING),
        ),
    ),
    Story(
        "Sundial Holdings",
        ltv="0.63",
        draws=(Draw("27.5", (("USDT", "3200000"),), FIXED, 30, "Refinancing"),),
        steps=(Withdraw("27.1", MASTER, "USDT", "3198000"),),
    ),
    Story(
        "Sundial Holdings",
        receiver="Income",
        accounts=("Growth",),
        coins=(("BNB", "0.6"), ("XRP", "0.4")),
        ltv="0.39",
        draws=(Draw("8.6", (("USDC", "700000"),), FLEXIBLE, None, "Seed investments"),),
    ),
    Story(
        "Aster Labs",
        accounts=("Treasury",),
        coins=(("ETH", "0.5"), ("UNI", "0.25"), ("AAVE", "0.25")),
        ltv="0.52",
        draws=(Draw("13.5", (("USDC", "640000"),), FIXED, 60, "Salaries for two quarters"),),
        steps=(Withdraw("13.1", MASTER, "USDC", "310000"),),
    ),
    Story(
        "Tomas Oliveira",
        accounts=("Savings",),
        ltv="0.35",
        draws=(Draw("7.4", (("USDT", "520000"),), FIXED, 30, "Buying out a partner"),),
    ),
    Story(
        "Northgate OTC",
        accounts=("Vault A", "Vault B", "Vault C", "Hedge"),
        coins=(("BTC", "0.45"), ("ETH", "0.3"), ("SOL", "0.15"), ("BNB", "0.1")),
        ltv="0.58",
        draws=(
            Draw("34.2", (("USDT", "8000000"), ("USDC", "4000000")), FIXED, 60, "Settlement float"),
            Draw("6.3", (("BTC", "20"),), FLEXIBLE, None, "Delivery for a client", hours="9"),
        ),
        steps=(
            Move("19.2", "Vault A", "Vault B", "BTC", "5"),
            Withdraw("33.1", MASTER, "USDT", "6500000"),
            Repay("11.2", "0.05"),
        ),
    ),
    Story(
        "Delphi Research",
        coins=(("LTC", "0.4"), ("BCH", "0.3"), ("DOGE", "0.3")),
        ltv="0.47",
        draws=(Draw("26.6", (("USDC", "510000"),), FIXED, 30, "Data centre"),),
        steps=(TopUp("26.0", MASTER, "USDT", "40000"),),
    ),
    # Called and cured, late and repaid, repaid and back.
    Story(
        "Redwood Family Office",
        accounts=("Reserve", "Heirs"),
        coins=(("SOL", "0.6"), ("BNB", "0.4")),
        ltv="0.8",
        ltv_ago="6.75",
        draws=(Draw("25.7", (("USDT", "900000"),), FLEXIBLE, None, "Estate taxes"),),
        steps=(TopUp("6.6", "Reserve", "BNB", "420"),),
    ),
    Story(
        "Ivory Bay Commodities",
        ltv="0.5",
        ltv_ago="30",
        draws=(Draw("38.3", (("USDT", "600000"),), FIXED, 30, "Letters of credit"),),
        steps=(Withdraw("38.0", MASTER, "USDT", "600000"), Repay("5.4")),
    ),
    Story(
        "Blue Heron Partners",
        ltv="0.45",
        ltv_ago="25",
        draws=(Draw("40.5", (("USDT", "1000000"),), FIXED, 30, "Tax payment"),),
        steps=(Repay("21.6", "0.4"), Repay("15.3"), Withdraw("14.8", "Reserve", "BTC", "6")),
    ),
    Story(
        "Basalt Group",
        ltv="0.47",
        draws=(
            Draw("43.2", (("USDT", "700000"),), FIXED, 30, "Trade finance"),
            Draw("5.6", (("USDT", "850000"),), FIXED, 60, "Trade finance again"),
        ),
        steps=(Repay("29.5"),),
    ),
    # Requests that are not loans.
    Story(
        "Cobalt Ridge",
        ltv="0.6",
        draws=(Draw("1.6", (("USDC", "900000"),), FIXED, 30, "First loan: a new office", Outcome.WAITING),),
    ),
    Story(
        "Larkspur Ventures",
        coins=(("APT", "0.5"), ("ARB", "0.5")),
        ltv="0.7",
        draws=(
            Draw(
                "9.8",
                (("USDT", "500000"),),
                FIXED,
                60,
                "Bridge to a token sale",
                Outcome.REJECTED,
                hours="22",
                reason="All collateral is in two thinly traded coins; add BTC or ETH for half of it and ask again.",
            ),
        ),
    ),
    Story(
        "Priya Raman",
        accounts=("Savings",),
        coins=(("ETH", "1"),),
        ltv="0.55",
        draws=(Draw("11.4", (("USDC", "550000"),), FLEXIBLE, None, "A flat", Outcome.CANCELLED, hours="5"),),
        steps=(Withdraw("10.2", "Savings", "ETH", "40"),),
    ),
    # Only moving coins.
    Story(
        "Zenith Arcade",
        steps=(
            TopUp("31.5", "Treasury", "USDT", "420000"),
            TopUp("24.3", "Treasury", "ETH", "60"),
            Trade("23.9", "Treasury", "USDT", "90000", "BTC"),
            Move("18.7", "Treasury", "Operations", "USDT", "120000"),
            Move("12.1", "Operations", "Operations", "USDT", "30000", ("spot", "funding")),
            Trade("8.4", "Treasury", "ETH", "15", "USDC"),
            Withdraw("5.5", "Operations", "USDT", "25000"),
            Move("1.1", "Treasury", "Prizes", "USDT", "18000"),
        ),
    ),
)
