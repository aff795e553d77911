"""Every page of the desk, its address in the seeded demo and who looks at it.

The names come from the URL resolver, the keys from the demo's rows. An address that is no page stands in NOT_PAGES with
the reason; a new page is found by itself, or fails until somebody says how to reach it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.apps import apps
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts import outbox, reach
from accounts.models import ApiKey, Approval, Customer, Export, JournalEntry, LedgerAccount, Notice
from loans.demo import cast
from loans.models import Application, BalanceConfirmation, Enquiry, Loan, SupplyOrder
from risk.models import CollateralGroup, Debt, DebtEntry, Liquidation, MarginCall, Member, StressRun, Tranche

NOBODY: Final = "signed out"
PROGRAMS: Final = ("sapi", "api/+v3", "api/v1/")  # answer programs, but for the page that describes them

POST: Final = "only takes what a form sends"
FILE: Final = "a file, not a page"
PART: Final = "a part of a page"
MOVED: Final = "leads to another page"
READ_ONLY: Final = "the console neither adds nor deletes"
SAME: Final = "the same page for every model, looked at for users"
NO_MAIL: Final = "only from a link in an e-mail, which the demo does not send"

CONSOLE_MODEL: Final = re.compile(
    r"^admin:(accounts|risk|loans)_([a-z]+)_(changelist|change|add|delete|history)$"
)


@dataclass(frozen=True, slots=True)
class Visit:
    """One page as one person sees it; `picked` tells rows apart when the same page is looked at twice."""

    name: str
    who: str
    picked: str = ""

    @property
    def slug(self) -> str:
        words = (self.name, self.picked, self.who)
        return re.sub(r"[^a-z0-9]+", "-", "-".join(filter(None, words)).lower())

    @property
    def address(self) -> str:
        return address(self)


NOT_PAGES: Final[dict[str, str]] = {
    **dict.fromkeys(
        (
            *(
                "accounts:test_notice",
                "accounts:acknowledge",
                "accounts:contact_add",
                "accounts:contact_test",
            ),
            *("accounts:contact_remove", "loans:statement_ask", "loans:statement_verify"),
            *("loans:client_statement_ask", "loans:client_note_done", "loans:margin_call_record"),
            *(
                "loans:desk_delays_change",
                "loans:desk_freeze_lift",
                "loans:books_export",
                "loans:books_close",
            ),
            *("loans:cure_rules_remove", "risk:warnings_remove", "risk:soft_end", "loans:enquiry_withdraw"),
            *("loans:desk_enquiry_take", "admin:logout", "accounts:firm_policy", "accounts:firm_role"),
            *(
                "accounts:firm_release",
                "accounts:firm_refuse",
                "accounts:firm_withdraw",
                "loans:residual_act",
            ),
            *("loans:accept_offer", "loans:decline_offer", "loans:counter", "loans:desk_approve"),
            *("loans:desk_reject", "loans:desk_counter_offer", "loans:desk_accept_counter"),
            *("loans:approval_release", "loans:approval_refuse", "loans:approval_withdraw"),
            *("loans:repay", "loans:repay_debt", "loans:renew", "loans:auto_repay", "set_language"),
            "loans:cure",
            "accounts:colours",
        ),
        POST,
    ),
    **dict.fromkeys(
        (
            *("accounts:export_file", "accounts:livez", "accounts:readyz", "loans:sheet", "admin:jsi18n"),
            *("loans:confirmation_paper", "loans:confirmation_data", "loans:rate_json", "loans:rate_csv"),
            *("loans:loan_data_lent_csv", "loans:loan_data_counted_csv"),
            *("loans:history_csv", "loans:client_history_csv", "loans:statement_pdf", "loans:statement_csv"),
            *("loans:client_document", "loans:stress_csv", "mfa_download_recovery_codes"),
        ),
        FILE,
    ),
    "admin:risk_redemption_change": "the demo redeems no coin",
    **dict.fromkeys(("risk:live", "admin:autocomplete"), PART),
    **dict.fromkeys(
        (
            *("loans:of_debt", "loans:history", "loans:client_history", "admin:login", "admin:view_on_site"),
            *("admin:password_change", "admin:password_change_done", "usersessions_list"),
        ),
        MOVED,
    ),
    **dict.fromkeys(
        (
            *(
                "account_confirm_email",
                "account_signup",
                "account_set_password",
                "account_confirm_login_code",
            ),
            "account_reset_password_from_key",
        ),
        NO_MAIL,
    ),
    "mfa_authenticate": "only between the password and the code",
    "mfa_reauthenticate": "asks for the code again, of who has not typed it for a while",
}

# Who looks, by how a page's address begins; the first that fits.
LOOKERS: Final = (
    ("accounts/login/", NOBODY),
    ("accounts/password/reset/", NOBODY),
    ("accounts/^password/reset/", NOBODY),
    ("accounts/inactive/", NOBODY),
    ("loan-data/", NOBODY),
    ("accounts/confirm-email/", NOBODY),
    ("admin/", "admin"),
    ("access-review/", "risk"),
    ("desk/approvals/", "risk2"),
    ("desk/parameters/", "risk"),
    ("desk/prices/", "risk"),
    ("desk/stress/", "risk"),
    ("desk/freezes/", "risk"),
    ("desk/groups/", "risk"),
    ("desk/taken-over/", "risk"),
    ("desk/books/", "finance"),
    ("desk/funding/", "finance"),
    ("desk/supply/", "finance"),
    ("desk/insurance/", "finance"),
    ("desk/residual/", "finance"),
    ("desk/notices/", "admin"),
    ("ledger/", "finance"),
    ("desk/", "manager"),
    ("", "borrower"),
)

# Pages that people of different standing see differently, and what the demo shows in one place only.
ALSO: Final = (
    *(
        Visit("loans:home", name)
        for name in ("called", "deal", "delayed", "residual", "novip", "new", "viewer")
    ),
    *(Visit("risk:group", name, name) for name in ("called", "delayed", "negotiated")),
    *(Visit("risk:group", who, "called") for who in ("manager", "risk")),
    Visit("risk:explain", "risk", "called"),
    Visit("loans:liquidation_replay", "risk"),
    Visit("loans:loan", "overdue", "overdue"),
    Visit("loans:loan", "recalled", "recalled"),
    Visit("loans:request", "deal", "deal"),
    Visit("accounts:agreement", "new"),
    Visit("loans:enquiry", "novip"),
    Visit("loans:approvals", "auditor"),
    Visit("loans:book", "auditor"),
    Visit("loans:desk", "manager2"),
    Visit("accounts:security", "viewer"),
    Visit("mfa_index", "viewer"),
)


def patterns() -> Iterator[tuple[str, str, URLPattern]]:
    """Name, route and pattern of every address of the resolver that is not a program's."""
    yield from _within(get_resolver(), "", "")


def _within(resolver: URLResolver, space: str, route: str) -> Iterator[tuple[str, str, URLPattern]]:
    for pattern in resolver.url_patterns:
        whole = route + str(pattern.pattern).removeprefix("^")
        if isinstance(pattern, URLResolver):
            yield from _within(pattern, space + (f"{pattern.namespace}:" if pattern.namespace else ""), whole)
        elif pattern.name and (pattern.name == "api_docs" or not whole.startswith(PROGRAMS)):
            yield space + pattern.name, whole, pattern


def reason(name: str) -> str:
    """Why an address is no page; empty when it is one."""
    found = CONSOLE_MODEL.match(name)
    if found and found[3] in ("add", "delete"):
        return READ_ONLY
    if found and found[3] == "history" and found[2] != "user":
        return SAME
    return NOT_PAGES.get(name, "")


def visits() -> list[Visit]:
    """Every page once, by the one whose work it is, and some again as others see them."""
    every = [Visit(name, looker(name, route)) for name, route, _ in patterns() if not reason(name)]
    return sorted(dict.fromkeys([*every, *ALSO]), key=lambda visit: visit.name.startswith("admin:"))


def looker(name: str, route: str) -> str:
    return OTHER_LOOKERS.get(name) or next(who for start, who in LOOKERS if route.startswith(start))


OTHER_LOOKERS: Final = {
    "loans:liquidations": "risk",
    "loans:liquidation": "liquidated",
    "loans:liquidation_replay": "liquidated",
    "accounts:export": "finance",
    "mfa_deactivate_totp": "viewer",  # who has a second step
    "mfa_view_recovery_codes": "viewer",
    "mfa_generate_recovery_codes": "viewer",
}


# --- The keys -------------------------------------------------------------------------------------------------------


def firm() -> Customer:
    return Customer.objects.get(name="Alder Street Capital")


def of_login(name: str) -> Customer:
    return Customer.objects.get(memberships__user__email=f"{name}@{cast.MAIL}")


def _group(visit: Visit) -> Any:
    rows = CollateralGroup.objects.open()
    if visit.picked:
        return rows.filter(customer=of_login(visit.picked)).earliest("pk").pk
    if visit.name.startswith("loans:desk"):
        return rows.get(customer__name="Kestrel Digital").pk
    return rows.get(customer=firm(), name="Trading").pk


def _loan(visit: Visit) -> Any:
    if visit.name == "loans:desk_call":
        return (
            Loan.objects.filter(term_days=None, debt__closed_at=None, customer__manager__isnull=False)
            .latest("pk")
            .pk
        )
    whose = of_login(visit.picked) if visit.picked else firm()
    return Loan.objects.filter(customer=whose, debt__closed_at=None).latest("pk").pk


def _request(visit: Visit) -> Any:
    rows = Application.objects.all()
    if visit.who == "borrower":
        return rows.filter(customer=firm()).latest("pk").pk
    return rows.filter(customer=of_login("deal")).latest("pk").pk


def _approval(visit: Visit) -> Any:
    side = Approval.Side.FIRM if visit.name.startswith("accounts:") else Approval.Side.DESK
    return Approval.objects.filter(side=side).latest("pk").pk


def _notice(visit: Visit) -> Any:
    rows = Notice.objects.filter(customer=firm())
    return rows.exclude(kind__in=reach.OWN_AFFAIRS).latest("pk").pk


def _debt(visit: Visit) -> Debt:
    if visit.name == "risk:explain_debt":
        return Debt.objects.filter(group=_group(visit), closed_at=None).latest("pk")
    return Debt.objects.filter(residual_since__isnull=False).latest("pk")


def _pile(visit: Visit) -> LedgerAccount:
    """What lies in a collateral account of the group."""
    secured = Member.objects.filter(group=_group(visit), released_at=None).values("account")
    return LedgerAccount.objects.filter(account__in=secured, kind="spot", credits__gt=0).earliest("pk")


def _entry(visit: Visit) -> Any:
    if visit.name == "loans:entry":  # the borrower's own: what a loan was paid out with
        return DebtEntry.objects.filter(debt__customer=firm(), kind="borrow").latest("pk").entry_id
    return JournalEntry.objects.get(reverses__isnull=False).pk


KEYS: Final[dict[str, Callable[[Visit], Any]]] = {
    "group_id": _group,
    "loan_id": _loan,
    "application_id": _request,
    "request_id": _request,
    "approval_id": _approval,
    "client_id": lambda _: firm().pk,
    "symbol": lambda visit: _pile(visit).asset_id if visit.name == "risk:explain_wallet" else "BTC",
    "notice_id": _notice,
    "row_id": lambda _: BalanceConfirmation.objects.get().pk,
    "entry_id": _entry,
    "tranche_id": lambda _: Tranche.objects.latest("pk").pk,
    "supply_id": lambda _: SupplyOrder.objects.latest("pk").pk,
    "call_id": lambda _: MarginCall.objects.get(group__customer__name="Kestrel Digital").pk,
    "enquiry_id": lambda _: Enquiry.objects.latest("pk").pk,
    "liquidation_id": lambda _: Liquidation.objects.get(group__customer=of_login("liquidated")).pk,
    "debt_id": lambda visit: _debt(visit).pk,
    "uid": lambda visit: _pile(visit).account_id,
    "export_id": lambda _: Export.objects.latest("pk").pk,
    "api_key_id": lambda _: ApiKey.objects.filter(account__customer=firm()).latest("pk").pk,
    "bucket": lambda _: "30d",
    "template": lambda _: "reminder",
    "run_id": lambda _: StressRun.objects.latest("pk").pk,
    "code": lambda _: "pool:USDT",
    "year": lambda _: 2026,
    "month": lambda _: 10,
    "kind": lambda _: "transfer",
    "slug": lambda visit: "ratios" if visit.name.startswith("loans:parameter") else "ongoing",
    "app_label": lambda _: "loans",
    "days": lambda _: 60,
    "name": lambda visit: outbox.addressed_to(f"{visit.who}@{cast.MAIL}")[0].name,
}
QUERIES: Final = {"loans:book_groups": "?from=0", "loans:parameter_history": "?asset=BTC"}


def address(visit: Visit) -> str:
    pattern = next(pattern for name, _, pattern in patterns() if name == visit.name)
    wanted = pattern.pattern.regex.groupindex
    keys = {key: _key(visit, key) for key in wanted}
    return reverse(visit.name, kwargs=keys) + QUERIES.get(visit.name, "")


def _key(visit: Visit, key: str) -> Any:
    if key == "object_id":
        app, model = visit.name.removeprefix("admin:").split("_")[:2]
        return apps.get_model(app, model)._default_manager.latest("pk").pk
    return KEYS[key](visit)
