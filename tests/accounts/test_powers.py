"""What each role of a member may do, as one table (R-ADM-09)."""

import pytest

from accounts import powers
from accounts.models import Membership
from accounts.powers import Power, powers_of, who_may

#           signatory, treasurer, trader, viewer; and a signatory of one account only
TABLE = {
    Power.LOOK: (True, True, True, True, True),
    Power.TRADE: (True, True, True, False, True),
    Power.MOVE: (True, True, True, False, True),
    Power.WITHDRAW: (True, True, False, False, True),
    Power.APPLY: (True, True, False, False, False),
    Power.ACCEPT: (True, True, False, False, False),
    Power.REPAY: (True, True, False, False, False),
    Power.PLEDGE: (True, True, False, False, False),
    Power.OPEN: (True, True, False, False, False),
    Power.RULES: (True, True, False, False, False),
    Power.GOVERN: (True, False, False, False, False),
}


@pytest.mark.parametrize("power", list(Power))
def test_the_matrix(power: Power) -> None:
    """R-ADM-09, R-GEN-95"""
    whole = tuple(power in powers_of(role) for role in ("signatory", "treasurer", "trader", "viewer"))
    assert (*whole, power in powers_of("signatory", one_account=True)) == TABLE[power]


def test_every_role_of_a_membership_is_in_it_and_no_other() -> None:
    """R-ADM-09"""
    assert set(powers.POWERS) == set(Membership.Role.values)
    assert powers_of("emperor") == frozenset()
    assert set(powers.WORDS) == set(Power) == set(TABLE)


@pytest.mark.parametrize("role", Membership.Role.values)
def test_one_account_never_gives_more_than_all_of_them(role: str) -> None:
    """R-GEN-95"""
    assert powers_of(role, one_account=True) <= powers_of(role)


@pytest.mark.parametrize(
    ("power", "words"),
    [
        (Power.LOOK, "a signatory, treasurer, trader or viewer"),
        (Power.TRADE, "a signatory, treasurer or trader"),
        (Power.WITHDRAW, "a signatory or treasurer"),
        (Power.GOVERN, "a signatory"),
    ],
)
def test_who_may_in_words(power: Power, words: str) -> None:
    """R-ADM-09"""
    assert who_may(power) == words
