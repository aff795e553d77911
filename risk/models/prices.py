"""Prices: every observation, kept for ever; a quarantined one is never used."""

from django.db import models
from django.db.models import Q

from accounts.models import Asset, ClockTimestamp
from accounts.words import tell
from risk.models.parameters import usd_field


class Price(models.Model):
    """One observation of one asset in USD. Append-only; a quarantined one is kept but never used."""

    class Status(models.TextChoices):
        GOOD = "good", tell("Good")
        QUARANTINED = "quarantined", tell("Quarantined")

    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    price = usd_field()
    observed_at = models.DateTimeField()
    source = models.CharField(max_length=40)
    sources = models.PositiveSmallIntegerField(default=1)
    quotes = models.JSONField(default=dict)  # what each source said, as text, where more than one was asked
    status = models.CharField(max_length=11, choices=Status.choices)
    reason = models.CharField(max_length=120, blank=True)
    recorded_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="price_positive_and_bounded", condition=Q(price__gt=0, price__lt=10**12)
            ),
        )
        indexes = (
            models.Index(fields=["asset", "-observed_at", "-id"], name="price_latest"),
            models.Index(
                fields=["asset", "-observed_at", "-id"], condition=Q(status="good"), name="price_latest_good"
            ),
        )

    def __str__(self) -> str:
        return tell(
            "{asset} {price:f} at {observed_at:%Y-%m-%d %H:%M:%S}",
            asset=self.asset_id,
            price=self.price.normalize(),
            observed_at=self.observed_at,
        )
