"""Where the pools' coins come from: tranches of our own capital and of what others lend us (R-ADM-12)."""

from django.db import models
from django.db.models import F, Q

from accounts.models import Asset, JournalEntry, amount_field, rate_field
from accounts.words import tell


class Tranche(models.Model):
    """One funding of a pool: whose money, at what cost, until when. What is left of it is the sum of its entries."""

    asset = models.ForeignKey(Asset, models.PROTECT, related_name="tranches")
    lender = models.CharField(max_length=120)  # "" = own capital
    annual_rate = rate_field(default=0)
    opened_at = models.DateTimeField()
    matures_at = models.DateTimeField(null=True)  # NULL = until drawn
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="tranche_rate_0_to_10", condition=Q(annual_rate__gte=0, annual_rate__lt=10)
            ),
            models.CheckConstraint(
                name="tranche_matures_later",
                condition=Q(matures_at__isnull=True) | Q(matures_at__gt=F("opened_at")),
            ),
            models.CheckConstraint(
                name="own_capital_costs_nothing", condition=~Q(lender="") | Q(annual_rate=0)
            ),
        )

    def __str__(self) -> str:
        return f"F-{self.pk:04d}"


class TrancheEntry(models.Model):
    """One event of a tranche, as signed changes of what is owed on it: principal, and cost not yet paid. Append-only.

    A charge has a day: unique per tranche, like a debt's.
    """

    class Kind(models.TextChoices):
        FUND = "fund", tell("Fund")
        DRAW = "draw", tell("Draw")  # given back
        CHARGE = "charge", tell("Charge")
        PAY = "pay", tell("cost paid")

    tranche = models.ForeignKey(Tranche, models.PROTECT, related_name="entries")
    entry = models.ForeignKey(JournalEntry, models.PROTECT, related_name="tranche_entries")
    kind = models.CharField(max_length=6, choices=Kind.choices)
    at = models.DateTimeField()
    principal = amount_field(default=0)
    cost = amount_field(default=0)
    day_end = models.DateTimeField(null=True)  # a charge: the 00:00 UTC it is for

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="one_cost_per_day", fields=["tranche", "day_end"], condition=Q(day_end__isnull=False)
            ),
            models.CheckConstraint(
                name="a_cost_has_a_day",
                condition=Q(kind="charge", day_end__isnull=False, principal=0, cost__gt=0)
                | (~Q(kind="charge") & Q(day_end__isnull=True)),
            ),
        )

    def __str__(self) -> str:
        return tell(
            "{kind} of {tranche} at {at:%Y-%m-%d}", kind=self.kind, tranche=self.tranche_id, at=self.at
        )
