"""The fixed-rate market: what the desk offers at a rate and for a term, and the orders that took of it (R-VIP-26)."""

from django.db import models
from django.db.models import F, Q

from accounts.models import Asset, User, amount_field, rate_field
from accounts.words import tell
from loans.models.contracts import Loan
from risk.models import ProductCode


class SupplyOrder(models.Model):
    """An amount of one coin that finance offers at one yearly rate for one term; borrowers take parts of it.

    What is left is the amount less what was taken. Its terms never change: it is closed, and another one entered.
    """

    product = models.CharField(max_length=12, choices=ProductCode.choices, default=ProductCode.VIP)
    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    annual_rate = rate_field()
    term_days = models.PositiveSmallIntegerField()
    amount = amount_field()
    minimum = amount_field()  # of one taking
    opened_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    entered_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="supply_minimum_within_amount",
                condition=Q(minimum__gt=0, minimum__lte=F("amount"), amount__lt=10**18),
            ),
            models.CheckConstraint(
                name="supply_term_1_to_365_days", condition=Q(term_days__gte=1, term_days__lte=365)
            ),
            models.CheckConstraint(
                name="supply_rate_0_to_10", condition=Q(annual_rate__gte=0, annual_rate__lt=10)
            ),
            models.CheckConstraint(
                name="supply_ends_after_it_opened",
                condition=Q(ends_at__isnull=True) | Q(ends_at__gt=F("opened_at")),
            ),
        )
        indexes = (
            models.Index(
                fields=["asset", "term_days"], condition=Q(closed_at__isnull=True), name="supply_on_offer"
            ),
        )

    def __str__(self) -> str:
        return f"S-{self.pk:04d}"


class SupplyTake(models.Model):
    """What one loan took of one supply order. Append-only; the database adds them up against the order."""

    order = models.ForeignKey(SupplyOrder, models.PROTECT, related_name="takes")
    loan = models.ForeignKey(Loan, models.PROTECT, related_name="supply")
    amount = amount_field()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["order", "loan"], name="one_taking_per_order_and_loan"),
            models.CheckConstraint(name="taking_positive", condition=Q(amount__gt=0, amount__lt=10**18)),
        )

    def __str__(self) -> str:
        return tell("{amount} of {order}", amount=self.amount, order=self.order_id)
