"""Groups sold together end up as those that were sold one by one. R-GEN-23, R-GEN-70 to 79"""

import pytest

from risk import candidates
from tests.risk.sold_together import World, run


@pytest.mark.parametrize("seed", [2, 5, 13, 15, 20, 21, 23, 24, 28, 29, 49, 53])
@pytest.mark.django_db
def test_together_every_row_is_as_one_by_one(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """R-GEN-23, R-GEN-70 to 79, R-GEN-81: several coins, accounts and debts; delays, steps, paces and pauses

    In each of these worlds some groups are sold in one transaction: one in which nobody is would prove nothing.
    """
    world = World(seed)
    monkeypatch.setattr(candidates, "SALES", 1)
    apart, none = run(world)
    monkeypatch.setattr(candidates, "SALES", 8)
    together, joint = run(world)

    assert (none, max(joint, default=0) >= 2) == ([], True)
    assert apart.keys() == together.keys()
    for part, rows in apart.items():
        assert rows == together[part], part
