"""How far each manager may go alone: by amount, LTV and rate (R-ADM-10). Beyond it somebody with more releases it.

An authority is a dated row; the desk's own lines (R-VIP-12, R-ADM-03) hold besides it, and no policy on four eyes
relaxes it. A manager without a row goes as far as the desk's own lines.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from accounts.commands import Actor, Arguments, FourEyes, command
from accounts.errors import Refused
from accounts.models import User
from accounts.money import ONE, RATE_PLACES, ZERO, round_down
from accounts.words import joined, tell
from loans.models import Authority
from risk.valuation import Worth

LONGEST_REASON: Final = 2000  # the width of the column
USD_BOUND: Final = Decimal(10) ** 18  # exclusive
USD_PLACES: Final = 18
COMMAND: Final = "authority.set"
DECIDERS: Final = frozenset({User.Role.VIP_MANAGER, User.Role.RISK_OFFICER, User.Role.ADMIN})
SETTERS: Final = frozenset({User.Role.RISK_OFFICER, User.Role.ADMIN})
NOTHING: Final = Worth(debt=ZERO, collateral=ZERO, market=ZERO)
WAY_OUT: Final = tell(
    "A risk officer, an administrator or another manager whose authority covers it has to release it."
)


class BadAuthority(Refused):
    """A person, date or value that no authority can have; the message says which."""

    code = "bad_authority"


@dataclass(frozen=True, slots=True)
class Stakes:
    """What a decision gives away; None is what cannot be told now, and counts as too much.

    `amount_usd`: with what the client was lent in the last day. `after`: the group once it is paid out. `discount`:
    below the published annual rate, a fraction, of the coin that gets the largest.
    """

    amount_usd: Decimal | None = ZERO
    after: Worth | None = NOTHING
    discount: Decimal | None = ZERO


@command(COMMAND, returns=Authority, four_eyes=FourEyes(makers=SETTERS, checkers=SETTERS))
def set_authority(
    *,
    manager_id: int,
    reason: str,
    actor: Actor,
    at: datetime,
    max_amount_usd: Decimal | None = None,
    max_ltv: Decimal | None = None,
    max_discount: Decimal | None = None,
    effective_at: datetime | None = None,
    ends_at: datetime | None = None,
    key: str = "",
) -> Authority:
    """Set how far a VIP manager may go alone, from `effective_at` (now) until `ends_at`. R-ADM-10

    USD of one decision, LTV and discount as fractions; what is not given has no limit of its own. The row takes the
    place of the one before it as a whole.

    Raises:
        BadAuthority: no active VIP manager, in the past, ends before it starts, a value that means nothing, or set
            from that very instant before.
        NotYourRole, NeedsApproval: a risk officer or administrator proposes it, another one releases it (R-ADM-03).
    """
    manager = User.objects.filter(pk=manager_id, role=User.Role.VIP_MANAGER, is_active=True).first()
    if manager is None:
        raise BadAuthority(tell("Authority is given to an active VIP manager."))
    starts = at if effective_at is None else effective_at
    _refuse_bad_dates(starts, ends_at, at=at)
    if not 1 <= len(reason.strip()) <= LONGEST_REASON:
        raise BadAuthority(
            tell("Say why, in at most {longest_reason} characters.", longest_reason=LONGEST_REASON)
        )
    _refuse_bad_values(max_amount_usd, max_ltv, max_discount)
    return _kept(
        Authority(
            manager=manager,
            effective_at=starts,
            ends_at=ends_at,
            max_amount_usd=max_amount_usd,
            max_ltv=max_ltv,
            max_discount=max_discount,
            set_by_id=actor.user_id,
            reason=reason.strip(),
        )
    )


# --- Reads ------------------------------------------------------------------------------------------


def authority_of(user: User | int, *, at: datetime) -> Authority | None:
    """The row in force at `at`: of those that have not ended, the one that started last. None: the desk's lines alone.

    So a limit for a holiday gives way to the one before it, and never to none at all.
    """
    user_id = user.pk if isinstance(user, User) else user
    return _running(at).filter(manager_id=user_id).order_by("-effective_at").first()


def in_force(*, at: datetime) -> list[tuple[User, Authority | None]]:
    """Every active VIP manager with the authority in force, by name."""
    managers = User.objects.filter(role=User.Role.VIP_MANAGER, is_active=True).order_by("name", "pk")
    latest = _running(at).order_by("manager", "-effective_at").distinct("manager")
    rows = {row.manager_id: row for row in latest}
    return [(one, rows.get(one.pk)) for one in managers]


def history_of(user: User | None = None) -> QuerySet[Authority]:
    """Every row, of one manager or of all, the newest first."""
    rows = Authority.objects.select_related("manager", "set_by").order_by("-effective_at", "-pk")
    return rows if user is None else rows.filter(manager=user)


def short_of(row: Authority | None, stakes: Stakes) -> list[str]:
    """In which respects a decision goes beyond this authority, in words; nothing when it covers it. R-ADM-10"""
    if row is None:
        return []
    who = tell("{manager} may decide", manager=row.manager.name)
    found = []
    most, ltv, discount = row.max_amount_usd, row.max_ltv, row.max_discount
    if most is not None and (stakes.amount_usd is None or stakes.amount_usd > most):
        worth = (
            tell("cannot be valued now")
            if stakes.amount_usd is None
            else tell("is worth {amount_usd:,.2f} USD", amount_usd=stakes.amount_usd)
        )
        found.append(
            tell(
                "With what the client was lent in the last 24 hours it {worth}; {who} up to {most:,.2f} USD.",
                worth=worth,
                who=who,
                most=most,
            )
        )
    if ltv is not None and (stakes.after is None or stakes.after.is_above(ltv)):
        found.append(
            tell(
                "LTV would be {after}; {who} up to {ltv}.",
                after=_ltv(stakes.after),
                who=who,
                ltv=_percent(ltv),
            )
        )
    if discount is not None and (stakes.discount is None or stakes.discount > discount):
        below = (
            tell("cannot be told")
            if stakes.discount is None
            else tell("is {discount} a year", discount=_percent(stakes.discount))
        )
        found.append(
            tell(
                "The discount on the published rate {below}; {who} up to {discount}.",
                below=below,
                who=who,
                discount=_percent(discount),
            )
        )
    return found


StakesOf = Callable[[Arguments], Stakes]


def four_eyes(stakes_of: StakesOf, *, makers: frozenset[str], **rules: Any) -> FourEyes:
    """Four eyes of a manager's decision: the desk's own lines in `rules`, and the authority of both people. R-ADM-10

    `stakes_of` is asked only when the one who acts, or releases, has limits of their own.
    """
    return FourEyes(
        makers=makers,
        checkers=DECIDERS,
        beyond=lambda arguments: bool(beyond_maker(arguments, stakes_of)),
        may_release=partial(_refusal_of, stakes_of),
        **rules,
    )


def beyond_maker(arguments: Arguments, stakes_of: StakesOf) -> list[str]:
    """Why the one who acts may not decide this alone; nothing when they may."""
    actor = arguments.get("actor")
    if actor is None or actor.user_id is None:
        return []
    row = authority_of(actor.user_id, at=arguments["at"])
    return [] if row is None else short_of(row, stakes_of(arguments))


def in_words(row: Authority) -> str:
    """One row as a list of its limits."""
    said = []
    if row.max_amount_usd is not None:
        said.append(tell("up to {max_amount_usd:,.2f} USD", max_amount_usd=row.max_amount_usd))
    if row.max_ltv is not None:
        said.append(tell("LTV up to {max_ltv}", max_ltv=_percent(row.max_ltv)))
    if row.max_discount is not None:
        said.append(tell("a discount up to {max_discount} a year", max_discount=_percent(row.max_discount)))
    return joined(", ", said) or "no limit of their own"


# --- Private ----------------------------------------------------------------------------------------


def _refusal_of(stakes_of: StakesOf, checker: User, arguments: Arguments) -> str:
    """Why this person may not release it: a manager whose own authority does not cover it. Empty when they may."""
    if checker.role != User.Role.VIP_MANAGER:
        return ""
    row = authority_of(checker, at=arguments["at"])
    reasons = [] if row is None else short_of(row, stakes_of(arguments))
    return tell("{reasons} {way_out}", reasons=joined(" ", reasons), way_out=WAY_OUT) if reasons else ""


def _running(at: datetime) -> QuerySet[Authority]:
    begun = Authority.objects.filter(effective_at__lte=at).select_related("manager")
    return begun.filter(Q(ends_at__isnull=True) | Q(ends_at__gt=at))


def _percent(share: Decimal) -> str:
    return tell("{share:f} %", share=(share * 100).normalize())


def _ltv(worth: Worth | None) -> str:
    ltv = None if worth is None else worth.ltv
    return "unknown" if ltv is None else tell("{ltv} %", ltv=round_down(ltv * 100, 2))


def _refuse_bad_dates(starts: datetime, ends_at: datetime | None, *, at: datetime) -> None:
    if starts < at:
        raise BadAuthority(
            tell("An authority cannot be backdated to {starts:%Y-%m-%d %H:%M} UTC.", starts=starts)
        )
    if ends_at is not None and ends_at <= starts:
        raise BadAuthority(tell("An authority ends after it starts; give a later end, or none."))


def _refuse_bad_values(amount: Decimal | None, ltv: Decimal | None, discount: Decimal | None) -> None:
    if amount is not None and not (
        amount.is_finite() and 0 <= amount < USD_BOUND and amount == round_down(amount, USD_PLACES)
    ):
        raise BadAuthority(tell("The largest amount is in USD, 0 or more."))
    for share, name in ((ltv, tell("The highest LTV")), (discount, tell("The largest discount"))):
        if share is not None and not (
            share.is_finite() and 0 <= share < ONE and share == round_down(share, RATE_PLACES)
        ):
            raise BadAuthority(
                tell(
                    "{name} is a fraction from 0 to below 1 with at most 12 decimals: 0.7 is 70 %.", name=name
                )
            )


def _kept(row: Authority) -> Authority:
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        if not Authority.objects.filter(manager=row.manager, effective_at=row.effective_at).exists():
            raise
        raise BadAuthority(
            tell(
                "{manager} has an authority from that very instant; start this one later.",
                manager=row.manager.name,
            )
        ) from error
    return row
