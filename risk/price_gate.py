"""The one gate through which every observation of every feed becomes a price, or goes into quarantine.

Feeds hand over what their sources said; what that comes to, and whether it is believed, is decided here by the rules
of risk/consensus.py and the price rules in force (R-GEN-20, R-GEN-21). A coin that is redeemed for another has no price
of its own while a ratio is in force: it is worth the ratio times what it stands for, whatever its own market prints
(R-FTR-21). What that market said is kept beside the price, for people to look at.
"""

import logging
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from operator import attrgetter

from accounts.money import exact, round_down
from accounts.words import tell
from risk import observations, parameters
from risk.consensus import FURTHEST_AHEAD, JUMP, Known, Said, Terms, doubt, hear
from risk.feeds import BY_DEFINITION, LEAST_PRICE, PRICE_BOUND, Tick
from risk.models import FeedRule, Price, Redemption
from risk.observations import END_OF_TIME, PLACES, Standing

logger = logging.getLogger(__name__)

REDEMPTION = "redemption"  # the source of a price that is a ratio of another
RATIO, MARKET = "ratio", "market"  # what such a price keeps in `quotes`, besides the coin it stands for
MOST_SOURCES = 32_767  # as many as a row can name


@dataclass(frozen=True, slots=True)
class Seen:
    """One observation of one coin, before it is compared with what is on record. `doubt`: its sources disagree."""

    asset: str
    price: Decimal
    observed_at: datetime
    source: str
    sources: int
    doubt: str = ""
    is_thin: bool = False
    quotes: dict[str, str] = field(default_factory=dict)


def terms_of(rule: FeedRule) -> Terms:
    """A price rule as the pure rules read it."""
    return Terms(
        max_age=timedelta(seconds=rule.max_age_seconds),
        max_jump=rule.max_jump,
        max_spread=rule.max_spread,
        min_sources=rule.min_sources,
        floor=rule.floor,
        ceiling=rule.ceiling,
        max_still=None if rule.max_still_seconds is None else timedelta(seconds=rule.max_still_seconds),
    )


def fault(tick: Tick, at: datetime) -> str:
    """Why a tick is no price at all, in words; empty when it is one, believable or not (TRUST E20)."""
    # A feed's types are not proof: a price that is text or a float is a fault of the feed, not of the whole run.
    if not isinstance(tick.price, Decimal) or not tick.price.is_finite():
        return "it is not a number"
    if not LEAST_PRICE <= tick.price < PRICE_BOUND:
        return tell(
            "{price} USD is not between {least_price} and {price_bound}",
            price=tick.price,
            least_price=LEAST_PRICE,
            price_bound=PRICE_BOUND,
        )
    if tick.observed_at.tzinfo is None:
        return "its time has no time zone"
    if tick.observed_at > at + FURTHEST_AHEAD:
        return tell("it is of {observed_at}, in the future", observed_at=tick.observed_at)
    if not 1 <= tick.sources <= MOST_SOURCES:
        return tell("it has {sources} sources", sources=tick.sources)
    return ""


def judged(ticks: Collection[Tick], at: datetime) -> Iterator[Price]:
    """The rows that these ticks become, in order of time, unsaved; under the lock of whoever records them."""
    rule_of = parameters.feed_rules_at(at)
    found = (_seen(tick, terms_of(rule_of(tick.asset)), at) for tick in ticks)
    seen = sorted((one for one in found if one is not None), key=attrgetter("observed_at"))
    if not seen:
        return
    yield from _Bench(seen, rule_of, parameters.redemptions_at(at)).rows(at)


def following(row: Price, *, at: datetime) -> list[Price]:
    """The prices of the coins that are redeemed for the one that `row` is of, unsaved. R-FTR-21"""
    bench = _Bench([], parameters.feed_rules_at(at), parameters.redemptions_at(at), moved={row.asset_id})
    return list(bench.following(row))


class _Bench:
    """What is on record, moved on by each row that is judged: the next one is judged beside it."""

    def __init__(
        self,
        seen: list[Seen],
        rule_of: Callable[[str], FeedRule],
        ratios: Mapping[str, Redemption],
        moved: Collection[str] = (),
    ) -> None:
        self.ratios = ratios
        self.terms = {asset: terms_of(rule_of(asset)) for asset in {one.asset for one in seen}}
        self.seen = [one for one in seen if one.asset not in ratios]
        self.legs: dict[str, list[Seen]] = defaultdict(list)
        for one in seen:
            if one.asset in ratios:
                self.legs[one.asset].append(one)
        bases = {one.asset for one in self.seen} | set(moved)
        followers = {asset for asset, row in ratios.items() if row.underlying_id in bases}
        self.standing = {row.asset: row for row in observations.newest(END_OF_TIME, bases | followers)}
        self.still = observations.still_since(self._horizons())

    def rows(self, at: datetime) -> Iterator[Price]:
        for one in self.seen:
            row = self._judged(one, at)
            if row is not None:
                yield row
                yield from self.following(row)

    def following(self, row: Price) -> Iterator[Price]:
        """As good, as old and as doubted as what they stand for."""
        for asset, redemption in sorted(self.ratios.items()):
            before = self.standing.get(asset)
            if redemption.underlying_id != row.asset_id or before is None or redemption.ratio is None:
                continue
            if before.newest_at is not None and row.observed_at <= before.newest_at:
                continue
            price = worth(redemption.ratio, row.price)
            tick = Tick(asset, price, row.observed_at, REDEMPTION, row.sources)
            if wrong := fault(tick, row.observed_at):
                logger.warning("price of %s by redemption refused: %s", asset, wrong)
                continue
            is_good = row.status == Price.Status.GOOD
            why = (
                ""
                if is_good
                else tell("{asset}, which it is redeemed for, is doubted itself", asset=row.asset_id)
            )
            quotes = {row.asset_id: _text(row.price), RATIO: _text(redemption.ratio)}
            derived = _row(tick, why, self._leg(asset, row.observed_at) | quotes)
            self._move(before, derived)
            yield derived

    def _judged(self, one: Seen, at: datetime) -> Price | None:
        before = self.standing.get(one.asset)
        if before is None:
            logger.warning("price of %s refused: there is no such asset", one.asset)
            return None
        if before.newest_at is not None and one.observed_at <= before.newest_at:
            if one.observed_at < before.newest_at:
                logger.warning(
                    "price of %s refused: it is of %s, older than the last", one.asset, one.observed_at
                )
            return None
        # Silence is no doubt: else a source that comes and goes would shield a group for ever. It ages instead.
        if one.is_thin and before.good_at is not None and at - before.good_at <= before.max_age:
            logger.warning("price of %s not used: %s", one.asset, one.doubt)
            return None
        terms = self.terms[one.asset]
        if one.source == BY_DEFINITION:
            terms = replace(terms, max_still=None)
        why = one.doubt or doubt(one.price, one.observed_at, one.sources, terms, self._known(before))
        if why:
            logger.warning("price of %s quarantined at %s: %s", one.asset, _text(one.price), why)
        row = _row(Tick(one.asset, one.price, one.observed_at, one.source, one.sources), why, one.quotes)
        self._move(before, row)
        return row

    def _known(self, before: Standing) -> Known:
        waits = not before.newest_is_good and (before.newest_reason or "").startswith(JUMP)
        return Known(before.good, before.newest, self.still.get(before.asset), awaits_second=waits)

    def _move(self, before: Standing, row: Price) -> None:
        is_good = row.status == Price.Status.GOOD
        if row.price != before.newest or row.asset_id not in self.still:
            self.still[row.asset_id] = row.observed_at
        self.standing[row.asset_id] = replace(
            before,
            good=row.price if is_good else before.good,
            good_at=row.observed_at if is_good else before.good_at,
            newest=row.price,
            newest_at=row.observed_at,
            newest_is_good=is_good,
            newest_reason=row.reason,
        )

    def _leg(self, asset: str, at: datetime) -> dict[str, str]:
        """What the coin's own market said about then. A feed asks for all coins together, give or take some seconds."""
        own = self.legs[asset]
        place = bisect_right(own, at, key=attrgetter("observed_at"))
        near = own[max(place - 1, 0) : place] or [
            one for one in own[:1] if one.observed_at - at <= FURTHEST_AHEAD
        ]
        return near[0].quotes | {MARKET: _text(near[0].price)} if near else {}

    def _horizons(self) -> dict[str, tuple[Decimal, datetime]]:
        """How far back a coin's standing still matters, for those whose rule asks. Twice as long sees the edge too."""
        found: dict[str, tuple[Decimal, datetime]] = {}
        for one in self.seen:
            span, before = self.terms[one.asset].max_still, self.standing.get(one.asset)
            if span is not None and before is not None and before.newest is not None:
                found.setdefault(one.asset, (before.newest, one.observed_at - 2 * span))
        return found


@exact
def worth(ratio: Decimal, underlying: Decimal) -> Decimal:
    """USD of a coin that is redeemed at `ratio`, rounded down to 18 decimals. R-FTR-21"""
    return round_down(ratio * underlying, PLACES)


def market_leg(price_id: int) -> Decimal | None:
    """What the coin's own market said when this price was made by redemption; None where nobody noted it."""
    quotes = Price.objects.values_list("quotes", flat=True).get(pk=price_id)
    return Decimal(quotes[MARKET]) if MARKET in quotes else None


def _seen(tick: Tick, terms: Terms, at: datetime) -> Seen | None:
    if not tick.said:
        if wrong := fault(tick, at):
            logger.warning("price of %s from %s refused: %s", tick.asset, tick.source, wrong)
            return None
        price = round_down(tick.price, PLACES)
        return Seen(tick.asset, price, tick.observed_at, tick.source, tick.sources)
    usable = [one for one in tick.said if _is_usable(tick.asset, one)]
    heard = hear(usable, terms, at=at)
    if heard is None:
        logger.warning("no price of %s: none of %s sources spoke of now", tick.asset, len(tick.said))
        return None
    quotes = {
        one.source: _text(one.price)
        + (tell(", {why}", why=why) if (why := heard.left_out.get(one.source)) else "")
        for one in usable
    }
    return Seen(
        asset=tick.asset,
        price=round_down(heard.price, PLACES),
        observed_at=heard.observed_at,
        source=tick.source,
        sources=heard.agreeing,
        doubt=heard.doubt,
        is_thin=heard.is_thin,
        quotes=quotes,
    )


def _is_usable(asset: str, said: Said) -> bool:
    """Its time is judged with the others': one source from the future is left out, and not the whole poll."""
    if said.observed_at.tzinfo is None:
        wrong = "its time has no time zone"
    else:
        wrong = fault(Tick(asset, said.price, said.observed_at, said.source), said.observed_at)
    if wrong:
        logger.warning("price of %s from %s not used: %s", asset, said.source, wrong)
    return not wrong


def _row(tick: Tick, why: str, quotes: dict[str, str]) -> Price:
    return Price(
        asset_id=tick.asset,
        price=tick.price,
        observed_at=tick.observed_at,
        source=tick.source,
        sources=tick.sources,
        quotes=quotes,
        status=Price.Status.QUARANTINED if why else Price.Status.GOOD,
        reason=why,
    )


def _text(number: Decimal) -> str:
    return f"{number.normalize():f}"
