"""Keys of the customer's programs: what each may do, when it was used last, one more, one fewer.

A secret is in one answer and in no other: in the one to the form that made the key. The same form sent again, or that
page loaded again, finds the key there and shows nothing.
"""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts import keys
from accounts.errors import Refused
from accounts.models import Account, ApiKey, Customer, Membership
from accounts.pages.access import actor_of, for_member, membership_of, user_of
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from accounts.powers import Power, powers_of
from accounts.words import tell

PER_PAGE = 25
WORDS = {
    "can_read": tell("Read balances, loans and histories"),
    "can_borrow": tell("Borrow, renew and repay"),
    "can_transfer": tell("Transfer between accounts, and open sub-accounts"),
    "can_withdraw": tell("Withdraw"),
}
SHORT = {
    "can_read": tell("read", context="key"),
    "can_borrow": tell("borrow", context="key"),
    "can_transfer": tell("transfer", context="key"),
    "can_withdraw": tell("withdraw", context="key"),
}
FIELDS = {"not_for_this_account": "permissions", "too_many_keys": "account"}
"""At which field a refusal is shown."""
PEM = {"rows": 4, "spellcheck": "false", "autocomplete": "off"}


class KeyForm(forms.Form):
    label = forms.CharField(
        label=tell("Name"), max_length=keys.LONGEST_LABEL, help_text=tell("What the program is")
    )
    account = forms.TypedChoiceField(
        label=tell("Account"),
        coerce=int,
        help_text=tell("The master's key reaches every account, a sub-account's its own."),
    )
    kind = forms.ChoiceField(
        label=tell("Kind"),
        choices=[
            (ApiKey.Kind.HMAC, tell("HMAC-SHA256: a key and a secret")),
            (ApiKey.Kind.RSA, tell("RSA: you keep the private key")),
            (ApiKey.Kind.ED25519, tell("Ed25519: you keep the private key")),
            (ApiKey.Kind.TOKEN, tell("Bearer token: for our own API only")),
        ],
    )
    public_key = forms.CharField(
        label=tell("Public key, as PEM text"),
        required=False,
        max_length=4000,
        widget=forms.Textarea(attrs=PEM),
        help_text=tell("For RSA (2048 to 4096 bits) and Ed25519; empty for the others"),
    )
    permissions = forms.MultipleChoiceField(
        label=tell("It may"), required=False, widget=forms.CheckboxSelectMultiple, choices=list(WORDS.items())
    )
    networks = forms.CharField(
        label=tell("Addresses it is used from"),
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text=tell(
            "One a line, such as 203.0.113.7 or 203.0.113.0/24. A key that may borrow or"
            " withdraw needs one; any other key without one ends after 90 days."
        ),
    )
    key = key_field()

    def __init__(self, *args: Any, mine: Membership, accounts: Iterable[Account], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        may = powers_of(mine.role, one_account=mine.account is not None)
        given = [(name, words) for name, words in WORDS.items() if set(keys.POWERS[name]) <= may]
        self.fields["permissions"].choices = given  # type: ignore[attr-defined]
        self.fields["account"].choices = [(row.pk, str(row)) for row in accounts]  # type: ignore[attr-defined]


class RevokeForm(forms.Form):
    key = key_field()


@require_http_methods(["GET", "HEAD", "POST"])
@for_member
def index(request: HttpRequest, customer: Customer) -> HttpResponse:
    """The keys one may see, and the form for one more; its answer shows the secret, and nothing else does."""
    if request.method != "POST":
        return _page(request, customer, _form(request, customer))
    form = _form(request, customer, request.POST)
    if form.is_valid():
        try:
            row = keys.create(
                account_uid=form.cleaned_data["account"],
                label=form.cleaned_data["label"],
                kind=form.cleaned_data["kind"],
                permissions=form.cleaned_data["permissions"],
                networks=form.cleaned_data["networks"].split(),
                public_key=form.cleaned_data["public_key"].strip(),
                actor=actor_of(request),
                at=timezone.now(),
                key=key_of(form),
            )
        except Refused as refusal:
            if refusal.code in FIELDS:
                form.add_error(FIELDS[refusal.code], refusal.message)
            else:
                refuse(form, refusal)
        else:
            return _made(request, row)
    return _page(request, customer, form)


@require_http_methods(["GET", "HEAD", "POST"])
@for_member
def revoke(request: HttpRequest, customer: Customer, api_key_id: int) -> HttpResponse:
    """Asks once more, then does it: the program is turned away from its next request on."""
    row = get_object_or_404(_visible(request, customer), pk=api_key_id)
    form = RevokeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            keys.revoke(
                api_key_id=row.pk,
                account_uid=row.account_id,
                actor=actor_of(request),
                at=timezone.now(),
                key=key_of(form),
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, tell("{row} is revoked: it opens nothing any more.", row=row.label))
            return redirect("accounts:keys")
    context = {"row": row, "words": _words(row), "networks": _networks(row), "form": form}
    return render(request, "accounts/keys_revoke.html", context, status=REFUSED if form.errors else 200)


# --- Private ----------------------------------------------------------------------------------------


def _form(request: HttpRequest, customer: Customer, data: Any = None) -> KeyForm:
    mine = membership_of(request)
    assert mine is not None
    accounts = Account.objects.visible_to(user_of(request)).filter(customer=customer)
    return KeyForm(data, mine=mine, accounts=accounts.order_by("pk"))


def _visible(request: HttpRequest, customer: Customer) -> Any:
    rows = ApiKey.objects.visible_to(user_of(request)).filter(account__customer=customer)
    return rows.select_related("account", "user", "use")


def _made(request: HttpRequest, row: ApiKey) -> HttpResponse:
    if not keys.is_fresh(row):
        words = tell(
            "That form was sent before: {} is in the list. Its secret was shown once, and is not shown again."
        )
        messages.warning(request, words.format(row.label))
        return redirect("accounts:keys")
    context = {
        "row": row,
        "words": _words(row),
        "heading": tell("Copy it now") if row.secret else tell("Your key"),
        "secret": keys.secret_of(row) if row.secret else "",
        "base": request.build_absolute_uri("/").rstrip("/"),
    }
    answer = render(request, "accounts/keys_made.html", context)
    answer["Cache-Control"] = "no-store"
    return answer


def _page(request: HttpRequest, customer: Customer, form: KeyForm) -> HttpResponse:
    user, mine, at = user_of(request), membership_of(request), timezone.now()
    assert mine is not None
    governs = Power.GOVERN in powers_of(mine.role, one_account=mine.account is not None)
    page = Paginator(_visible(request, customer).order_by("-pk"), PER_PAGE).get_page(request.GET.get("page"))
    found = [
        {
            "key": row,
            "may": [SHORT[name] for name in WORDS if getattr(row, name)],
            "networks": _networks(row),
            "more": max(len(row.networks) - 1, 0),
            "in_force": keys.is_in_force(row, at=at),
            "revocable": row.revoked_at is None and (governs or row.user_id == user.pk),
        }
        for row in page
    ]
    context = {"page": page, "keys": found, "form": form, "mine": mine}
    return render(request, "accounts/keys.html", context, status=REFUSED if form.errors else 200)


def _words(row: ApiKey) -> list[str]:
    return [words for name, words in WORDS.items() if getattr(row, name)]


def _networks(row: ApiKey) -> list[str]:
    """As they were typed: one address without the length of its prefix."""
    return [network.removesuffix("/32" if "." in network else "/128") for network in row.networks]
