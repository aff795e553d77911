"""Limits, ratios, rates and tolerances: facts with dates.

What was in force then is used for then (`in_force.py` looks it up), so a row is never changed: a new one, made
by a command of `publishing.py`, takes over from its `effective_at`.
"""

from risk.parameters.in_force import (
    CoinTerms,
    NotPublished,
    feed_rules_at,
    flexible_rate,
    flexible_steps,
    handling_by_customer,
    handling_for,
    lines_by_group,
    lines_for,
    loan_limit,
    loan_limits,
    settings_at,
    terms_at,
)
from risk.parameters.publishing import (
    AlreadyPublished,
    Backdated,
    BadParameter,
    publish_feed_rule,
    publish_flexible_rate,
    publish_limits,
    publish_loan_limit,
    publish_ratios,
    publish_settings,
    sign_lines,
)

__all__ = [
    "AlreadyPublished",
    "Backdated",
    "BadParameter",
    "CoinTerms",
    "NotPublished",
    "feed_rules_at",
    "flexible_rate",
    "flexible_steps",
    "handling_by_customer",
    "handling_for",
    "lines_by_group",
    "lines_for",
    "loan_limit",
    "loan_limits",
    "publish_feed_rule",
    "publish_flexible_rate",
    "publish_limits",
    "publish_loan_limit",
    "publish_ratios",
    "publish_settings",
    "settings_at",
    "sign_lines",
    "terms_at",
]
