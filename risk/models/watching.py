"""What happened to groups: events, margin calls, liquidations, sales, movements."""

from django.db import models
from django.db.models import Q

from accounts.models import Account, Asset, ClockTimestamp, Customer, JournalEntry, amount_field, rate_field
from risk.models.debts import Debt
from risk.models.groups import CollateralGroup
from risk.models.parameters import ProductCode, usd_field
from risk.models.prices import Price


class RiskEvent(models.Model):
    """What happened to a group, with the snapshot it was decided on. Append-only."""

    class Kind(models.TextChoices):
        OPENED = "opened"
        BAND = "band"
        CALLED = "called"
        CALL_REPEATED = "call_repeated"
        CALL_ENDED = "call_ended"
        BLIND = "blind"
        SIGHTED = "sighted"
        GRACE = "grace"
        LIQUIDATION_STARTED = "liquidation_started"
        LIQUIDATION_ENDED = "liquidation_ended"
        DEBT_OPENED = "debt_opened"
        DEBT_OVERDUE = "debt_overdue"
        DEBT_CLOSED = "debt_closed"
        DEBT_RESIDUAL = "debt_residual"
        MEMBER_ADDED = "member_added"
        MEMBER_REMOVED = "member_removed"
        CLOSED = "closed"

    group = models.ForeignKey(CollateralGroup, models.PROTECT, related_name="events")
    debt = models.ForeignKey(Debt, models.PROTECT, null=True, related_name="events")
    kind = models.CharField(max_length=20, choices=Kind.choices)
    at = models.DateTimeField()
    ltv = models.DecimalField(
        max_digits=20, decimal_places=12, null=True
    )  # NULL: no collateral, or not valued
    facts = models.JSONField(default=dict)
    recorded_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)

    class Meta:
        indexes = (models.Index(fields=["group", "-id"], name="event_by_group"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.group_id} at {self.at:%Y-%m-%d %H:%M}"


class MarginCall(models.Model):
    """One episode over the margin-call line (R-GEN-62)."""

    class Ended(models.TextChoices):
        CURED = "cured"
        LIQUIDATED = "liquidated"

    group = models.ForeignKey(CollateralGroup, models.PROTECT, related_name="margin_calls")
    opened_at = models.DateTimeField()
    ltv = models.DecimalField(max_digits=20, decimal_places=12, null=True)
    notices = models.PositiveIntegerField(default=1)
    last_notice_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    ended = models.CharField(max_length=10, choices=Ended.choices, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="one_open_call_per_group", fields=["group"], condition=Q(ended_at__isnull=True)
            ),
        )

    def __str__(self) -> str:
        return f"call of {self.group_id} at {self.opened_at:%Y-%m-%d %H:%M}"


class Liquidation(models.Model):
    """One forced sale: its cause, what was there when it began, how it ended (R-GEN-70, 81)."""

    class Cause(models.TextChoices):
        LTV = "ltv", "LTV"
        OVERDUE = "overdue"

    class Status(models.TextChoices):
        RUNNING = "running"
        DONE_SURPLUS = "done_surplus", "done, collateral left"
        DONE_SHORTFALL = "done_shortfall", "done, still owed"

    group = models.ForeignKey(CollateralGroup, models.PROTECT, related_name="liquidations")
    debt = models.ForeignKey(Debt, models.PROTECT, null=True, related_name="liquidations")  # OVERDUE: which
    cause = models.CharField(max_length=8, choices=Cause.choices)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.RUNNING)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    debt_value = usd_field()
    collateral_value = usd_field()
    market_value = usd_field()
    ltv = models.DecimalField(max_digits=20, decimal_places=12, null=True)
    snapshot = models.JSONField()  # lines, prices with ids, every wallet and debt
    sold_usd = usd_field(default=0)
    fee_usd = usd_field(default=0)
    shortfall_usd = usd_field(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="one_running_liquidation_per_group", fields=["group"], condition=Q(status="running")
            ),
        )

    def __str__(self) -> str:
        return f"X-{self.pk}"


class Sale(models.Model):
    """One coin of one account taken for one debt: sold at `price`, or netted when it is the debt's coin."""

    liquidation = models.ForeignKey(Liquidation, models.PROTECT, related_name="sales")
    step = models.PositiveIntegerField()
    account = models.ForeignKey(Account, models.PROTECT, related_name="+")
    debt = models.ForeignKey(Debt, models.PROTECT, related_name="sales")
    coin = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    sold = amount_field()
    mark = models.ForeignKey(Price, models.PROTECT, related_name="+")  # I-27: every sale cites its price
    debt_mark = models.ForeignKey(Price, models.PROTECT, related_name="+")
    price = usd_field()  # executed, USD per coin
    slippage = rate_field()
    proceeds = amount_field()  # in the debt's asset
    fee = amount_field(default=0)  # in the debt's asset
    venue = models.CharField(max_length=40)
    at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["liquidation", "step"], name="one_sale_per_step"),
            models.CheckConstraint(
                name="sale_positive", condition=Q(sold__gt=0, price__gt=0, proceeds__gte=0)
            ),
        )

    def __str__(self) -> str:
        return f"{self.sold} {self.coin_id} for {self.proceeds}"


class Movement(models.Model):
    """A customer's movement that passed the gate: what, and the group's LTV before and after (I-19)."""

    class Kind(models.TextChoices):
        DEPOSIT = "deposit"
        WITHDRAWAL = "withdrawal"
        TRANSFER = "transfer"
        TRADE = "trade"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    customer = models.ForeignKey(Customer, models.PROTECT, related_name="movements")
    source = models.ForeignKey(Account, models.PROTECT, null=True, related_name="+")
    source_wallet = models.CharField(max_length=16, blank=True)
    target = models.ForeignKey(Account, models.PROTECT, null=True, related_name="+")
    target_wallet = models.CharField(max_length=16, blank=True)
    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    amount = amount_field()
    got_asset = models.ForeignKey(Asset, models.PROTECT, null=True, related_name="+")  # trades
    got_amount = amount_field(null=True)
    entry = models.OneToOneField(JournalEntry, models.PROTECT, related_name="movement")
    at = models.DateTimeField()
    address = models.CharField(max_length=120, blank=True)  # where a withdrawal went
    ltv_before = models.DecimalField(max_digits=20, decimal_places=12, null=True)
    ltv_after = models.DecimalField(max_digits=20, decimal_places=12, null=True)
    facts = models.JSONField(default=dict)  # group and prices the decision used

    def __str__(self) -> str:
        return f"{self.kind} {self.amount} {self.asset_id}"


class SweepRun(models.Model):
    """The last pass over the book; the gap to it tells an outage (R-GEN-24)."""

    product = models.CharField(max_length=12, choices=ProductCode.choices, unique=True)
    at = models.DateTimeField()
    groups = models.PositiveIntegerField(default=0)
    seconds = models.DecimalField(max_digits=8, decimal_places=3, default=0)

    def __str__(self) -> str:
        return f"sweep of {self.product} at {self.at:%H:%M:%S}"
