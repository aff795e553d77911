"""Who may act: users, customers and their members, the account tree, the agreement."""

from typing import Any, ClassVar, Self

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models import F, Q

from accounts.models.fields import ClockTimestamp
from accounts.words import tell

UID_LIMIT = 2**53  # uids travel through JSON numbers


class UserManager(BaseUserManager["User"]):
    def create_user(self, *, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser):
    """Someone who signs in. The role says what kind of work they do here; nobody has two."""

    class Role(models.TextChoices):
        BORROWER = "borrower", tell("Borrower")
        VIP_MANAGER = "vip_manager", tell("VIP manager")
        RISK_OFFICER = "risk_officer", tell("Risk Officer")
        OPS = "ops", tell("operations")  # keeps the desk running: looks at all of it, and may stop things
        FINANCE = "finance", tell("Finance")
        AUDITOR = "auditor", tell("Auditor")
        ADMIN = "admin", tell("Admin")

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=120)
    role = models.CharField(max_length=20, choices=Role.choices, default=Role.BORROWER)
    is_active = models.BooleanField(default=True)
    joined_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["name"]

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>"

    @property
    def is_staff(self) -> bool:
        """May open the admin console; what they see and do there depends on the role."""
        return self.is_active and self.role in {
            self.Role.RISK_OFFICER,
            self.Role.OPS,
            self.Role.FINANCE,
            self.Role.AUDITOR,
            self.Role.ADMIN,
        }

    @property
    def is_superuser(self) -> bool:
        """Nobody is above the rules; Django's admin asks."""
        return False

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """Staff look; only an admin changes people and settings, and never money (TRUST section 7)."""
        return self.is_staff and (".view_" in perm or self.role == self.Role.ADMIN)

    def has_module_perms(self, app_label: str) -> bool:
        return self.is_staff


class Customer(models.Model):
    """A person or a firm that borrows. It has one master account; users are its members (R-ADM-09)."""

    class Kind(models.TextChoices):
        PERSON = "person", tell("Person")
        FIRM = "firm", tell("Firm")

    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=6, choices=Kind.choices)
    vip_level = models.PositiveSmallIntegerField(default=0)
    whitelisted = models.BooleanField(default=False)  # non-VIP let in by a manager (R-VIP-01)
    manager = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="clients")
    joined_at = models.DateTimeField()

    class Meta:
        constraints = (models.CheckConstraint(name="vip_level_0_to_9", condition=Q(vip_level__lte=9)),)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user acts for a customer: for all of it, or for one of its accounts only (R-GEN-95).

    The role says what they may do there (accounts/firms.py); a person is the signatory of themselves (R-ADM-09).
    """

    class Role(models.TextChoices):
        SIGNATORY = "signatory", tell("Signatory")  # everything, and who may do what
        TREASURER = "treasurer", tell("Treasurer")  # borrows, pledges, repays, moves and withdraws
        TRADER = "trader", tell("Trader")  # trades, and moves coins between the accounts
        VIEWER = "viewer", tell("Viewer")  # looks

    customer = models.ForeignKey(Customer, models.PROTECT, related_name="memberships")
    user = models.ForeignKey(User, models.PROTECT, related_name="memberships")
    account = models.ForeignKey(
        "Account", models.PROTECT, null=True, related_name="memberships"
    )  # NULL = all
    role = models.CharField(max_length=9, choices=Role.choices, default=Role.SIGNATORY)
    since = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["customer", "user"], name="one_membership_per_user"),)

    def __str__(self) -> str:
        return tell("{user} for {customer}", user=self.user, customer=self.customer)


class AccountQuerySet(models.QuerySet["Account"]):
    def visible_to(self, user: User) -> Self:
        """The accounts this user acts for: all of a customer's, or the one their membership names. R-GEN-95"""
        mine = Q(customer__memberships__account__isnull=True) | Q(customer__memberships__account=F("pk"))
        return self.filter(mine, customer__memberships__user=user)


class Account(models.Model):
    """A node of the account tree: a master, or a sub of exactly one master (R-GEN-10)."""

    class Kind(models.TextChoices):
        MASTER = "master", tell("Master")
        SUB = "sub", tell("Sub")
        SUB_VIRTUAL = "sub_virtual", tell("virtual sub")
        SUB_MANAGED = "sub_managed", tell("managed sub")

    uid = models.BigAutoField(primary_key=True)
    customer = models.ForeignKey(Customer, models.PROTECT, related_name="accounts")
    kind = models.CharField(max_length=12, choices=Kind.choices)
    label = models.CharField(max_length=60)
    email = models.EmailField(unique=True)
    opened_at = models.DateTimeField()

    objects = AccountQuerySet.as_manager()

    class Meta:
        constraints = (
            models.CheckConstraint(name="uid_fits_json", condition=Q(uid__gt=0, uid__lt=UID_LIMIT)),
            models.UniqueConstraint(
                name="one_master_per_customer", fields=["customer"], condition=Q(kind="master")
            ),
        )

    def __str__(self) -> str:
        return tell("{label} ({uid})", label=self.label, uid=self.uid)

    @property
    def is_master(self) -> bool:
        return self.kind == self.Kind.MASTER


class Agreement(models.Model):
    """A published version of the borrowing terms with its risk warning (R-VIP-16)."""

    version = models.CharField(max_length=20, unique=True)
    text = models.TextField()
    published_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.version


class Acceptance(models.Model):
    agreement = models.ForeignKey(Agreement, models.PROTECT, related_name="acceptances")
    customer = models.ForeignKey(Customer, models.PROTECT, related_name="acceptances")
    user = models.ForeignKey(User, models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["agreement", "customer"], name="one_acceptance_per_version"),
        )

    def __str__(self) -> str:
        return tell("{customer} accepted {agreement}", customer=self.customer, agreement=self.agreement)


class FirmPolicy(models.Model):
    """For what a firm asks for two of its own people, from `effective_at` on (R-ADM-09). Append-only.

    Without a row one member is enough, as for a person.
    """

    customer = models.ForeignKey(Customer, models.PROTECT, related_name="firm_policies")
    effective_at = models.DateTimeField()
    apply = models.BooleanField(default=False)  # send a request
    accept = models.BooleanField(default=False)  # accept an offer of the desk
    withdraw = models.BooleanField(default=False)
    remove = models.BooleanField(default=False)  # take an account out of the collateral
    set_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["customer", "effective_at"], name="one_firm_policy_per_time"),
        )

    def __str__(self) -> str:
        return tell(
            "two people at {customer} from {effective_at:%Y-%m-%d}",
            customer=self.customer_id,
            effective_at=self.effective_at,
        )


class Screening(models.Model):
    """What the desk found out about a customer before it pays out: who they are, and sanctions (R-ADM-10).

    Append-only; of each kind the row that was recorded last counts.
    """

    class Kind(models.TextChoices):
        IDENTITY = "identity", tell("identity (KYB or KYC)")
        SANCTIONS = "sanctions", tell("Sanctions")

    class Status(models.TextChoices):
        PENDING = "pending", tell("being checked")
        CLEAR = "clear", tell("Clear")
        REFUSED = "refused", tell("Refused")

    customer = models.ForeignKey(Customer, models.PROTECT, related_name="screenings")
    kind = models.CharField(max_length=9, choices=Kind.choices)
    status = models.CharField(max_length=7, choices=Status.choices)
    reference = models.CharField(max_length=120, blank=True)  # the provider's case or our file
    checked_at = models.DateTimeField()
    valid_until = models.DateTimeField(null=True)  # then it has to be done again
    recorded_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    note = models.TextField(max_length=2000, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="screening_valid_after_it_was_made",
                condition=Q(valid_until__isnull=True) | Q(valid_until__gt=F("checked_at")),
            ),
        )
        indexes = (models.Index(fields=["customer", "kind", "-id"], name="screening_latest"),)

    def __str__(self) -> str:
        return tell(
            "{kind} of {customer}: {status}", kind=self.kind, customer=self.customer_id, status=self.status
        )


class NoticeContact(models.Model):
    """Somebody, or a program, that a customer wants told besides its members (R-FTR-03).

    With `after_minutes` it is an escalation: told only of what is urgent, and only while nobody of the customer has
    acknowledged it.
    """

    class Channel(models.TextChoices):
        EMAIL = "email", tell("e-mail")
        SMS = "sms", "SMS"
        WEBHOOK = "webhook", tell("Webhook")

    customer = models.ForeignKey(Customer, models.PROTECT, related_name="notice_contacts")
    name = models.CharField(max_length=80)
    channel = models.CharField(max_length=7, choices=Channel.choices)
    address = models.CharField(max_length=300)  # e-mail, E.164 number or https address
    secret = models.CharField(max_length=64, blank=True)  # signs what a webhook gets
    urgent_only = models.BooleanField(default=True)
    after_minutes = models.PositiveIntegerField(default=0)
    added_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="one_contact_per_address",
                fields=["customer", "channel", "address"],
                condition=Q(removed_at__isnull=True),
            ),
            models.CheckConstraint(
                name="an_escalation_is_urgent", condition=Q(after_minutes=0) | Q(urgent_only=True)
            ),
        )

    def __str__(self) -> str:
        return tell("{name} ({channel})", name=self.name, channel=self.get_channel_display())
