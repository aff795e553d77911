"""What a program says when it asks for a loan, and what it wants of the terms: read into the chapters' own shapes.

The fields are called as in `eligibility.Request`, so that a problem's `field` names what was sent.
"""

from typing import Any, Final

from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers

from accounts.api.edge import Asker
from accounts.api.wire import Amount, Body, Choice, Flag, Fraction, Line, Number, Spread, Uid
from loans.models import RateType
from loans.vip.eligibility import LONGEST_CONTACT, LONGEST_PURPOSE, LONGEST_TERM
from loans.vip.sheets import LONGEST_OVERDUE, CoinRate, Wanted
from loans.vip.terms import LEVELS, Request, Wish

MOST_NAMED: Final = 100  # of a list; how many may be is the terms check's question, and it says so in words

REQUEST: Final = {
    "receiver_uid": 10000001,
    "account_uids": [10000002],
    "coins": ["BTC"],
    "wishes": [{"asset": "USDT", "amount": "1000000"}],
    "rate_type": "fixed",
    "term_days": 30,
    "contact": "treasury@example.com",
    "purpose": "Working capital",
}
"""As the API's description shows it."""
WANTED: Final = {
    "rates": [{"asset": "USDT", "rate": "0.08"}],
    "initial": "0.72",
    "margin_call": "0.77",
    "liquidation": "0.91",
    "cutoff": "0.95",
    "fee": "0.02",
    "term_days": 30,
    "overdue_hours": 168,
}


class WishIn(Body):
    """One coin to borrow."""

    asset = Line(max_length=20)
    amount = Amount()


class Asking(Body):
    """A request as the terms check reads it. R-VIP-10"""

    receiver_uid = Uid(help_text="The account the loan is paid out to.")
    account_uids = serializers.ListField(
        child=Uid(),
        max_length=MOST_NAMED,
        help_text="Collateral accounts; may be empty when the receiver's group has its accounts already.",
    )
    coins = serializers.ListField(
        child=Line(max_length=20), max_length=MOST_NAMED, help_text="Collateral coins; only these count."
    )
    wishes = serializers.ListField(child=WishIn(), max_length=MOST_NAMED)
    rate_type = Choice(RateType.choices)
    term_days = Number(min_value=1, max_value=LONGEST_TERM, allow_null=True, help_text="null: an open term.")
    contact = Line(max_length=LONGEST_CONTACT)
    purpose = Line(max_length=LONGEST_PURPOSE)
    manager_id = Uid(required=False, allow_null=True, default=None)
    all_or_nothing = Flag(
        default=False, help_text="A coin that cannot be lent stops the others too. R-VIP-19"
    )
    auto_repay = Flag(default=False, help_text="At expiry, from the receiver's Spot. R-VIP-47")

    def validate_account_uids(self, uids: list[int]) -> list[int]:
        return _each_once(uids)

    def validate_coins(self, coins: list[str]) -> list[str]:
        return _each_once(coins)


class RateWanted(Body):
    """A fixed annual rate, or what is added to the flexible one, as a fraction."""

    asset = Line(max_length=20)
    rate = Spread()


class WantedTerms(Body):
    """Every term that can be bargained over, as one side wants it. R-VIP-11, R-VIP-24"""

    rates = serializers.ListField(child=RateWanted(), max_length=MOST_NAMED)
    initial = Fraction()
    margin_call = Fraction()
    liquidation = Fraction()
    cutoff = Fraction()
    fee = Fraction(help_text="Of a liquidation.")
    term_days = Number(min_value=1, max_value=LONGEST_TERM, allow_null=True, help_text="null: an open term.")
    overdue_hours = Number(min_value=1, max_value=LONGEST_OVERDUE, help_text="From expiry to forced sale.")


def request_of(told: dict[str, Any], asker: Asker) -> Request:
    """The request that a valid `Asking` tells."""
    names = ("receiver_uid", "rate_type", "term_days", "contact", "purpose", "manager_id")
    return Request(
        customer_id=asker.customer.pk,
        applicant_id=asker.user.pk,
        account_uids=tuple(told["account_uids"]),
        coins=tuple(told["coins"]),
        wishes=tuple(Wish(wish["asset"], wish["amount"]) for wish in told["wishes"]),
        all_or_nothing=told["all_or_nothing"],
        auto_repay=told["auto_repay"],
        **{name: told[name] for name in names},
    )


def wanted_of(told: dict[str, Any]) -> Wanted:
    """What a valid `WantedTerms` tells."""
    return Wanted(
        rates=tuple(CoinRate(rate["asset"], rate["rate"]) for rate in told["rates"]),
        **{name: told[name] for name in LEVELS},
        term_days=told["term_days"],
        overdue_hours=told["overdue_hours"],
    )


def shown(name: str, value: dict[str, Any]) -> OpenApiExample:
    """A request in the API's description."""
    return OpenApiExample(name, value=value, request_only=True)


def _each_once(named: list[Any]) -> list[Any]:
    if len(set(named)) < len(named):
        raise serializers.ValidationError("Name each once.")
    return named
