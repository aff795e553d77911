"""What happened to groups: events, margin calls, liquidations, sales, movements."""

from django.db import models
from django.db.models import Q

from accounts.models import (
    Account,
    Asset,
    ClockTimestamp,
    Customer,
    JournalEntry,
    LedgerAccount,
    User,
    amount_field,
    rate_field,
)
from accounts.words import tell
from risk.models.debts import Debt
from risk.models.groups import CollateralGroup
from risk.models.parameters import HandlingRule, ProductCode, usd_field
from risk.models.prices import Price


class RiskEvent(models.Model):
    """What happened to a group, with the snapshot it was decided on. Append-only."""

    class Kind(models.TextChoices):
        OPENED = "opened", tell("Opened")
        BAND = "band", tell("Band")
        CALLED = "called", tell("Called")
        CALL_REPEATED = "call_repeated", tell("Call Repeated")
        CALL_ENDED = "call_ended", tell("Call Ended")
        BLIND = "blind", tell("Blind")
        SIGHTED = "sighted", tell("Sighted")
        GRACE = "grace", tell("Grace")
        LIQUIDATION_STARTED = "liquidation_started", tell("Liquidation Started")
        LIQUIDATION_ENDED = "liquidation_ended", tell("Liquidation Ended")
        DEBT_OPENED = "debt_opened", tell("Debt Opened")
        DEBT_OVERDUE = "debt_overdue", tell("Debt Overdue")
        DEBT_CLOSED = "debt_closed", tell("Debt Closed")
        DEBT_RESIDUAL = "debt_residual", tell("Debt Residual")
        MEMBER_ADDED = "member_added", tell("Member Added")
        MEMBER_REMOVED = "member_removed", tell("Member Removed")
        CLOSED = "closed", tell("Closed")
        WARNED = "warned", tell("Warned")  # an early warning line was crossed (R-GEN-63, 64)
        DELAY_STARTED = "delay_started", tell("Delay Started")  # delayed liquidation (R-VIP-60…62)
        DELAY_EXTENDED = "delay_extended", tell("Delay Extended")
        DELAY_ENDED = "delay_ended", tell("Delay Ended")
        LIQUIDATION_STEP = "liquidation_step", tell("Liquidation Step")
        GRACE_EXTENDED = "grace_extended", tell("Grace Extended")
        FROZEN = "frozen", tell("Frozen")
        UNFROZEN = "unfrozen", tell("Unfrozen")
        DEBT_CALLED = "debt_called", tell("Debt Called")
        DEBT_SETTLED = "debt_settled", tell("Debt Settled")  # the insurance fund paid (R-GEN-78)
        DEBT_WRITTEN_OFF = "debt_written_off", tell("Debt Written Off")
        PLAN_AGREED = "plan_agreed", tell("Plan Agreed")
        CALL_RECORD = (
            "call_record",
            tell("Call Record"),
        )  # the desk, or the borrower, about a margin call (R-FTR-18)
        AUTO_CURE = "auto_cure", tell("Auto Cure")  # a rule of the borrower's acted (R-FTR-04)
        SOFT_SET = "soft_set", tell("Soft Set")  # de-leveraging was chosen, changed or ended (R-FTR-05)
        CORRECTED = "corrected", tell("Corrected")  # an entry was reversed (R-ADM-11)

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
        return tell("{kind} {group} at {at:%Y-%m-%d %H:%M}", kind=self.kind, group=self.group_id, at=self.at)


class MarginCall(models.Model):
    """One episode over the margin-call line (R-GEN-62)."""

    class Ended(models.TextChoices):
        CURED = "cured", tell("Cured")
        LIQUIDATED = "liquidated", tell("Liquidated")

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
        return tell(
            "call of {group} at {opened_at:%Y-%m-%d %H:%M}", group=self.group_id, opened_at=self.opened_at
        )


class Liquidation(models.Model):
    """One forced sale: its cause, what was there when it began, how it ended (R-GEN-70, 81)."""

    class Cause(models.TextChoices):
        LTV = "ltv", tell("LTV")
        OVERDUE = "overdue", tell("Overdue")
        MANUAL = "manual", tell("by hand")
        SOFT = "soft", tell("chosen de-leveraging")  # one step of it (R-FTR-05)

    class Status(models.TextChoices):
        RUNNING = "running", tell("Running")
        STOPPED_HEALTHY = "stopped_healthy", tell("stopped, LTV is back at its target")
        DONE_SURPLUS = "done_surplus", tell("done, collateral left")
        DONE_SHORTFALL = "done_shortfall", tell("done, still owed")

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
    mode = models.CharField(max_length=8, choices=HandlingRule.Mode.choices, default=HandlingRule.Mode.FULL)
    target = rate_field(null=True)  # STEPPED: the LTV at which it stops
    fee_base = models.CharField(
        max_length=16, choices=HandlingRule.FeeBase.choices, default=HandlingRule.FeeBase.DEBT_REPAID
    )
    steps = models.PositiveIntegerField(default=0)  # transactions in which something was sold
    end_ltv = models.DecimalField(max_digits=20, decimal_places=12, null=True)
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
        indexes = (models.Index(fields=["coin", "-at"], name="sale_by_coin"),)  # its pace (R-FTR-22)

    def __str__(self) -> str:
        return tell("{sold} {coin} for {proceeds}", sold=self.sold, coin=self.coin_id, proceeds=self.proceeds)


class Movement(models.Model):
    """A customer's movement that passed the gate: what, and the group's LTV before and after (I-19)."""

    class Kind(models.TextChoices):
        DEPOSIT = "deposit", tell("Deposit")
        WITHDRAWAL = "withdrawal", tell("Withdrawal")
        TRANSFER = "transfer", tell("Transfer")
        TRADE = "trade", tell("Trade")

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
        return tell("{kind} {amount} {asset}", kind=self.kind, amount=self.amount, asset=self.asset_id)

    @property
    def source_wallet_words(self) -> str:
        return _wallet(self.source_wallet)

    @property
    def target_wallet_words(self) -> str:
        return _wallet(self.target_wallet)


class SweepRun(models.Model):
    """The last pass over the book; the gap to it tells an outage (R-GEN-24)."""

    product = models.CharField(max_length=12, choices=ProductCode.choices, unique=True)
    at = models.DateTimeField()
    groups = models.PositiveIntegerField(default=0)
    seconds = models.DecimalField(max_digits=8, decimal_places=3, default=0)

    def __str__(self) -> str:
        return tell("sweep of {product} at {at:%H:%M:%S}", product=self.product, at=self.at)


class DelayEnrolment(models.Model):
    """A customer whose liquidations are delayed, granted by a manager from one date to another (R-VIP-60)."""

    customer = models.ForeignKey(Customer, models.PROTECT, related_name="delay_enrolments")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    granted_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    granted_at = models.DateTimeField()
    review_since = models.DateTimeField(
        null=True
    )  # a delay ran out without a cure: look at it again (R-VIP-62)

    def __str__(self) -> str:
        return tell(
            "delayed liquidation for {customer} from {starts_at:%Y-%m-%d}",
            customer=self.customer_id,
            starts_at=self.starts_at,
        )


class LiquidationDelay(models.Model):
    """One liquidation call: the hours in which an enrolled borrower may bring LTV back to initial (R-VIP-60…62)."""

    class Ended(models.TextChoices):
        CURED = "cured", tell("LTV is at or below initial")
        CUT_OFF = "cut_off", tell("LTV rose above the cut-off")
        SOLD = "sold", tell("time was up, LTV at or over liquidation")
        STEPPED = "stepped", tell("time was up, LTV between margin call and liquidation")
        NO_SALE = "no_sale", tell("time was up, LTV below margin call")
        SETTLED = "settled", tell("nothing was owed any more")

    group = models.ForeignKey(CollateralGroup, models.PROTECT, related_name="delays")
    enrolment = models.ForeignKey(DelayEnrolment, models.PROTECT, related_name="delays")
    started_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    ltv = models.DecimalField(max_digits=20, decimal_places=12, null=True)
    ended_at = models.DateTimeField(null=True)
    ended = models.CharField(max_length=8, choices=Ended.choices, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="one_running_delay_per_group", fields=["group"], condition=Q(ended_at__isnull=True)
            ),
        )

    def __str__(self) -> str:
        return tell(
            "delay of {group} until {ends_at:%Y-%m-%d %H:%M}", group=self.group_id, ends_at=self.ends_at
        )


class WarningLine(models.Model):
    """An earlier line of the borrower's own: a word on the way up, no consequence (R-GEN-63, 64).

    With an asset it counts while the group holds that coin as collateral. `crossed_at` is the crossing told last;
    it is cleared when LTV is clearly below the line again.
    """

    group = models.ForeignKey(CollateralGroup, models.PROTECT, related_name="warning_lines")
    asset = models.ForeignKey(Asset, models.PROTECT, null=True, related_name="+")
    ltv = rate_field()
    set_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True)
    crossed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="one_warning_line_per_ltv",
                fields=["group", "asset", "ltv"],
                condition=Q(removed_at__isnull=True),
                nulls_distinct=False,
            ),
            models.CheckConstraint(name="warning_ltv_0_to_1", condition=Q(ltv__gt=0, ltv__lt=1)),
        )

    def __str__(self) -> str:
        return tell("{group} warned at {ltv:.2%}", group=self.group_id, ltv=self.ltv)


class Freeze(models.Model):
    """Something is stopped, for a reason and until a time (R-ADM-04). Without account, group and coin: everywhere."""

    class What(models.TextChoices):
        BORROW = "borrow", tell("no borrowing")
        WITHDRAW = "withdraw", tell("no withdrawals")
        TRADE = "trade", tell("no trades")
        FULL = "full", tell("no borrowing, withdrawals, trades or changes of accounts")
        COLLATERAL = "collateral", tell("counts nothing for new borrowing")  # a coin
        REPAY = (
            "repay",
            tell("repayments cannot be accepted"),
        )  # late charges and overdue clocks pause (R-VIP-45)
        LIQUIDATE = "liquidate", tell("nothing is liquidated")  # a pause by hand (R-ADM-05)

    what = models.CharField(max_length=10, choices=What.choices)
    account = models.ForeignKey(Account, models.PROTECT, null=True, related_name="freezes")
    group = models.ForeignKey(CollateralGroup, models.PROTECT, null=True, related_name="freezes")
    asset = models.ForeignKey(Asset, models.PROTECT, null=True, related_name="freezes")
    reason = models.TextField(max_length=2000)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    placed_by = models.CharField(max_length=60)
    lifted_at = models.DateTimeField(null=True)
    lifted_by = models.CharField(max_length=60, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="freeze_ends_after_it_starts", condition=Q(ends_at__gt=models.F("starts_at"))
            ),
            models.CheckConstraint(name="freeze_says_why", condition=~Q(reason="")),
            models.CheckConstraint(
                name="freeze_has_one_scope",
                condition=Q(account__isnull=True, group__isnull=True)
                | Q(account__isnull=True, asset__isnull=True)
                | Q(group__isnull=True, asset__isnull=True),
            ),
        )

    def __str__(self) -> str:
        scope = (
            self.account_id or (f"G-{self.group_id:04d}" if self.group_id else self.asset_id) or "everything"
        )
        return tell("{what}: {scope}", what=self.get_what_display(), scope=scope)


def _wallet(kind: str) -> str:
    return LedgerAccount.Kind(kind).label.lower() if kind else ""
