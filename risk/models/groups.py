"""Collateral groups: which wallets of which accounts secure what, and who watches them."""

from typing import Self

from django.db import models
from django.db.models import F, Q

from accounts.models import Account, Asset, Customer, User
from accounts.words import tell
from risk.models.parameters import ProductCode


class GroupQuerySet(models.QuerySet["CollateralGroup"]):
    def visible_to(self, user: User) -> Self:
        """Who acts for one account only sees the group it borrows in, not the one it secures. R-GEN-95"""
        mine = Q(customer__memberships__account__isnull=True) | Q(
            customer__memberships__account=F("receiver")
        )
        return self.filter(mine, customer__memberships__user=user)

    def open(self) -> Self:
        return self.filter(closed_at__isnull=True)

    def locked(self, *pks: int, wait: bool = True) -> list["CollateralGroup"]:
        """The rows, FOR NO KEY UPDATE, in primary-key order; in a statement of their own (ARCHITECTURE 4).

        It excludes itself as FOR UPDATE does, but not a foreign key's check, which accrual makes while it holds debts.
        `wait` False: only those that nobody else has locked.
        """
        rows = self.filter(pk__in=pks).select_for_update(of=("self",), no_key=True, skip_locked=not wait)
        return list(rows.order_by("pk"))


class CollateralGroup(models.Model):
    """Some debts, secured by some wallets, watched against some lines (R-GEN-12).

    `band` and the clocks below it are what the sweep last decided; LTV itself is always computed.
    """

    class Band(models.TextChoices):
        SAFE = "SAFE", tell("Safe")
        WATCH = "WATCH", tell("Watch")
        CALL = "CALL", tell("Call")
        LIQ = "LIQ", tell("LIQUIDATION")

    product = models.CharField(max_length=12, choices=ProductCode.choices)
    customer = models.ForeignKey(Customer, models.PROTECT, related_name="groups")
    receiver = models.ForeignKey(Account, models.PROTECT, related_name="groups_received")
    name = models.CharField(max_length=60)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    band = models.CharField(max_length=5, choices=Band.choices, default=Band.SAFE)
    breach_seen_at = models.DateTimeField(null=True)  # first reading at or over liquidation (R-GEN-23)
    blind_since = models.DateTimeField(null=True)  # prices too old to decide on (R-GEN-22)
    grace_until = models.DateTimeField(null=True)  # after an outage (R-GEN-24)

    objects = GroupQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="one_open_group_per_receiver",
                fields=["receiver", "product"],
                condition=Q(closed_at__isnull=True),
            ),
        )
        indexes = (
            models.Index(
                fields=["band"],
                condition=Q(closed_at__isnull=True, band__in=["CALL", "LIQ"]),
                name="group_in_trouble",
            ),
            models.Index(
                fields=["grace_until"],
                condition=Q(closed_at__isnull=True, grace_until__isnull=False),
                name="group_in_grace",
            ),
        )

    def __str__(self) -> str:
        return f"G-{self.pk:04d}"


class Member(models.Model):
    """A collateral account of a group: its wallet of `wallet` kind counts (R-GEN-11, 13, R-VIP-51)."""

    group = models.ForeignKey(CollateralGroup, models.PROTECT, related_name="members")
    account = models.ForeignKey(Account, models.PROTECT, related_name="pledges")
    wallet = models.CharField(max_length=16, default="spot")
    since = models.DateTimeField()
    released_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="collateral_account_in_one_live_group",
                fields=["account"],
                condition=Q(released_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return tell("{account} in {group}", account=self.account_id, group=self.group_id)


class GroupCoin(models.Model):
    """A chosen collateral coin of a group; only chosen coins count (R-GEN-34)."""

    group = models.ForeignKey(CollateralGroup, models.PROTECT, related_name="coins")
    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    since = models.DateTimeField()
    released_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="coin_once_per_group", fields=["group", "asset"], condition=Q(released_at__isnull=True)
            ),
        )

    def __str__(self) -> str:
        return tell("{asset} in {group}", asset=self.asset_id, group=self.group_id)
