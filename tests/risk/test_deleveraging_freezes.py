"""What a freeze of the desk means for chosen de-leveraging: it waits, a liquidation does not. R-FTR-05, R-ADM-04"""

import pytest

from accounts.commands import acting
from risk.models import Freeze, Liquidation
from tests.risk.chosen import NOON, SECOND, chosen, nothing_moves, owing, passes
from tests.risk.forced_sales import SWEEPER

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("what", "where"),
    [
        ("full", "group"),
        ("full", "account"),
        ("trade", "group"),
        ("trade", "account"),
        ("trade", "coin"),
        ("trade", "everywhere"),
        ("repay", "debt coin"),
        ("repay", "everywhere"),
    ],
)
def test_a_freeze_of_what_a_step_does_holds_it_back_and_no_liquidation(what: str, where: str) -> None:
    """R-FTR-05, R-ADM-04: the client's own trade and repayment wait; what the desk needs to sell does not"""
    debt = owing()
    chosen(debt)
    member = debt.group.members.get().account
    scopes: dict[str, dict[str, object]] = {
        "group": {"group": debt.group},
        "account": {"account": member},
        "coin": {"asset_id": "BTC"},
        "debt coin": {"asset_id": "USDT"},
        "everywhere": {},
    }
    with acting(SWEEPER):
        Freeze.objects.create(
            what=what,
            reason="a check",
            starts_at=NOON,
            ends_at=NOON + 18 * SECOND,
            placed_by="user:1",
            **scopes[where],
        )
    with nothing_moves():
        passes(3)
    passes(2, btc="42000", first=3)  # 95.2 %: over the cut-off
    assert [row.cause for row in Liquidation.objects.all()] == ["ltv"]


def test_a_freeze_that_stops_no_step_and_one_that_is_over_hold_nothing_back() -> None:
    """R-FTR-05, R-ADM-04: borrowing and taking out are none of it"""
    debt = owing()
    chosen(debt)
    with acting(SWEEPER):
        for what, ends_at in (("borrow", 60), ("withdraw", 60), ("full", 4)):
            Freeze.objects.create(
                what=what,
                group=debt.group,
                reason="a check",
                starts_at=NOON,
                ends_at=NOON + ends_at * SECOND,
                placed_by="user:1",
            )
    passes(2)
    assert Liquidation.objects.get().cause == "soft"
