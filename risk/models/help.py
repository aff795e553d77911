"""What a borrower sets up beforehand, what it did, and what was said about a margin call."""

from django.db import models
from django.db.models import F, Q

from accounts.models import Account, Asset, User, amount_field, rate_field
from accounts.words import tell
from risk.models.groups import CollateralGroup
from risk.models.watching import MarginCall


class CallRecord(models.Model):
    """One contact about a margin call: the desk called, the client has seen it, promised, or did not keep it.

    Append-only. A promise is kept when the call is cured by `promised_by` (R-FTR-18).
    """

    class Kind(models.TextChoices):
        CONTACTED = "contacted", tell("Contacted")
        ACKNOWLEDGED = "acknowledged", tell("Acknowledged")
        PROMISED = "promised", tell("Promised")
        NOTE = "note", tell("Note")

    class Way(models.TextChoices):
        PHONE = "phone", tell("Phone")
        EMAIL = "email", tell("e-mail")
        CHAT = "chat", tell("Chat")
        MEETING = "meeting", tell("Meeting")
        SITE = "site", tell("on the site")

    call = models.ForeignKey(MarginCall, models.PROTECT, related_name="records")
    kind = models.CharField(max_length=12, choices=Kind.choices)
    way = models.CharField(max_length=7, choices=Way.choices, default=Way.PHONE)
    note = models.TextField(max_length=2000, blank=True)
    promised_by = models.DateTimeField(null=True)
    at = models.DateTimeField()
    by = models.ForeignKey(User, models.PROTECT, related_name="+")

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="a_promise_has_a_time",
                condition=Q(kind="promised", promised_by__gt=F("at"))
                | (~Q(kind="promised") & Q(promised_by__isnull=True)),
            ),
        )

    def __str__(self) -> str:
        return tell(
            "{kind} about {call} at {at:%Y-%m-%d %H:%M}", kind=self.kind, call=self.call_id, at=self.at
        )


class CureRule(models.Model):
    """What is to be done by itself when a group's LTV reaches `trigger`, to bring it to `target` (R-FTR-04).

    TOP_UP moves `asset` from `source`'s `source_wallet` into the collateral account `account`; REPAY repays debts in
    `asset` from the receiver's Spot; SWAP sells `asset` for `buy` in the collateral account `account`. Amounts are in
    `asset`. Rules of a group run in `position`'s order.
    """

    class Kind(models.TextChoices):
        TOP_UP = "top_up", tell("add collateral")
        REPAY = "repay", tell("Repay")
        SWAP = "swap", tell("swap collateral")

    group = models.ForeignKey(CollateralGroup, models.PROTECT, related_name="cure_rules")
    position = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=6, choices=Kind.choices)
    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    source = models.ForeignKey(Account, models.PROTECT, null=True, related_name="+")
    source_wallet = models.CharField(max_length=16, blank=True)
    account = models.ForeignKey(Account, models.PROTECT, null=True, related_name="+")
    buy = models.ForeignKey(Asset, models.PROTECT, null=True, related_name="+")
    trigger = rate_field()
    target = rate_field()
    most_each = amount_field(null=True)  # per use; NULL = whatever is needed
    most_daily = amount_field(null=True)  # within 24 hours
    cooling_minutes = models.PositiveIntegerField(default=60)
    is_dry_run = models.BooleanField(default=False)  # only writes down what it would do
    set_at = models.DateTimeField()
    set_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    removed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="one_cure_rule_per_position",
                fields=["group", "position"],
                condition=Q(removed_at__isnull=True),
            ),
            models.CheckConstraint(
                name="a_cure_lowers_ltv",
                condition=Q(target__gt=0, target__lt=F("trigger"), trigger__lt=1),
            ),
            models.CheckConstraint(
                name="a_cure_rule_names_its_places",
                condition=Q(kind="top_up", source__isnull=False, account__isnull=False, buy__isnull=True)
                | Q(kind="repay", source__isnull=True, account__isnull=True, buy__isnull=True)
                | (
                    Q(kind="swap", source__isnull=True, account__isnull=False, buy__isnull=False)
                    & ~Q(buy=F("asset"))
                ),
            ),
            models.CheckConstraint(
                name="cure_caps_positive",
                condition=(Q(most_each__isnull=True) | Q(most_each__gt=0, most_each__lt=10**18))
                & (Q(most_daily__isnull=True) | Q(most_daily__gt=0, most_daily__lt=10**18)),
            ),
        )

    def __str__(self) -> str:
        return tell(
            "rule {position} of {group}: {kind}",
            position=self.position,
            group=self.group_id,
            kind=self.get_kind_display(),
        )


class CureRun(models.Model):
    """What a rule did, or would have done, or why it could not. Append-only: the log a borrower reads (R-FTR-04)."""

    class Outcome(models.TextChoices):
        DONE = "done", tell("Done")
        WOULD = "would", tell("would have acted")  # a dry run
        REFUSED = "refused", tell("could not act")

    rule = models.ForeignKey(CureRule, models.PROTECT, related_name="runs")
    outcome = models.CharField(max_length=7, choices=Outcome.choices)
    at = models.DateTimeField()
    amount = amount_field(null=True)
    got_amount = amount_field(null=True)  # a swap's
    ltv_before = models.DecimalField(max_digits=20, decimal_places=12, null=True)
    ltv_after = models.DecimalField(max_digits=20, decimal_places=12, null=True)
    why = models.CharField(max_length=300, blank=True)
    facts = models.JSONField(default=dict)  # prices by id, what it moved

    class Meta:
        indexes = (models.Index(fields=["rule", "-at"], name="cure_run_latest"),)

    def __str__(self) -> str:
        return tell(
            "{outcome} by {rule} at {at:%Y-%m-%d %H:%M}", outcome=self.outcome, rule=self.rule_id, at=self.at
        )


class Deleveraging(models.Model):
    """A borrower's choice to be sold from early, a little at a time and for a lower fee (R-FTR-05).

    At or above LTV `start` a step is sold, which repays at most `step_share` of the debt and stops at `target`.
    """

    group = models.ForeignKey(CollateralGroup, models.PROTECT, related_name="deleveragings")
    start = rate_field()
    target = rate_field()
    step_share = rate_field(default="0.1")
    set_at = models.DateTimeField()
    set_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    removed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="one_deleveraging_per_group", fields=["group"], condition=Q(removed_at__isnull=True)
            ),
            models.CheckConstraint(
                name="deleveraging_lowers_ltv",
                condition=Q(target__gt=0, target__lt=F("start"), start__lt=1)
                & Q(step_share__gt=0, step_share__lte=1),
            ),
        )

    def __str__(self) -> str:
        return tell("de-leveraging of {group} from {start:.2%}", group=self.group_id, start=self.start)
