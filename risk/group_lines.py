"""The LTV lines of every group of the book in memory: `parameters.lines_by_group`, for all of them at once.

Looked up again only when something that decides them may have changed: a row was published, one began or ended since,
or the book was read anew, so that a group may owe other coins. Rows of limits are never changed and never go, so the
same number of them is the same rows. R-GEN-42
"""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from django.db import connection

from accounts.words import joined, tell
from risk import arrays
from risk.columns import Floats, Index, Ints, read
from risk.parameters import NotPublished

NAMES: Final = ("initial", "margin_call", "liquidation", "cutoff")
_STATE = """
    SELECT count(*),
        least(date_part('epoch', min(effective_at) FILTER (WHERE effective_at > %(at)s)),
            date_part('epoch', min(ends_at) FILTER (WHERE ends_at > %(at)s)))
    FROM risk_limits
"""
# A row that has ended leaves its scope empty; the row before it does not come back.
_IN_FORCE = f"""
    SELECT product, coin, customer, of_group, {joined(", ", NAMES)} FROM (
        SELECT DISTINCT ON (l.product, l.asset_id, l.customer_id, l.group_id)
            array_position(%(products)s::text[], l.product::text)::bigint - 1 AS product,
            CASE WHEN l.asset_id IS NULL THEN -1 ELSE coalesce(coin.code - 1, -2) END AS coin,
            coalesce(l.customer_id, -1) AS customer, coalesce(l.group_id, -1) AS of_group,
            {joined(", ", (f"l.{name}::float8" for name in NAMES))}, l.ends_at
        FROM risk_limits l
        LEFT JOIN unnest(%(coins)s::text[]) WITH ORDINALITY AS coin (symbol, code) ON coin.symbol = l.asset_id
        WHERE l.effective_at <= %(at)s
        ORDER BY l.product, l.asset_id, l.customer_id, l.group_id, l.effective_at DESC) latest
    WHERE ends_at IS NULL OR ends_at > %(at)s
"""  # noqa: S608  the names of our own columns


@dataclass(frozen=True, slots=True)
class _InForce:
    """-1 where the scope does not name one."""

    product: Ints
    coin: Ints
    customer: Ints
    group: Ints
    initial: Floats
    margin_call: Floats
    liquidation: Floats
    cutoff: Floats


def lines_of(book: arrays.Book, *, at: datetime) -> Floats:
    """Initial, margin call, liquidation and cut-off in force at `at`: a row each, a column for each slot of the book.

    Raises:
        NotPublished: nothing is published for the product of a group that is watched.
    """
    with connection.cursor() as cursor:
        cursor.execute(_STATE, {"at": at})
        rows, ends = cursor.fetchone() or (0, None)
    kept, now = book.lines, at.timestamp()
    if (
        kept is None
        or (kept.version, kept.rows) != (book.version, rows)
        or not kept.since <= now < kept.until
    ):
        until = math.inf if ends is None else ends
        kept = arrays.Lines(_resolved(book, at), version=book.version, rows=rows, since=now, until=until)
        book.lines = kept
    return kept.values


def _resolved(book: arrays.Book, at: datetime) -> Floats:
    """Signed > the customer's > the strictest of the coins' > the product's."""
    names = {"at": at, "coins": book.symbols, "products": list(arrays.PRODUCTS)}
    found = read(_InForce, _IN_FORCE, names)
    values = np.stack([getattr(found, name) for name in NAMES])
    is_whole = (found.coin == -1) & (found.customer == -1) & (found.group == -1)
    of_product = np.full((len(NAMES), len(arrays.PRODUCTS)), np.nan)
    of_product[:, found.product[is_whole]] = values[:, is_whole]
    lines: Floats = of_product[:, book.groups.product]
    _lay_over_strictest(lines, book, found, values, of_product)
    for scope, ids in ((found.customer, book.groups.customer), (found.group, book.groups.id)):
        named = scope >= 0
        products = len(arrays.PRODUCTS)
        own = Index(scope[named] * products + found.product[named])
        place = own.find(ids * products + book.groups.product)
        lines[:, place >= 0] = values[:, named][:, place[place >= 0]]
    missing = book.is_watched & np.isnan(lines[0])
    if missing.any():
        product = list(arrays.PRODUCTS)[book.groups.product[missing][0]]
        raise NotPublished(tell("No LTV lines are published for the product {product}.", product=product))
    return lines


def _lay_over_strictest(
    lines: Floats, book: arrays.Book, found: _InForce, values: Floats, of_product: Floats
) -> None:
    """The lowest of each line over the coins that a group owes, where any coin has lines of its own."""
    for product in np.unique(found.product[found.coin >= 0]):
        if np.isnan(of_product[0, product]):
            continue  # without the product's own lines nothing is resolved
        mine = (found.coin >= 0) & (found.product == product)
        of_coin = np.repeat(of_product[:, [product]], len(book.symbols), axis=1)
        of_coin[:, found.coin[mine]] = values[:, mine]
        concerned = book.groups.product[book.debts.slot] == product
        slot, coin = book.debts.slot[concerned], book.debts.coin[concerned]
        for line, asked in zip(lines, of_coin, strict=True):
            lowest = np.full(book.size, np.inf)
            np.minimum.at(lowest, slot, asked[coin])
            owes = np.isfinite(lowest)
            line[owes] = lowest[owes]
