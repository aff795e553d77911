"""A terms check as JSON: what each coin would cost, and what the loans would do to the group (R-VIP-10, R-VIP-11)."""

from typing import Any

from rest_framework import serializers

from accounts.api.wire import Figure, Instant
from loans.api.asking import WantedTerms
from loans.pages.bargain import wanted_from
from loans.vip.effect import Effect
from loans.vip.terms import Line, TermSheet, handling_told

Shape = serializers.Serializer[Any]


class ProblemOut(Shape):
    """Something in the way: on which field of the request (`wishes.BTC` is one coin's), and words for people."""

    field = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()


class Declined(Shape):
    code = serializers.CharField()
    message = serializers.CharField()


class CoinTerms(Shape):
    """One coin to borrow. Values in USD; `declined` coins stay out while the others go on. R-VIP-06"""

    asset = serializers.CharField()
    amount = Figure()
    annual_rate = Figure(allow_null=True)
    spread = Figure()
    daily_interest = Figure(allow_null=True)
    price = Figure(allow_null=True)
    value_usd = Figure(allow_null=True)
    minimum_usd = Figure(allow_null=True)
    maximum_usd = Figure(allow_null=True)
    max_borrow = Figure(allow_null=True)
    declined = Declined(allow_null=True)


class Levels(Shape):
    """LTV lines and the liquidation fee, as fractions."""

    initial = Figure()
    margin_call = Figure()
    liquidation = Figure()
    cutoff = Figure()
    fee = Figure()


class CollateralCoinOut(Shape):
    """A chosen coin over all accounts, in USD; where its price takes LTV to the liquidation line."""

    asset = serializers.CharField()
    amount = Figure()
    price = Figure(allow_null=True)
    value = Figure()
    recognised = Figure()
    liquidation_price = Figure(places=8, allow_null=True)
    is_fresh = serializers.BooleanField()


class EffectOut(Shape):
    """The group in USD: LTV today, with the accounts of the request, and with its debts; null is infinite."""

    ltv_now = Figure(allow_null=True)
    ltv_before = Figure(allow_null=True)
    ltv_after = Figure(allow_null=True)
    debt_usd = Figure()
    collateral_usd = Figure()
    lines = Levels()
    current_lines = Levels(allow_null=True)
    collateral = CollateralCoinOut(many=True)


class HandlingOut(Shape):
    """How the group would be sold and charged, and what it may trade in a margin call. R-VIP-24"""

    mode = serializers.CharField()
    target = serializers.CharField(allow_null=True)
    fee_base = serializers.CharField()
    call_trades = serializers.CharField()


class Sheet(Shape):
    """The answer of a terms check. Nothing is written by it."""

    at = Instant()
    fingerprint = serializers.CharField(help_text="Send it as `accepted` with the request.")
    is_acceptable = serializers.BooleanField()
    problems = ProblemOut(many=True)
    rate_type = serializers.CharField()
    term_days = serializers.IntegerField(allow_null=True)
    due_at = Instant(allow_null=True)
    value_usd = Figure()
    loans = CoinTerms(many=True)
    effect = EffectOut(allow_null=True)
    overdue_hours = serializers.IntegerField()
    late_multiplier = serializers.IntegerField()
    handling = HandlingOut()
    agreement = serializers.CharField(allow_null=True, help_text="The version to accept first; null: none.")
    wanted = WantedTerms(allow_null=True, help_text="These terms, in the shape of a wish for other ones.")


def sheet_told(sheet: TermSheet) -> dict[str, Any]:
    """The sheet as it goes out."""
    effect = sheet.effect
    shown = {
        "at": sheet.at,
        "fingerprint": sheet.fingerprint,
        "is_acceptable": not sheet.problems,
        "problems": sheet.problems,
        "rate_type": sheet.request.rate_type,
        "term_days": sheet.request.term_days,
        "due_at": sheet.due_at,
        "value_usd": sheet.value,
        "loans": [_coin(line) for line in sheet.lines],
        "effect": None if effect is None else _effect(effect),
        "overdue_hours": sheet.overdue_hours,
        "late_multiplier": sheet.late_multiplier,
        "handling": handling_told(sheet.handling),
        "agreement": None if sheet.agreement is None else sheet.agreement.version,
        "wanted": None if effect is None else wanted_from(sheet),
    }
    return dict(Sheet(shown).data)


def _coin(line: Line) -> dict[str, Any]:
    names = ("asset", "amount", "annual_rate", "spread", "daily_interest", "price", "max_borrow")
    return {name: getattr(line, name) for name in names} | {
        "value_usd": line.value,
        "minimum_usd": line.minimum,
        "maximum_usd": line.maximum,
        "declined": {"code": line.declined_code, "message": line.declined} if line.declined else None,
    }


def _effect(effect: Effect) -> dict[str, Any]:
    return {
        "ltv_now": effect.now.ltv,
        "ltv_before": effect.before.ltv,
        "ltv_after": effect.after.ltv,
        "debt_usd": effect.after.debt,
        "collateral_usd": effect.after.collateral,
        "lines": effect.lines,
        "current_lines": effect.current_lines,
        "collateral": effect.coins,
    }
