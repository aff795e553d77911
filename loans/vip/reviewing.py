"""What granting a request would do now: one read for both sides' pages, for the manager's authority and for `approve`.

What was checked at submission is checked again here, on the terms that were accepted; a coin that cannot be lent any
more is left out and the others are judged without it.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from accounts.words import tell
from loans.models import Application, Offer
from loans.vip import papers, sheets, terms
from loans.vip.moves import request_of
from loans.vip.terms import Problem, TermSheet

SETTLED: Final = frozenset({"agreement_needed", "below_minimum", "below_order_minimum"})
"""Problems of a new request that do not undo an accepted one: prices moved, or a text was published."""
PASSING: Final = frozenset({"stale_price"})
"""Problems of one coin that go away by themselves: the whole decision waits instead of leaving the coin out."""


def review(
    application: Application,
    *,
    at: datetime,
    offer: Offer | None = None,
    left_out: Mapping[str, str] | None = None,
) -> TermSheet:
    """What granting the request would do now: both sides' pages, and the check of `approve`. Writes nothing.

    On the terms of `offer`, as accepted when None. A coin over its limit or the pool by now is declined on its
    line and the others are judged without it; so are the coins of `left_out`. A fixed rate is the agreed one
    (R-VIP-18), a flexible one is today's with the agreed spread.
    """
    offer = offer or application.accepted
    dropped = dict(left_out or {})
    asked = list(application.lines.order_by("asset_id").values_list("asset_id", flat=True))
    declined: list[terms.Line] = []
    while True:  # each turn leaves out at least one more coin
        coins = [symbol for symbol in asked if symbol not in dropped]
        sheet = _checked(application, offer, coins, at)
        stuck = {} if application.all_or_nothing else _stuck(sheet)
        if not stuck or len(stuck) == len(coins):
            return replace(sheet, lines=(*sheet.lines, *declined))
        declined += [replace(line, declined=stuck[line.asset]) for line in sheet.lines if line.asset in stuck]
        dropped |= stuck


def _checked(application: Application, offer: Offer | None, coins: list[str], at: datetime) -> TermSheet:
    agreed = None if offer is None else sheets.agreed_of(offer)
    request = request_of(application, offer=offer, coins=coins)
    sheet = terms.check(request, at=at, agreed=agreed).without(SETTLED)
    over = [] if application.all_or_nothing else _declined(sheet)
    lines = [] if offer is None else _other_lines(offer, sheet)
    missing = papers.problems_of(application.customer, at=at)
    return replace(sheet, problems=(*missing, *sheet.problems, *over, *lines))


def _declined(sheet: TermSheet) -> list[Problem]:
    """A line that cannot be lent, as a problem of its coin; `check` says so itself when none can."""
    known = {problem.field for problem in sheet.problems}
    return [
        Problem(f"wishes.{line.asset}", line.declined_code or "above_limit", line.declined)
        for line in sheet.lines
        if line.declined and f"wishes.{line.asset}" not in known
    ]


def _stuck(sheet: TermSheet) -> dict[str, str]:
    """The coins with a problem of their own that does not pass by itself, and why."""
    own = [p for p in sheet.problems if p.field.startswith("wishes.") and p.code not in PASSING]
    return {problem.field.partition(".")[2]: problem.message for problem in own}


def _other_lines(offer: Offer, sheet: TermSheet) -> list[Problem]:
    """The group may only get lines its borrower accepted, from those they were told of (R-GEN-42)."""
    if sheet.effect is None:
        return []
    lines, current, accepted = sheet.effect.lines, sheet.effect.current_lines, sheets.lines_of(offer.body)
    if lines != accepted:  # not even when the group has them already: what is signed is what counts
        message = tell("The LTV lines have changed since the applicant accepted them; ask for a new request.")
        return [Problem("levels", "lines_changed", message)]
    if current not in (None, lines, sheets.replaced_lines(offer.body)):
        message = tell(
            "The group has signed other LTV lines since this sheet was made, and the borrower was"
            " not told that it changes them; make a counter-offer that says so."
        )
        return [Problem("levels", "lines_changed", message)]
    return []
