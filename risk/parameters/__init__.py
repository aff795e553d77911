"""Limits, ratios, rates and tolerances: facts with dates.

What was in force then is used for then (`in_force.py` looks it up), so a row is never changed: a new one, made
by a command of `publishing.py`, `ratios.py`, `redemptions.py` or `caps.py`, takes over from its `effective_at`.
`preview.py` says what a change would do; it values groups, so it is imported by its own name.
"""

from risk.parameters.caps import (
    publish_asset_cap,
    publish_depth,
    publish_handling,
    publish_loan_limit,
    publish_pace_limit,
)
from risk.parameters.checks import AlreadyPublished, Backdated, BadParameter, NotYourClient
from risk.parameters.in_force import (
    CoinTerms,
    NotPublished,
    feed_rules_at,
    flexible_rate,
    flexible_steps,
    handling_by_customer,
    handling_for,
    limits_behind,
    lines_by_coin,
    lines_by_group,
    lines_for,
    loan_limit,
    loan_limits,
    redemptions_at,
    schedules_at,
    settings_at,
    terms_at,
)
from risk.parameters.publishing import (
    RATES,
    publish_feed_rule,
    publish_flexible_rate,
    publish_limits,
    publish_settings,
    sign_lines,
)
from risk.parameters.ratios import publish_ratios
from risk.parameters.redemptions import publish_redemption

__all__ = [
    "RATES",
    "AlreadyPublished",
    "Backdated",
    "BadParameter",
    "CoinTerms",
    "NotPublished",
    "NotYourClient",
    "feed_rules_at",
    "flexible_rate",
    "flexible_steps",
    "handling_by_customer",
    "handling_for",
    "limits_behind",
    "lines_by_coin",
    "lines_by_group",
    "lines_for",
    "loan_limit",
    "loan_limits",
    "publish_asset_cap",
    "publish_depth",
    "publish_feed_rule",
    "publish_flexible_rate",
    "publish_handling",
    "publish_limits",
    "publish_loan_limit",
    "publish_pace_limit",
    "publish_ratios",
    "publish_redemption",
    "publish_settings",
    "redemptions_at",
    "schedules_at",
    "settings_at",
    "sign_lines",
    "terms_at",
]
