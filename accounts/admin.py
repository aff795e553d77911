"""The console's pages on people, the ledger and the records. Money and history are read-only to everybody."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from accounts import firms, keys, members, people, users
from accounts.console import CommandForm, History, ReadOnly, Rows, button, row_or_404, run_command
from accounts.models import (
    Acceptance,
    Account,
    Agreement,
    ApiKey,
    Asset,
    AuditRecord,
    Customer,
    Delivery,
    JournalEntry,
    LedgerAccount,
    Membership,
    Notice,
    Transfer,
    User,
)
from accounts.templatetags import figures

# --- Users ----------------------------------------------------------------------------------------------


class OpenUserForm(CommandForm):
    email = forms.EmailField(label="E-mail")
    name = forms.CharField(max_length=120)
    role = forms.ChoiceField(choices=User.Role.choices)


class ChangeUserForm(CommandForm):
    name = forms.CharField(max_length=120)
    role = forms.ChoiceField(choices=User.Role.choices)
    is_active = forms.BooleanField(label="May sign in", required=False)


@admin.register(User)
class UserAdmin(ReadOnly):
    list_display = ("name", "email", "role", "is_active", "joined_at", "last_login")
    list_filter = ("role", "is_active")
    search_fields = ("name", "email")
    ordering = ("name", "pk")
    fields = ("name", "email", "role", "is_active", "joined_at", "last_login")
    actions_list = ("open_user",)
    actions_detail = ("change_user",)

    @button(title="Open a user", path="open")
    def open_user(self, request: HttpRequest) -> HttpResponse:
        back = reverse("admin:accounts_user_changelist")
        form = OpenUserForm(request.POST or None)
        title = "Open a user; they set a password through “Forgot your password?”"
        return run_command(
            request, self, form, title=title, run=lambda given: users.open_user(**given), back=back
        )

    @button(title="Change name, role or access", path="change-user")
    def change_user(self, request: HttpRequest, object_id: int) -> HttpResponse:
        user = row_or_404(User, object_id)
        initial = {"name": user.name, "role": user.role, "is_active": user.is_active}
        return run_command(
            request,
            self,
            ChangeUserForm(request.POST or None, initial=initial),
            title=f"Change {user.name}",
            run=lambda given: users.change_user(user_id=user.pk, **given),
            back=reverse("admin:accounts_user_change", args=[user.pk]),
        )


# --- Customers ------------------------------------------------------------------------------------------


class VIPLevelForm(CommandForm):
    vip_level = forms.IntegerField(label="VIP level", min_value=0, max_value=people.HIGHEST_VIP_LEVEL)


class ManagerForm(CommandForm):
    manager_id = forms.TypedChoiceField(label="VIP manager", coerce=int, empty_value=None, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        managers = User.objects.filter(role=User.Role.VIP_MANAGER, is_active=True).order_by("name")
        choices = [("", "Nobody"), *managers.values_list("pk", "name")]
        self.base_fields["manager_id"].choices = choices  # type: ignore[attr-defined]
        super().__init__(*args, **kwargs)


class WhitelistForm(CommandForm):
    whitelisted = forms.BooleanField(label="May apply without a VIP level", required=False)


class LimitForm(CommandForm):
    """Whose members and accounts there are is the page's knowledge."""

    user_id = forms.TypedChoiceField(label="Member", coerce=int)
    account_uid = forms.TypedChoiceField(label="Acts for", coerce=int, empty_value=None, required=False)

    def __init__(self, *args: Any, customer: Customer, **kwargs: Any) -> None:
        members = User.objects.filter(memberships__customer=customer).order_by("name", "pk")
        accounts = customer.accounts.order_by("pk")
        choices = {
            "user_id": [(user.pk, str(user)) for user in members],
            "account_uid": [("", "All accounts"), *((account.pk, str(account)) for account in accounts)],
        }
        super().__init__(*args, **kwargs)
        for name, told in choices.items():
            self.fields[name].choices = told  # type: ignore[attr-defined]


class RoleForm(CommandForm):
    user_id = forms.TypedChoiceField(label="Member", coerce=int)
    role = forms.ChoiceField(label="Role", choices=Membership.Role.choices)

    def __init__(self, *args: Any, customer: Customer, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = customer.memberships.select_related("user").order_by("user__name", "pk")
        named = [(row.user_id, f"{row.user}, {row.get_role_display().lower()}") for row in rows]
        self.fields["user_id"].choices = named  # type: ignore[attr-defined]


class MemberForm(CommandForm):
    email = forms.EmailField(label="E-mail of the user")
    role = forms.ChoiceField(label="Role", choices=Membership.Role.choices, initial=Membership.Role.VIEWER)

    def clean(self) -> dict[str, Any]:
        """Names the user instead of their address; who is unknown is opened under Users first."""
        values = super().clean() or {}
        email = values.pop("email", "").lower()
        user = User.objects.filter(email=email).first()
        if user is None and "email" not in self.errors:
            self.add_error("email", "Nobody has this address; open the user first, under Users.")
        return values | {"user_id": user.pk if user else None}


class AccountRows(Rows):
    model = Account
    fields = readonly_fields = ("uid", "kind", "label", "email", "opened_at")


class MembershipRows(Rows):
    model = Membership
    fields = readonly_fields = ("user", "role", "account", "since")
    related = ("user", "account")


@admin.register(Customer)
class CustomerAdmin(ReadOnly):
    list_display = ("name", "kind", "vip_level", "whitelisted", "manager", "joined_at")
    list_select_related = ("manager",)
    list_filter = ("kind", "vip_level", "whitelisted")
    search_fields = ("name",)
    ordering = ("name", "pk")
    inlines = (AccountRows, MembershipRows)
    actions_detail = (
        "set_vip_level",
        "assign_manager",
        "whitelist",
        "add_member",
        "set_role",
        "limit_member",
    )

    @button(title="Set VIP level", path="vip-level")
    def set_vip_level(self, request: HttpRequest, object_id: int) -> HttpResponse:
        row = row_or_404(Customer, object_id)
        form = VIPLevelForm(request.POST or None, initial={"vip_level": row.vip_level})
        return self._run(request, row, form, f"VIP level of {row}", people.set_vip_level)

    @button(title="Assign manager", path="manager")
    def assign_manager(self, request: HttpRequest, object_id: int) -> HttpResponse:
        row = row_or_404(Customer, object_id)
        form = ManagerForm(request.POST or None, initial={"manager_id": row.manager_id})
        return self._run(request, row, form, f"Manager of {row}", people.assign_manager)

    @button(title="Whitelist", path="whitelist")
    def whitelist(self, request: HttpRequest, object_id: int) -> HttpResponse:
        row = row_or_404(Customer, object_id)
        form = WhitelistForm(request.POST or None, initial={"whitelisted": row.whitelisted})
        return self._run(request, row, form, f"Let {row} apply", people.whitelist)

    @button(title="Limit a member to one account", path="limit-member")
    def limit_member(self, request: HttpRequest, object_id: int) -> HttpResponse:
        row = row_or_404(Customer, object_id)
        form = LimitForm(request.POST or None, customer=row)
        return self._run(request, row, form, f"Whom a member of {row} acts for", members.limit)

    @button(title="Add a member", path="add-member")
    def add_member(self, request: HttpRequest, object_id: int) -> HttpResponse:
        row = row_or_404(Customer, object_id)
        form = MemberForm(request.POST or None)
        return self._run(request, row, form, f"Somebody more who acts for {row}", people.add_member)

    @button(title="Change a member's role", path="member-role")
    def set_role(self, request: HttpRequest, object_id: int) -> HttpResponse:
        row = row_or_404(Customer, object_id)
        form = RoleForm(request.POST or None, customer=row)
        return self._run(request, row, form, f"What a member of {row} may do", firms.set_role)

    def _run(
        self, request: HttpRequest, row: Customer, form: CommandForm, title: str, change: Any
    ) -> HttpResponse:
        back = reverse("admin:accounts_customer_change", args=[row.pk])
        return run_command(
            request, self, form, title=title, run=lambda given: change(customer_id=row.pk, **given), back=back
        )


@admin.register(Account)
class AccountAdmin(ReadOnly):
    list_display = ("uid", "label", "kind", "customer", "email", "opened_at")
    list_select_related = ("customer",)
    list_filter = ("kind",)
    search_fields = ("=uid", "label", "email", "customer__name")
    ordering = ("uid",)


class RevokeForm(CommandForm):
    """Only why."""


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnly):
    """Keys of clients' programs, without what is secret about them."""

    plural = "API keys"
    list_display = ("label", "begins", "kind", "account", "user", "may", "created_at", "used", "revoked_at")
    list_select_related = ("account__customer", "user", "use")
    list_filter = ("kind",)
    search_fields = ("label", "key__startswith", "account__label", "account__customer__name", "user__email")
    ordering = ("-pk",)
    fields = readonly_fields = (
        *("label", "begins", "kind", "account", "user", "may", "networks"),
        *("created_at", "expires_at", "used", "revoked_at", "revoked_by"),
    )
    actions_detail = ("revoke",)

    @admin.display(description="Key")
    def begins(self, row: ApiKey) -> str:
        return f"{row.key[:8]}…"

    @admin.display(description="It may")
    def may(self, row: ApiKey) -> str:
        given = [name.removeprefix("can_") for name in ApiKey.PERMISSIONS if getattr(row, name)]
        return ", ".join(given) or "nothing"

    @admin.display(description="Used last")
    def used(self, row: ApiKey) -> str:
        last = getattr(row, "use", None)
        return f"{last.at:%-d %b %Y, %H:%M} UTC from {last.address}" if last else "never"

    def has_halt_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return isinstance(request.user, User) and request.user.is_active and request.user.role in keys.HALTERS

    @button(title="Revoke", path="revoke", permissions=("halt",))
    def revoke(self, request: HttpRequest, object_id: int) -> HttpResponse:
        row = row_or_404(ApiKey, object_id)
        form = RevokeForm(request.POST or None)
        back = reverse("admin:accounts_apikey_change", args=[row.pk])
        return run_command(
            request,
            self,
            form,
            title=f"Revoke {row}; it opens nothing from its next request on",
            run=lambda given: keys.revoke(api_key_id=row.pk, **given),
            back=back,
            verb="Revoke with this reason",
        )


class AgreementForm(CommandForm):
    version = forms.CharField(max_length=20)
    text = forms.CharField(widget=forms.Textarea())


@admin.register(Agreement)
class AgreementAdmin(ReadOnly):
    list_display = ("version", "published_at")
    ordering = ("-published_at",)
    actions_list = ("publish",)

    @button(title="Publish a version", path="publish")
    def publish(self, request: HttpRequest) -> HttpResponse:
        form = AgreementForm(request.POST or None)
        back = reverse("admin:accounts_agreement_changelist")
        title = "Publish the borrowing agreement; everyone accepts it anew"
        return run_command(
            request, self, form, title=title, run=lambda given: people.publish_agreement(**given), back=back
        )


@admin.register(Acceptance)
class AcceptanceAdmin(History):
    list_display = ("customer", "agreement", "user", "at")
    list_select_related = ("customer", "agreement", "user")
    search_fields = ("customer__name",)


@admin.register(Asset)
class AssetAdmin(ReadOnly):
    list_display = ("symbol", "name", "kind", "places", "loanable", "collateral")
    list_filter = ("kind", "loanable", "collateral")
    search_fields = ("symbol", "name")
    ordering = ("symbol",)


# --- The ledger -----------------------------------------------------------------------------------------


@admin.register(LedgerAccount)
class LedgerAccountAdmin(ReadOnly):
    list_display = ("code", "kind", "account", "balance_shown", "debits", "credits")
    list_select_related = ("account",)
    list_filter = ("kind",)
    search_fields = ("code", "account__label")
    ordering = ("code",)
    fields = readonly_fields = (
        "code",
        "kind",
        "account",
        "asset",
        "normal",
        "may_overdraw",
        "balance_shown",
        "debits",
        "credits",
    )

    @admin.display(description="Balance")
    def balance_shown(self, row: LedgerAccount) -> str:
        return figures.plain(row.balance, row.asset_id)


class TransferRows(Rows):
    model = Transfer
    fields = readonly_fields = ("pk", "debit", "credit", "amount")
    related = ("debit", "credit")


@admin.register(JournalEntry)
class JournalEntryAdmin(History):
    plural = "journal entries"
    list_display = ("reference", "kind", "at", "recorded_at")
    search_fields = ("reference",)
    search_help_text = "The beginning of a reference, such as liquidation:42"
    inlines = (TransferRows,)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[JournalEntry], search_term: str
    ) -> tuple[QuerySet[JournalEntry], bool]:
        """By the beginning, which an index answers; a search inside text would read the whole journal."""
        term = search_term.strip()
        return (queryset.filter(reference__startswith=term) if term else queryset), False


@admin.register(Transfer)
class TransferAdmin(History):
    list_display = ("pk", "entry", "debit", "credit", "amount")
    list_select_related = ("entry", "debit", "credit")


# --- Records --------------------------------------------------------------------------------------------


@admin.register(AuditRecord)
class AuditRecordAdmin(History):
    list_display = ("recorded_at", "actor", "kind", "subject", "reason")
    list_filter = ("kind",)
    search_fields = ("=subject", "=actor")
    search_help_text = "A subject such as vip.approve or accounts_customer:7, or an actor such as user:3"


class DeliveryRows(Rows):
    model = Delivery
    fields = readonly_fields = ("channel", "status", "due_at", "sent_at", "answer", "error")


@admin.register(Notice)
class NoticeAdmin(History):
    list_display = ("at", "customer", "kind", "title", "read_at", "dropped_at")
    list_select_related = ("customer",)
    search_fields = ("customer__name", "=event")
    inlines = (DeliveryRows,)
