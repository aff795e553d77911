"""The kinds of column this project counts in."""

from typing import Any

from django.db import models
from django.db.models import Func


class ClockTimestamp(Func):
    """When the row was really written, by the database's clock (TRUST I-33)."""

    function = "CLOCK_TIMESTAMP"
    output_field = models.DateTimeField()


def amount_field(**options: Any) -> "models.DecimalField[Any, Any]":
    """NUMERIC(28, 8): sums stay exact in Python's default 28 digits (R-GEN-01)."""
    return models.DecimalField(max_digits=28, decimal_places=8, **options)


def rate_field(**options: Any) -> "models.DecimalField[Any, Any]":
    """A fraction with 12 decimals: 0.084 is 8.4 % (R-GEN-01)."""
    return models.DecimalField(max_digits=18, decimal_places=12, **options)
