"""The forms of deposit, withdraw, transfer and trade: what is typed, judged as far as the form alone can."""

from typing import Any, Final

from django import forms

from accounts.models import Account, Asset, LedgerAccount
from accounts.pages.forms import LongSelect, amount_field, key_field, read_amount
from accounts.words import tell
from risk.pages.promised import cure_field

Kind = LedgerAccount.Kind
WALLETS: Final = [
    (Kind.SPOT.value, tell("Spot")),
    (Kind.FUNDING.value, tell("Funding")),
    (Kind.FIAT.value, tell("Fiat")),
]


class MoveForm(forms.Form):
    """What all four ask for: an amount of a coin. Which coins there are is the view's knowledge."""

    asset = forms.ChoiceField(label=tell("Coin"), widget=LongSelect)
    amount = amount_field()
    key = key_field()
    cure = cure_field()

    def __init__(self, *args: Any, accounts: list[Account], assets: dict[str, Asset], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.assets = assets
        named = [(account.pk, str(account)) for account in accounts]
        for name, field in self.fields.items():
            if isinstance(field, forms.TypedChoiceField):
                field.choices = named
            elif name in {"asset", "buy"}:
                field.choices = [(symbol, symbol) for symbol in sorted(assets)]  # type: ignore[attr-defined]

    def clean(self) -> None:
        asset = self.assets.get(self.cleaned_data.get("asset", ""))
        if asset is not None and "amount" not in self.errors:
            self.cleaned_data["amount"] = read_amount(self, "amount", places=asset.places)


def _account_field(label: str) -> forms.TypedChoiceField:
    return forms.TypedChoiceField(label=label, coerce=int)


class DepositForm(MoveForm):
    account = _account_field(tell("Into"))
    wallet = forms.ChoiceField(label=tell("Wallet"), choices=WALLETS)
    field_order = ("account", "wallet", "asset", "amount")


class WithdrawForm(MoveForm):
    account = _account_field(tell("From"))
    wallet = forms.ChoiceField(label=tell("Wallet"), choices=WALLETS)
    address = forms.CharField(label=tell("To address"), max_length=120, strip=False)
    field_order = ("account", "wallet", "asset", "amount", "address")

    def clean_address(self) -> str:
        """As the gate has it, said before the button that names the withdrawal appears."""
        address: str = self.cleaned_data["address"]
        if any(char.isspace() for char in address):
            raise forms.ValidationError(tell("An address has no spaces in it."))
        return address


class TransferForm(MoveForm):
    account = _account_field(tell("From"))
    wallet = forms.ChoiceField(label=tell("Wallet"), choices=WALLETS)
    target = _account_field(tell("To"))
    target_wallet = forms.ChoiceField(label=tell("Wallet"), choices=WALLETS)
    field_order = ("account", "wallet", "target", "target_wallet", "asset", "amount")


class TradeForm(MoveForm):
    account = _account_field(tell("In"))
    buy = forms.ChoiceField(label=tell("Buy"), widget=LongSelect)
    field_order = ("account", "asset", "amount", "buy")
