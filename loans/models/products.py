"""Products and their prices: terms and rate cards with dates, and what one client gets instead."""

from django.db import models
from django.db.models import F, Q

from accounts.models import Asset, Customer, User, rate_field
from accounts.words import tell
from risk.models import ProductCode, usd_field


class Product(models.Model):
    """A product's own terms, in force from `effective_at` (RULES section 12)."""

    code = models.CharField(max_length=12, choices=ProductCode.choices)
    effective_at = models.DateTimeField()
    max_coins = models.PositiveSmallIntegerField(default=10)  # R-VIP-05
    max_accounts = models.PositiveSmallIntegerField(default=50)  # R-VIP-04
    first_minimum = usd_field(default=500000)  # R-VIP-07
    later_minimum = usd_field(default=50000)
    renewal_days = models.PositiveSmallIntegerField(default=7)  # R-VIP-40
    overdue_hours = models.PositiveIntegerField(default=168)  # R-VIP-44
    late_multiplier = models.PositiveSmallIntegerField(default=3)  # R-VIP-43
    offer_hours = models.PositiveIntegerField(default=24)  # how long an offer stands (R-VIP-11)
    quote_hours = models.PositiveIntegerField(default=72)  # how long accepted terms bind the desk (R-VIP-18)
    auto_approve_usd = usd_field(default=0)  # up to here nobody needs to look (R-VIP-12); 0 = never
    auto_approve_ltv = rate_field(default="0.65")  # and LTV after is at most this
    four_eyes_usd = usd_field(default=5000000)  # above it a second person releases the approval (R-VIP-12)
    review_hours = models.PositiveIntegerField(default=24)  # a request is answered within these (R-ADM-08)
    call_notice_hours = models.PositiveIntegerField(default=24)  # an open loan called back (R-VIP-44)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["code", "effective_at"], name="one_product_terms_per_time"),
        )

    def __str__(self) -> str:
        return tell("{code} from {effective_at:%Y-%m-%d}", code=self.code, effective_at=self.effective_at)


class RateType(models.TextChoices):
    FIXED = "fixed", tell("Fixed")
    FLEXIBLE = "flexible", tell("Flexible")


class RateCard(models.Model):
    """A published fixed annual rate by product, coin, term and VIP level (R-VIP-22). Append-only.

    The flexible rate is not a card: it is `risk.FlexibleRate`, which debts read directly.
    """

    product = models.CharField(max_length=12, choices=ProductCode.choices)
    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    term_days = models.PositiveSmallIntegerField()
    vip_level = models.PositiveSmallIntegerField()
    effective_at = models.DateTimeField()
    annual_rate = rate_field()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["product", "asset", "term_days", "vip_level", "effective_at"],
                name="one_card_per_time",
            ),
            models.CheckConstraint(
                name="card_rate_0_to_10", condition=Q(annual_rate__gte=0, annual_rate__lt=10)
            ),
            models.CheckConstraint(name="fixed_terms_are_30_or_60", condition=Q(term_days__in=[30, 60])),
        )

    def __str__(self) -> str:
        return tell(
            "{asset} {term_days} d VIP {vip_level}: {annual_rate:.4%}",
            asset=self.asset_id,
            term_days=self.term_days,
            vip_level=self.vip_level,
            annual_rate=self.annual_rate,
        )


class ClientTerms(models.Model):
    """What one client gets instead of the published terms, for a time (R-ADM-02, R-VIP-24). Append-only.

    The row with the latest start counts, one of the coin before one for all coins. An empty field means: as
    published. LTV lines are `risk.Limits` of the customer; liquidation modes are `risk.HandlingRule`.
    """

    customer = models.ForeignKey(Customer, models.PROTECT, related_name="client_terms")
    asset = models.ForeignKey(Asset, models.PROTECT, null=True, related_name="+")  # NULL = every coin
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    spread = rate_field(null=True)  # added to the published annual rate; below 0 is a discount
    overdue_hours = models.PositiveIntegerField(null=True)
    max_exposure_usd = usd_field(null=True)  # all that the client may owe
    is_uncapped = models.BooleanField(default=False)  # no maximum per coin: good credit history (R-VIP-06)
    allowed_coins = models.JSONField(null=True)  # symbols it may borrow; NULL = every loan coin
    set_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    reason = models.TextField(max_length=2000)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["customer", "asset", "starts_at"],
                name="one_client_terms_per_time",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                name="client_spread_within_one",
                condition=Q(spread__isnull=True) | Q(spread__gt=-1, spread__lt=1),
            ),
        )

    def __str__(self) -> str:
        return tell(
            "terms of {customer} from {starts_at:%Y-%m-%d}",
            customer=self.customer_id,
            starts_at=self.starts_at,
        )


class Authority(models.Model):
    """How far a manager may go alone (R-ADM-10); beyond it somebody with more releases it. Append-only.

    Of those that have not ended the row with the latest start counts; without one the desk's own limits are all. An
    empty field is no limit of its own.
    """

    manager = models.ForeignKey(User, models.PROTECT, related_name="authorities")
    effective_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    max_amount_usd = usd_field(null=True)  # of one approval, with what was lent to the client within 24 h
    max_ltv = rate_field(null=True)  # after paying out
    max_discount = rate_field(null=True)  # below the published annual rate, as a fraction
    set_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    reason = models.TextField(max_length=2000)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["manager", "effective_at"], name="one_authority_per_time"),
            models.CheckConstraint(
                name="authority_ends_after_it_starts",
                condition=Q(ends_at__isnull=True) | Q(ends_at__gt=F("effective_at")),
            ),
            models.CheckConstraint(
                name="authority_not_negative",
                condition=(Q(max_amount_usd__isnull=True) | Q(max_amount_usd__gte=0))
                & (Q(max_ltv__isnull=True) | Q(max_ltv__gte=0))
                & (Q(max_discount__isnull=True) | Q(max_discount__gte=0)),
            ),
        )

    def __str__(self) -> str:
        return tell(
            "authority of {manager} from {effective_at:%Y-%m-%d}",
            manager=self.manager_id,
            effective_at=self.effective_at,
        )
