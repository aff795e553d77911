"""R-GEN-41, R-GEN-43, R-GEN-44, R-GEN-62, R-VIP-50 to R-VIP-55: bands, and the permission matrix by cell."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.levels import Action, Band, Lines, band, has_recovered, must_liquidate_at_once, permits
from risk.valuation import Worth

D = Decimal
LINES = Lines(
    initial=D("0.72"), margin_call=D("0.77"), liquidation=D("0.91"), cutoff=D("0.95"), fee=D("0.02")
)
INFINITE = Worth(debt=D(1), collateral=D(0), market=D(0))
UNUSED = Worth(debt=D(0), collateral=D(0), market=D(0))

amounts = st.decimals(min_value=0, max_value=10**9, places=8, allow_nan=False)


def at(percent: str) -> Worth:
    """A group at this LTV: so many dollars owed against a hundred."""
    return Worth(debt=D(percent), collateral=D(100), market=D(100))


@pytest.mark.parametrize(
    ("worth", "expected"),
    [
        (UNUSED, Band.SAFE),
        (at("0"), Band.SAFE),
        (at("71.99999999"), Band.SAFE),
        (at("72"), Band.WATCH),
        (at("76.99999999"), Band.WATCH),
        (at("77"), Band.CALL),
        (at("90.99999999"), Band.CALL),
        (at("91"), Band.LIQ),
        (at("95"), Band.LIQ),
        (at("1000"), Band.LIQ),
        (INFINITE, Band.LIQ),
    ],
)
def test_a_band_begins_at_its_line(worth: Worth, expected: Band) -> None:
    """R-GEN-41, R-GEN-44, R-VIP-50: reaches or exceeds."""
    assert band(worth, LINES) is expected


@pytest.mark.parametrize(
    ("worth", "at_once"),
    [
        (at("94.99999999"), False),
        (at("95"), False),
        (at("95.00000001"), True),
        (INFINITE, True),
        (UNUSED, False),
    ],
)
def test_the_immediate_cut_off_is_strict(worth: Worth, at_once: bool) -> None:
    """R-GEN-41"""
    assert must_liquidate_at_once(worth, LINES) is at_once


@pytest.mark.parametrize(
    ("worth", "recovered"),
    [
        (at("76.99999999"), False),
        (at("76.5"), False),
        (at("76.49999999"), True),
        (UNUSED, True),
        (INFINITE, False),
    ],
)
def test_a_call_ends_below_the_line_less_the_hysteresis(worth: Worth, recovered: bool) -> None:
    """R-GEN-62, EX-23"""
    assert has_recovered(worth, LINES, D("0.005")) is recovered


@given(debt=amounts, collateral=amounts, more=amounts)
def test_more_debt_or_less_collateral_never_improves_the_band(
    debt: Decimal, collateral: Decimal, more: Decimal
) -> None:
    """R-GEN-44"""
    ladder = list(Band)

    def rung(debt: Decimal, collateral: Decimal) -> int:
        return ladder.index(band(Worth(debt=debt, collateral=collateral, market=collateral), LINES))

    assert rung(debt + more, collateral) >= rung(debt, collateral) >= rung(debt, collateral + more)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("0", "0.77", "0.91", "0.95", "0.02"), "must rise"),
        (("0.77", "0.77", "0.91", "0.95", "0.02"), "must rise"),
        (("0.72", "0.91", "0.91", "0.95", "0.02"), "must rise"),
        (("0.72", "0.77", "0.95", "0.95", "0.02"), "must rise"),
        (("0.72", "0.77", "0.96", "0.95", "0.02"), "must rise"),
        (("0.72", "0.77", "0.91", "0.95", "0.06"), "no room for a fee"),
        (("0.72", "0.77", "0.91", "0.95", "-0.01"), "no room for a fee"),
        (("0.72", "0.77", "0.91", "0.9804", "0.02"), "no room for a fee"),  # EX-12: zero at 98.04 %
    ],
)
def test_lines_out_of_order_are_refused(lines: tuple[str, ...], words: str) -> None:
    """R-GEN-43"""
    with pytest.raises(ValueError, match=words):
        Lines(*map(D, lines))


@pytest.mark.parametrize(("cutoff", "fee"), [("0.9803", "0.02"), ("1", "0"), ("0.8", "0.25")])
def test_the_cut_off_may_stand_exactly_at_the_fees_room(cutoff: str, fee: str) -> None:
    """R-GEN-43: cut-off ≤ 1 / (1 + fee)."""
    assert Lines(D("0.5"), D("0.6"), D("0.7"), D(cutoff), D(fee)).cutoff == D(cutoff)


# The columns of R-VIP-52, each tried at both of its ends.
SAFE = (at("0"), at("71.99999999"))
WATCH = (at("72"), at("76.99999999"))
CALL = (at("77"), at("90.99999999"))
LIQ = (at("91"), INFINITE)

BELOW_INITIAL = {"0": True, "71.99999999": True, "72": False, "72.00000001": False, "80": False}
AT_MOST_INITIAL = {"0": True, "71.99999999": True, "72": True, "72.00000001": False, "80": False}
BELOW_CALL = {"0": True, "72": True, "76.99999999": True, "77": False, "77.00000001": False, "95": False}
YES = {"0": True, "72": True, "77": True, "91": True, "95.1": True}
NO = dict.fromkeys(YES, False)

MATRIX = {
    (Action.TRADE, "SAFE"): BELOW_CALL,
    (Action.TRADE, "WATCH"): BELOW_CALL,
    (Action.TRADE, "LIQ"): NO,
    (Action.MOVE_INSIDE, "SAFE"): YES,
    (Action.MOVE_INSIDE, "WATCH"): YES,
    (Action.MOVE_INSIDE, "CALL"): NO,
    (Action.MOVE_INSIDE, "LIQ"): NO,
    (Action.MOVE_OUT, "SAFE"): BELOW_INITIAL,
    (Action.MOVE_OUT, "WATCH"): NO,
    (Action.MOVE_OUT, "CALL"): NO,
    (Action.MOVE_OUT, "LIQ"): NO,
    **{(action, column): YES for action in (Action.DEPOSIT, Action.REPAY) for column in list(Band)},
    (Action.BORROW, "SAFE"): AT_MOST_INITIAL,
    (Action.BORROW, "WATCH"): NO,
    (Action.BORROW, "CALL"): NO,
    (Action.BORROW, "LIQ"): NO,
    (Action.ADD_ACCOUNT, "SAFE"): YES,
    (Action.ADD_ACCOUNT, "WATCH"): YES,
    (Action.ADD_ACCOUNT, "CALL"): YES,
    (Action.ADD_ACCOUNT, "LIQ"): NO,  # outside a grace
    (Action.REMOVE_ACCOUNT, "SAFE"): AT_MOST_INITIAL,
    (Action.REMOVE_ACCOUNT, "WATCH"): NO,
    (Action.REMOVE_ACCOUNT, "CALL"): NO,
    (Action.REMOVE_ACCOUNT, "LIQ"): NO,
    (Action.RENEW, "SAFE"): YES,
    (Action.RENEW, "WATCH"): YES,
    (Action.RENEW, "CALL"): NO,
    (Action.RENEW, "LIQ"): NO,
}
COLUMNS = {"SAFE": SAFE, "WATCH": WATCH, "CALL": CALL, "LIQ": LIQ}
CELLS = [
    (action, before, after, allowed)
    for (action, column), afters in MATRIX.items()
    for before in COLUMNS[column]
    for after, allowed in afters.items()
]


def test_every_cell_of_the_matrix_is_in_the_table() -> None:
    """R-VIP-52; TRADE in CALL compares with the LTV before and has a test of its own."""
    missing = {(action, column) for action in Action for column in COLUMNS} - set(MATRIX)
    assert missing == {(Action.TRADE, "CALL")}


@pytest.mark.parametrize(("action", "before", "after", "allowed"), CELLS)
def test_the_permission_matrix(action: Action, before: Worth, after: str, allowed: bool) -> None:
    """R-VIP-52, R-VIP-53, R-VIP-55"""
    verdict = permits(action=action, before=before, after=at(after), lines=LINES, liquidating=False)
    assert verdict.allowed is allowed
    assert bool(verdict.reason) is not allowed


@pytest.mark.parametrize("before", CALL)
@pytest.mark.parametrize(("change", "allowed"), [("-0.00000001", True), ("0", False), ("0.00000001", False)])
def test_in_call_a_trade_must_lower_ltv(before: Worth, change: str, allowed: bool) -> None:
    """R-VIP-52, R-VIP-54: a cure by swapping into better collateral works."""
    after = Worth(debt=before.debt + D(change), collateral=D(100), market=D(100))
    verdict = permits(action=Action.TRADE, before=before, after=after, lines=LINES, liquidating=False)
    assert verdict.allowed is allowed


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("in_grace", [True, False])
def test_during_a_sale_only_deposits_and_repayments_are_open(action: Action, in_grace: bool) -> None:
    """R-VIP-52, R-GEN-70: whatever the LTV is and would be."""
    verdict = permits(
        action=action, before=at("10"), after=at("5"), lines=LINES, liquidating=True, in_grace=in_grace
    )
    assert verdict.allowed is (action in (Action.DEPOSIT, Action.REPAY))


@pytest.mark.parametrize("action", Action)
def test_a_grace_adds_only_the_adding_of_accounts(action: Action) -> None:
    """R-VIP-52: "yes in grace"."""
    verdict = permits(
        action=action, before=at("92"), after=at("60"), lines=LINES, liquidating=False, in_grace=True
    )
    assert verdict.allowed is (action in (Action.DEPOSIT, Action.REPAY, Action.ADD_ACCOUNT))


@pytest.mark.parametrize(
    ("action", "before", "after", "reason"),
    [
        (
            Action.MOVE_OUT,
            at("60"),
            at("72"),
            "LTV would be 72.00 %; it must stay below the initial line of 72 %.",
        ),
        (
            Action.BORROW,
            at("60"),
            at("72.00000001"),
            "LTV would be 72.01 %, above the initial line of 72 %.",
        ),
        (
            Action.TRADE,
            at("60"),
            INFINITE,
            "LTV would be infinite, as no collateral counts; it must stay below the margin call line of"
            " 77 %.",
        ),
        (
            Action.TRADE,
            at("80"),
            at("80"),
            "LTV is 80.00 %, not below the margin call line of 77 %: only a trade that lowers it is possible,"
            " and this one would leave it at 80.00 %.",
        ),
        (
            Action.TRADE,
            at("91"),
            at("60"),
            "LTV is 91.00 %: you can trade only below the liquidation line of 91 %.",
        ),
        (
            Action.BORROW,
            at("73.456"),
            at("74"),
            "LTV is 73.45 %: you can borrow only below the initial line of 72 %.",
        ),
        (
            Action.RENEW,
            at("77"),
            at("77"),
            "LTV is 77.00 %: you can renew only below the margin call line of 77 %.",
        ),
        (
            Action.ADD_ACCOUNT,
            at("92"),
            at("92"),
            "LTV is 92.00 %: you can add a collateral account only below the liquidation line of 91 %.",
        ),
    ],
)
def test_a_refusal_says_the_ltv_and_the_line(
    action: Action, before: Worth, after: Worth, reason: str
) -> None:
    """R-VIP-52"""
    verdict = permits(action=action, before=before, after=after, lines=LINES, liquidating=False)
    assert verdict.reason == reason


def test_a_refusal_during_a_sale_says_so() -> None:
    """R-GEN-70"""
    verdict = permits(action=Action.MOVE_OUT, before=at("10"), after=at("10"), lines=LINES, liquidating=True)
    assert verdict.reason == (
        "Collateral is being sold: you cannot take coins out of the collateral accounts until the sale ends."
    )
