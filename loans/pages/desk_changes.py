"""What a proposal changes: each value as it stands and as it would be, with its unit, for maker and checker. R-ADM-03

The values that stand are read where decisions read them; the words are those of the form that proposes the kind.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.db.models import Model

from accounts.models import ApprovalPolicy
from accounts.pages.arguments import facts_of, label_of, text_of
from accounts.templatetags import figures
from accounts.words import tell, unitless
from loans import ratecards
from loans.pages.desk_parameter_forms import KINDS, LINE_LABELS, Kind
from loans.pages.proposal_form import PercentField, UsdField
from risk import parameters
from risk.models import AssetCap, FlexibleRate, LoanLimit, MarketDepth, PaceLimit, Price

Values = dict[str, Any]
Tiers = Sequence[tuple[Decimal, Decimal]]
"""Floors in USD with the ratio from each on."""
SCOPE: Final = frozenset({"product", "asset", "customer", "vip_level", "term_days", "governed"})
UNDATED: Final = frozenset(
    {"effective_at", "ends_at", "ramp_days"}
)  # of the proposal itself: nothing stood before
UNITS: Final = frozenset({"%", "USD", "s", "h", "UTC"})  # said with each value, so not in its label
NOTHING: Final = tell("none")


@dataclass(frozen=True, slots=True)
class Change:
    """One value in words. `before` is None where nothing is compared, such as whose value it is."""

    label: str
    after: str
    before: str | None = None
    is_changed: bool = False
    is_scope: bool = False
    is_first: bool = False  # nothing of the kind stood before

    def __str__(self) -> str:
        """In a file: "Initial: 72 % -> 70 %"."""
        if self.is_changed and not self.is_first:
            return tell(
                "{label}: {before} -> {after}", label=self.label, before=self.before, after=self.after
            )
        return tell("{label}: {after}", label=self.label, after=self.after)


def changes(command: str, arguments: Mapping[str, Any], *, at: datetime) -> list[Change]:
    """What the proposed arguments change of what stands at `at`, whose they are first.

    A value that the command leaves as it is, is left out. Of a command that sets no parameter the arguments alone.
    """
    kind = _BY_COMMAND.get(command)
    if kind is None:
        return [Change(label, value) for label, value in facts_of(dict(arguments))]
    given = _flat(arguments)
    standing = _STANDING[kind.slug](given, at)
    found: list[Change] = []
    for name, value in sorted(given.items(), key=lambda one: _place(one[0])):
        if name == "tiers":
            found += _tiers(value, None if standing is None else standing["tiers"])
        elif not _says_nothing(kind, name, value):
            found.append(_change(kind, name, value, standing))
    if "effective_at" in given and given["effective_at"] is None:
        found.append(Change(tell("In force"), tell("as soon as it is released")))
    return found


# --- Words ------------------------------------------------------------------------------------------


def _change(kind: Kind, name: str, value: Any, standing: Values | None) -> Change:
    label, unit, field = _field(kind, name)
    after = _text(name, value, unit, field)
    if name in SCOPE | UNDATED:
        return Change(label, after, is_scope=name in SCOPE)
    if standing is None:
        return Change(label, after, before=NOTHING, is_changed=True, is_first=True)
    before = standing.get(name)
    return Change(label, after, before=_text(name, before, unit, field), is_changed=before != value)


def _place(name: str) -> int:
    """Whose it is first, its dates last."""
    return 0 if name in SCOPE else 2 if name in UNDATED else 1


def _tiers(after: Tiers, before: Tiers | None) -> list[Change]:
    """The ratio of each slice of value, at every floor that either has."""
    floors = sorted({floor for floor, _ in [*after, *(before or [])]})
    found = []
    for floor in floors:
        label = tell("Ratio from {floor}", floor=figures.plain(floor, "USD"))
        was, then = _ratio_at(floor, before or []), _ratio_at(floor, after)
        found.append(
            Change(
                label,
                NOTHING if then is None else figures.line(then),
                before=NOTHING if was is None else figures.line(was),
                is_changed=was != then,
                is_first=before is None,
            )
        )
    return found


def _ratio_at(floor: Decimal, tiers: Tiers) -> Decimal | None:
    """Of the slice that begins at the floor; None below the first tier."""
    return next((ratio for start, ratio in sorted(tiers, reverse=True) if start <= floor), None)


def _says_nothing(kind: Kind, name: str, value: Any) -> bool:
    """Nobody in particular, no end, at once; and of the waits what stays as it is."""
    if name in SCOPE | UNDATED:
        return value is None or value == "" or (name == "ramp_days" and value == 0)
    return value is None and kind.slug == "settings"


def _field(kind: Kind, name: str) -> tuple[str, str, forms.Field | None]:
    """The label without its unit, the unit, and the field that asks for it."""
    field = kind.form.base_fields.get("initial_line" if name == "initial" else name)
    if field is None:
        return label_of(name), "", None
    label = str(field.label or label_of(name))
    unit = label.partition(" (")[2].removesuffix(")")
    return (unitless(label) if unit in UNITS else label), unit, field


def _text(name: str, value: Any, unit: str, field: forms.Field | None) -> str:
    if value is None or value == "":
        return NOTHING
    if isinstance(field, PercentField):
        return figures.line(value)
    if isinstance(field, UsdField):
        return figures.plain(value, "USD")
    if isinstance(field, forms.ChoiceField) and (word := dict(field.choices).get(value)):  # type: ignore[arg-type]
        return str(word)
    if isinstance(value, int) and not isinstance(value, bool) and unit in UNITS:
        return f"{value:,}{figures.NBSP}{unit}"
    return text_of(name, value)


# --- What stands ------------------------------------------------------------------------------------


def _flat(arguments: Mapping[str, Any]) -> Values:
    """The parts of a dataclass by their own names, a coin by its symbol, tiers as plain pairs."""
    found: Values = {}
    for name, value in arguments.items():
        if is_dataclass(value) and not isinstance(value, type):
            found |= {part.name: getattr(value, part.name) for part in fields(value)}
        elif name == "tiers":
            found[name] = [(floor, ratio) for floor, ratio in value]
        elif name in {"asset", "underlying"} and isinstance(value, Model):
            found[name] = value.pk
        else:
            found[name] = value
    return found


def _latest(model: type[Model], *scope: str) -> Callable[[Values, datetime], Values | None]:
    """The newest row in force of the scope that the arguments name, with all its values."""

    def read(given: Values, at: datetime) -> Values | None:
        own = {name: given.get(name) for name in scope}
        rows = model._default_manager.filter(effective_at__lte=at, **own)
        return _values(rows.order_by("-effective_at").first())

    return read


def _loan_limit(given: Values, at: datetime) -> Values | None:
    """What counts for that level now, its own row or that for every level. R-VIP-06"""
    level, asset = given.get("vip_level"), given["asset"]
    if level is None:
        return _latest(LoanLimit, "product", "asset", "vip_level")(given, at)
    return _values(parameters.loan_limit(product=given["product"], asset=asset, vip_level=level, at=at))


def _rate_card(given: Values, at: datetime) -> Values | None:
    """What the level pays now, by its own card or that of the nearest lower level. R-VIP-22"""
    term, asset = given["term_days"], given["asset"]
    found = ratecards.rates_by_term(
        product=given["product"], assets=[asset], terms=[term], vip_level=given["vip_level"], at=at
    )[term].get(asset)
    return None if found is None else {"annual_rate": found.annual_rate}


def _values(row: Model | None) -> Values | None:
    if row is None:
        return None
    return {field.name: getattr(row, field.attname) for field in row._meta.concrete_fields}


def _ratios(given: Values, at: datetime) -> Values | None:
    terms = parameters.terms_at(at, [given["asset"]]).get(given["asset"])
    if terms is None:
        return None
    return {"tiers": [(tier.floor, tier.ratio) for tier in terms.tiers], "rank": terms.rank}


def _lines(given: Values, at: datetime) -> Values | None:
    """What counts for that scope now, its own lines or the wider one's. R-GEN-42"""
    coin = given.get("asset")
    try:
        lines = parameters.lines_for(
            product=given["product"],
            customer=given.get("customer"),
            assets=[coin] if coin else [],
            at=at,
        )
    except parameters.NotPublished:
        return None
    return {name: getattr(lines, name) for name in LINE_LABELS}


def _handling(given: Values, at: datetime) -> Values:
    """A product's own rule is what a customer without one gets; no customer has the number 0."""
    found = parameters.handling_for(product=given["product"], customer=given.get("customer") or 0, at=at)
    return {part.name: getattr(found, part.name) for part in fields(found)}


def _redemption(given: Values, at: datetime) -> Values | None:
    row = parameters.redemptions_at(at).get(given["asset"])
    return None if row is None else {"underlying": row.underlying_id, "ratio": row.ratio}


def _policy(given: Values, at: datetime) -> Values:
    """Without a row every command that can need a second person does."""
    rows = ApprovalPolicy.objects.filter(command=given["governed"], effective_at__lte=at)
    return _values(rows.order_by("-effective_at").first()) or {"required": True, "above_usd": None}


def _settings(given: Values, at: datetime) -> Values:
    found = _values(parameters.settings_at(at)) or {}
    return found | {"early_warnings": [Decimal(level) for level in found["early_warnings"]]}


def _price(given: Values, at: datetime) -> Values | None:
    """The last good one, however old."""
    rows = Price.objects.filter(asset=given["asset"], status=Price.Status.GOOD, observed_at__lte=at)
    return _values(rows.order_by("-observed_at", "-pk").first())


_BY_COMMAND: Final = {kind.command: kind for kind in KINDS.values()}
_STANDING: Final[dict[str, Callable[[Values, datetime], Values | None]]] = {
    "ratios": _ratios,
    "lines": _lines,
    "caps": _latest(AssetCap, "product", "asset"),
    "loan-limits": _loan_limit,
    "flexible-rates": _latest(FlexibleRate, "product", "asset"),
    "rate-cards": _rate_card,
    "handling": _handling,
    "depth": _latest(MarketDepth, "asset"),
    "pace": _latest(PaceLimit, "asset"),
    "feed-rules": lambda given, at: _values(parameters.feed_rules_at(at)(given.get("asset") or "")),
    "redemptions": _redemption,
    "policies": _policy,
    "settings": _settings,
    "price": _price,
}
