"""What both sides of a negotiation see: the form of a counter-offer, and the versions side by side (R-VIP-11, 24).

Percentages are typed as such and become fractions here. A term that differs from the version before is marked by
a word, not by colour alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.utils.html import strip_tags

from accounts.models import Asset
from accounts.money import exact
from accounts.pages.forms import Typed, key_field
from accounts.templatetags import figures
from accounts.tongue import SWEDISH, reads
from accounts.typed import as_shown
from accounts.words import tell
from loans import dealing
from loans.models import Application, Offer, RateType
from loans.pages.desk_waiting import before_and_after
from loans.vip import origination, sheet_pdf, sheets
from loans.vip.sheets import CoinRate, Wanted
from loans.vip.terms import LEVELS, TermSheet
from risk.pages.track import Track

LABELS: Final = {
    "initial": tell("Initial LTV"),
    "margin_call": tell("Margin call at"),
    "liquidation": tell("Liquidation at"),
    "cutoff": tell("Immediate above"),
    "fee": tell("Liquidation fee"),
}
RATE: Final = tell("Rate, ")
SHOWN: Final = 6  # versions side by side; older ones are counted


class PercentField(forms.DecimalField):
    """A percentage as its reader writes it: 7.75, in Swedish also 7,75. Nothing up to 100 has thousands to mistake."""

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and reads(SWEDISH):
            value = value.replace(",", ".", 1)
        return super().to_python(value)

    def bound_data(self, data: Any, initial: Any) -> Any:
        return Typed(data) if isinstance(data, str) else data

    def prepare_value(self, value: Any) -> Any:
        return as_shown(value) if isinstance(value, str) and not isinstance(value, Typed) else value


def percent_field(label: str, *, least: int = 0) -> forms.DecimalField:
    return PercentField(
        label=tell("{label}, %", label=label),
        min_value=least,
        max_value=100,
        max_digits=13,
        decimal_places=10,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
        error_messages={
            "required": tell("Say how many percent, such as 7.75."),
            "invalid": tell("Write a number, such as 7.75."),
        },
    )


class WantedForm(forms.Form):
    """Every term that can be bargained over, filled with those of the version it answers."""

    use_required_attribute = False  # on the term sheet it stands beside the button that accepts

    term = forms.IntegerField(label=tell("Term, days"), required=False, min_value=1, max_value=365)
    overdue = forms.IntegerField(
        label=tell("Overdue period, hours"), min_value=1, max_value=sheets.LONGEST_OVERDUE
    )
    message = forms.CharField(
        label=tell("Message to the other side"),
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
    )

    def __init__(self, *args: Any, base: Wanted, rate_type: str, **kwargs: Any) -> None:
        super().__init__(*args, **(kwargs | {"initial": _initial(base), "prefix": "want"}))
        self.coins = [rate.asset for rate in base.rates]
        is_fixed = rate_type == RateType.FIXED
        for coin in self.coins:
            label = (
                tell("{coin}, fixed rate a year", coin=coin)
                if is_fixed
                else tell("{coin}, on top of the flexible rate", coin=coin)
            )
            self.fields[f"rate_{coin}"] = percent_field(label, least=0 if is_fixed else -100)
        for name in LEVELS:
            self.fields[name] = percent_field(LABELS[name])
        self.fields["term"].help_text = "" if is_fixed else tell("Leave it empty for a loan without expiry.")

    @property
    def rate_fields(self) -> list[forms.BoundField]:
        return [self[f"rate_{coin}"] for coin in self.coins]

    @property
    def line_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in LEVELS]

    @property
    def message_text(self) -> str:
        text: str = self.cleaned_data["message"]
        return text

    def wanted(self) -> Wanted:
        """What a valid form says."""
        told = self.cleaned_data
        return Wanted(
            rates=tuple(CoinRate(coin, _fraction(told[f"rate_{coin}"])) for coin in self.coins),
            **{name: _fraction(told[name]) for name in LEVELS},
            term_days=told["term"],
            overdue_hours=told["overdue"],
        )


class DeskWantedForm(WantedForm):
    """The manager's: with a word for the second person, when looser terms need one."""

    why = forms.CharField(
        label=tell("For a second person, when one has to release it"),
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=tell("Lines above the published ones, or a lower fee, are proposed first."),
    )


class AnswerForm(forms.Form):
    """A button under a version: which version it is about."""

    version = forms.IntegerField(widget=forms.HiddenInput(), min_value=1)
    key = key_field()


@exact
def _fraction(percent: Decimal) -> Decimal:
    return percent / 100


@exact
def _percent(fraction: Decimal) -> str:
    return sheets.plain(fraction * 100)


def _initial(base: Wanted) -> dict[str, Any]:
    rates = {f"rate_{rate.asset}": _percent(rate.rate) for rate in base.rates}
    lines = {name: _percent(getattr(base, name)) for name in LEVELS}
    return rates | lines | {"term": base.term_days, "overdue": base.overdue_hours}


def wanted_from(sheet: TermSheet) -> Wanted:
    """Where a wish starts from that answers terms which nobody has accepted yet."""
    assert sheet.effect is not None
    is_fixed = sheet.request.rate_type == RateType.FIXED
    lines = sheet.effect.lines
    return Wanted(
        rates=tuple(
            CoinRate(line.asset, (line.annual_rate if is_fixed else line.spread) or Decimal(0))
            for line in sheet.accepted_lines
        ),
        **{name: getattr(lines, name) for name in LEVELS},
        term_days=sheet.request.term_days,
        overdue_hours=sheet.overdue_hours,
    )


def standing_terms(application: Application) -> dict[str, Any]:
    """The term, hours and rates that the request stands on: as accepted, else as published at the start."""
    body = application.accepted.body if application.accepted is not None else None
    return {
        "term_days": application.term_days if body is None else body["term_days"],
        "overdue_hours": application.terms["overdue_hours"] if body is None else body["overdue_hours"],
        "rates": [] if body is None else [(loan["asset"], rate_text(loan)) for loan in body["loans"]],
        "is_bargained": application.accepted is not None and sheets.is_bargained(application.accepted),
    }


# --- Side by side -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Term:
    label: str
    text: str
    is_changed: bool  # against the version before


@dataclass(frozen=True, slots=True)
class Price:
    """What one coin costs by a version. `step`: the rate against the version before, a fraction, 0 when the same.

    `interest` is that of the whole term, or of a day where the term is open; None while the rate floats. R-VIP-24
    """

    asset: Asset
    text: str
    step: Decimal
    days: int
    interest: Decimal | None


@dataclass(frozen=True, slots=True)
class Version:
    """One version as a column: what each coin costs, then every other term."""

    offer: Offer
    prices: tuple[Price, ...]
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Talks:
    """A request's versions. `open_offer` waits for an answer; `sheet` is what it would do to the group now."""

    versions: tuple[Version, ...]
    hidden: int  # older versions that are not shown
    last: Offer | None
    open_offer: Offer | None
    sheet: TermSheet | None

    left: str  # for the answer, in words

    @property
    def track(self) -> Track | None:
        """LTV before and after what waits for an answer; None when prices do not tell."""
        effect = self.sheet.effect if self.sheet is not None else None
        return None if effect is None else before_and_after(effect.now, effect.after, effect.lines)

    @property
    def is_desks_move(self) -> bool:
        return self.open_offer is None or self.open_offer.side == Offer.Side.BORROWER


def talks_of(application: Application, *, at: datetime) -> Talks:
    """The room of one request as both sides see it."""
    made = list(application.offers.select_related("author", "answered_by").order_by("version"))
    waiting = next((offer for offer in made if offer.status == Offer.Status.OPEN), None)
    is_live = waiting is not None and waiting.expires_at > at
    shown = made[-SHOWN:]
    return Talks(
        versions=tuple(_versions(shown)),
        hidden=len(made) - len(shown),
        last=made[-1] if made else None,
        open_offer=waiting if is_live else None,
        sheet=origination.review(application, at=at, offer=waiting) if is_live else None,
        left=left_until(application.expires_at, at=at),
    )


def left_until(end: datetime | None, *, at: datetime) -> str:
    """ "23 h 59 min left", or "until 25 Nov 2026, 02:31 UTC" when that is far."""
    if end is None:
        return ""
    if end - at < figures.COUNTDOWN_UNDER:
        return tell("{end} left", end=strip_tags(figures.countdown(end, at)))
    return tell("until {end}", end=strip_tags(figures.when(end)))


def _versions(offers: Sequence[Offer]) -> Iterable[Version]:
    """Oldest first; the first that is shown counts as unchanged."""
    coins = Asset.objects.in_bulk({loan["asset"] for offer in offers for loan in offer.body["loans"]})
    for offer, earlier in zip(offers, [*offers[:1], *offers], strict=False):
        told, before = terms_told(offer.body), terms_told(earlier.body)
        yield Version(
            offer=offer,
            prices=tuple(_prices(offer.body, earlier.body, coins)),
            terms=tuple(
                Term(name, text, text != before.get(name))
                for name, text in told.items()
                if not name.startswith(RATE)
            ),
        )


@exact
def _prices(body: Mapping[str, Any], earlier: Mapping[str, Any], coins: Mapping[str, Asset]) -> list[Price]:
    rates, before, found = sheets.rates_of(body), sheets.rates_of(earlier), []
    for loan in body["loans"]:
        symbol, days = loan["asset"], body["term_days"] or 1
        interest = None
        if body["rate_type"] == RateType.FIXED:
            interest = dealing.yield_of(
                amount=Decimal(loan["amount"]),
                annual_rate=rates[symbol],
                days=days,
                places=coins[symbol].places,
            ).interest
        step = rates[symbol] - before[symbol]
        found.append(Price(coins[symbol], rate_text(loan), step, days, interest))
    return found


def terms_told(body: Mapping[str, Any]) -> dict[str, str]:
    """Every term of a sheet's body in words."""
    lines = body["lines"]
    term = body["term_days"]
    return (
        {f"{RATE}{loan['asset']}": rate_text(loan) for loan in body["loans"]}
        | {LABELS[name]: figures.line(Decimal(lines[name])) for name in LEVELS}
        | {
            tell("Term"): tell("open") if term is None else tell("{term} days", term=term),
            tell("Overdue period"): tell(
                "{body} h at {body2} × interest", body=body["overdue_hours"], body2=body["late_multiplier"]
            ),
        }
        | dict(sheet_pdf.process_of(body.get("handling", {})))
    )


def rate_text(loan: Mapping[str, str]) -> str:
    """ "8.40 %" or "flexible + 0.50 %"."""
    if loan["rate"] != RateType.FLEXIBLE:
        return figures.rate(Decimal(loan["rate"]))
    spread = Decimal(loan["spread"])
    if not spread:
        return tell("flexible")
    return tell(
        "flexible {which} {spread}", which="+" if spread > 0 else "−", spread=figures.rate(abs(spread))
    )
