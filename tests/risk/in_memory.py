"""What a book in memory holds, told without its places, so that two of them can be compared."""

from datetime import datetime
from typing import Any

from risk import group_lines
from risk.arrays import Book


def refreshed(book: Book | None = None) -> Book:
    """Brought up to date; without one, read whole."""
    book = Book() if book is None else book
    book.refresh()
    return book


def told(book: Book, at: datetime) -> dict[str, Any]:
    """Every figure by the ids that it belongs to; NaN as text, since it equals nothing."""
    groups, symbols = book.groups, book.symbols
    ids = groups.id.tolist()
    lines = group_lines.lines_of(book, at=at)
    here = [number for number in range(book.size) if book.is_here[number]]
    state = zip(
        *(getattr(groups, name).tolist() for name in type(groups).__dataclass_fields__),
        strict=True,
    )
    rows = [tuple(str(value) for value in row) for row in state]
    coin_of = {
        int(place): number
        for number in range(len(symbols))
        for place in range(book.pools.starts[number], book.pools.starts[number + 1])
    }
    wallets, debts, warnings = book.wallets, book.debts, book.warnings
    return {
        "groups": {ids[n]: rows[n] for n in here},
        "watched": sorted(ids[n] for n in here if book.is_watched[n]),
        "owing": sorted(ids[n] for n in here if book.owes[n]),
        "lines": {ids[n]: lines[:, n].tolist() for n in here if book.is_watched[n]},
        "pools": {
            (ids[slot], symbols[coin_of[place]]): book.pooled[place]
            for place, slot in enumerate(book.pools.slot.tolist())
        },
        "wallets": {
            pk: (ids[slot], symbols[coin], amount)
            for pk, slot, coin, amount in zip(
                wallets.id.tolist(),
                wallets.slot.tolist(),
                wallets.coin.tolist(),
                wallets.amount.tolist(),
                strict=True,
            )
        },
        "debts": {
            row[0]: (ids[row[1]], symbols[row[2]], *row[3:])
            for row in zip(
                *(getattr(debts, name).tolist() for name in type(debts).__dataclass_fields__), strict=True
            )
        },
        "warnings": sorted(
            (ids[row[0]], *row[1:])
            for row in zip(
                *(getattr(warnings, name).tolist() for name in type(warnings).__dataclass_fields__),
                strict=True,
            )
        ),
    }
