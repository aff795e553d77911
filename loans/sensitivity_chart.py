"""Bars for a risk officer: what was lost and what was sold in vain, of each variant. Pure: rows in, SVG out.

A stricter line loses less and sells more in vain; both are shares, drawn from one zero line each, so that the trade
between the two is seen in one look.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from xml.sax.saxutils import escape

from accounts.money import ONE, ZERO, exact

LABEL, BAR, GAP = 200, 250, 70  # widths: of the names, of a full bar, of the figure after it
LINE, HEAD, TITLE = 20, 30, 64  # heights: of a row, of a block's heading, of what stands above all
LOST, IN_VAIN, FAINT, INK = "#b42318", "#b7791f", "#6b7280", "#111827"
TENTH: Final = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Row:
    """One variant: shares as fractions, of what was lent and of the groups. `is_default`: what is in force."""

    name: str
    lost: Decimal
    in_vain: Decimal
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """Rows under one heading."""

    heading: str
    rows: tuple[Row, ...]


def draw(blocks: Sequence[Block], *, title: str) -> str:
    """The whole drawing as SVG text; the longest bar of each column is full."""
    rows = [row for block in blocks for row in block.rows]
    height = TITLE + sum(HEAD + LINE * len(block.rows) for block in blocks) + 16
    width = LABEL + 2 * (BAR + GAP) + 20
    body = [
        *_top(title),
        *_blocks(blocks, _most(row.lost for row in rows), _most(row.in_vain for row in rows)),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' font-family="system-ui, sans-serif" font-size="13" role="img" aria-label="{escape(title)}">\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


@exact
def length(share: Decimal, most: Decimal) -> Decimal:
    """How long the bar of a share is, where `most` is full: one decimal."""
    return (share / most * BAR).quantize(TENTH) if most else ZERO


@exact
def percent(share: Decimal) -> str:
    """With two figures that say something: 0.012 %, 1.2 %, 12 %."""
    value = share * 100
    places = 0 if value >= 10 or value == 0 else 1 if value >= ONE else 3
    return f"{value:.{places}f} %"


def _top(title: str) -> Iterator[str]:
    yield _text(10, 24, title, size=16, weight=600)
    yield _text(LABEL, 50, "Bad debt, of what was lent", fill=LOST, weight=600)
    yield _text(LABEL + BAR + GAP, 50, "Groups sold from in vain", fill=IN_VAIN, weight=600)


def _blocks(blocks: Sequence[Block], lost: Decimal, in_vain: Decimal) -> Iterator[str]:
    y = TITLE
    for block in blocks:
        yield _text(10, y + 20, block.heading, fill=FAINT, weight=600)
        y += HEAD
        for row in block.rows:
            yield _text(18, y + 14, row.name, weight=700 if row.is_default else 400)
            yield from _bar(LABEL, y, row.lost, lost, LOST)
            yield from _bar(LABEL + BAR + GAP, y, row.in_vain, in_vain, IN_VAIN)
            y += LINE


def _bar(x: int, y: int, share: Decimal, most: Decimal, fill: str) -> Iterator[str]:
    long = length(share, most)
    yield f'<rect x="{x}" y="{y + 3}" width="{long:f}" height="{LINE - 6}" fill="{fill}"/>'
    yield _text(x + int(long) + 6, y + 14, percent(share), fill=INK, size=12)


def _text(x: int, y: int, words: str, *, fill: str = INK, weight: int = 400, size: int = 13) -> str:
    return f'<text x="{x}" y="{y}" fill="{fill}" font-weight="{weight}" font-size="{size}">{escape(words)}</text>'


def _most(shares: Iterator[Decimal]) -> Decimal:
    return max(shares, default=ZERO)
