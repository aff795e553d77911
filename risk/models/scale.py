"""What the watch over a large book keeps between its passes, and what limits how fast it sells."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from accounts.models import Asset, ClockTimestamp, User
from accounts.words import recalled, tell
from risk.models.groups import CollateralGroup
from risk.models.parameters import ProductCode, usd_field


class Moved(models.Model):
    """Which wallets, debts or groups a statement changed: the change feed of the books in memory. Kept for an hour.

    Written by triggers only (migrations 0008 and 0012). `xid`, the transaction, is a column that Django does not know
    of: who reads from the oldest transaction that was running at the last look on misses no late commit. Beside `ids`,
    of wallets and debts, stand their `totals` after the statement, and of debts when they are accrued through (`ends`,
    seconds since 1970): doubles for the screen, which decides nothing.
    """

    class Kind(models.TextChoices):
        WALLET = "wallet", tell("Wallet")
        DEBT = "debt", tell("Debt")
        GROUP = "group", tell("Group")

    kind = models.CharField(max_length=6, choices=Kind.choices)
    ids = ArrayField(models.BigIntegerField())
    totals = ArrayField(models.FloatField(), null=True)
    ends = ArrayField(models.FloatField(), null=True)
    recorded_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)

    def __str__(self) -> str:
        return tell("{count} × {kind}", count=len(self.ids), kind=self.kind)


class Candidate(models.Model):
    """A group that needs an exact look, found by the pass of `at`: the queue that any number of workers claim from.

    The most dangerous goes first; `danger` is the screen's LTV, `sells` its guess that collateral must be sold.
    `alone`: an earlier look found that it needs a transaction of its own.
    """

    product = models.CharField(max_length=12, choices=ProductCode.choices)
    group = models.OneToOneField(CollateralGroup, models.PROTECT, related_name="candidate")
    danger = models.FloatField()
    sells = models.BooleanField(default=False)
    alone = models.BooleanField(default=False, db_default=False)
    at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=["product", "-danger", "group"], name="candidate_by_danger"),)

    def __str__(self) -> str:
        return tell("look at {group}", group=self.group_id)


class PaceLimit(models.Model):
    """How much of a coin liquidations may sell in a span, in USD, from `effective_at`; NULL = any. R-FTR-22"""

    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    effective_at = models.DateTimeField()
    most_usd = usd_field(null=True)
    span_seconds = models.PositiveIntegerField(default=600)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["asset", "effective_at"], name="one_pace_limit_per_time"),
            models.CheckConstraint(
                name="pace_limit_positive",
                condition=(Q(most_usd__isnull=True) | Q(most_usd__gt=0)) & Q(span_seconds__gt=0),
            ),
        )

    def __str__(self) -> str:
        return tell(
            "pace of {asset} from {effective_at:%Y-%m-%d}",
            asset=self.asset_id,
            effective_at=self.effective_at,
        )


class Redemption(models.Model):
    """What one coin is redeemed for: `ratio` of `underlying`, in force from `effective_at` (R-FTR-21).

    While a ratio is in force the coin's price is the ratio times the price of what it stands for, whatever its own
    market prints. NULL: from then on its own market counts again.
    """

    asset = models.ForeignKey(Asset, models.PROTECT, related_name="redemptions")
    underlying = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    effective_at = models.DateTimeField()
    ratio = models.DecimalField(max_digits=28, decimal_places=18, null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["asset", "effective_at"], name="one_redemption_per_time"),
            models.CheckConstraint(
                name="redemption_positive_and_bounded",
                condition=Q(ratio__isnull=True) | Q(ratio__gt=0, ratio__lt=10**9),
            ),
            models.CheckConstraint(
                name="redeemed_for_another_coin", condition=~Q(asset=models.F("underlying"))
            ),
        )

    def __str__(self) -> str:
        return tell(
            "{asset} is {ratio} {underlying} from {effective_at:%Y-%m-%d}",
            asset=self.asset_id,
            ratio=self.ratio,
            underlying=self.underlying_id,
            effective_at=self.effective_at,
        )


class StressRun(models.Model):
    """A question about the whole book under other prices or parameters, and its answer (R-FTR-27)."""

    scenario = models.JSONField()
    asked_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    asked_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    result = models.JSONField(null=True)
    problem = models.CharField(max_length=200, blank=True)  # why there is no answer, in words

    def __str__(self) -> str:
        return tell("stress {pk} of {asked_at:%Y-%m-%d %H:%M}", pk=self.pk, asked_at=self.asked_at)

    @property
    def title(self) -> str:
        """What the scenario calls itself, in words where they were kept."""
        return recalled(self.scenario["path"]["title"], self.scenario.get("memory"))
