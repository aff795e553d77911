"""A statement on paper: the same bytes for the same body and date, text only, each page numbered (R-GEN-94)."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from fpdf import FPDF

from accounts.money import exact
from loans.statements.month import Body
from loans.vip.sheet_pdf import inert
from risk.models import Liquidation

LINE: Final = 4.6  # mm
Row = Sequence[str]
Column = tuple[str, int, str]  # title, width in mm, L or R


class _Paper(FPDF):
    """A4 with the digest and the page's number at the foot of every page."""

    digest = ""

    def footer(self) -> None:
        self.set_y(-14)
        self.set_font("Helvetica", "", 7)
        self.cell(130, 5, f"SHA-256 {self.digest}", align="L")
        self.cell(0, 5, f"Page {self.page_no()} of {{nb}}", align="R")


def render(*, customer: str, body: Body, sha256: str, made_at: datetime) -> bytes:
    """The statement as a PDF, dated `made_at`; the name is on the paper, not in the body."""
    paper = _Paper(format="A4")
    paper.digest = sha256
    paper.set_creation_date(made_at.astimezone(UTC))
    paper.set_title(f"Statement {body['month']}")
    paper.set_creator("Lombard")
    paper.set_margin(16)
    paper.set_auto_page_break(True, margin=18)
    paper.add_page()
    paper.set_font("Helvetica", "B", 16)
    paper.cell(0, 10, f"Statement of {body['month']}", new_x="LMARGIN", new_y="NEXT")
    paper.set_font("Helvetica", "", 9)
    for line in _head(customer, body, made_at):
        paper.multi_cell(0, 5, inert(line), align="L", new_x="LMARGIN", new_y="NEXT")
    for title, columns, rows in _tables(body):
        _table(paper, title, columns, list(rows))
    return bytes(paper.output())


def _table(paper: FPDF, title: str, columns: Sequence[Column], rows: Sequence[Row]) -> None:
    if not rows:
        return
    if paper.will_page_break(6 + 3 * LINE):
        paper.add_page()
    paper.ln(3)
    paper.set_font("Helvetica", "B", 10)
    paper.cell(0, 6, inert(title), new_x="LMARGIN", new_y="NEXT")
    paper.set_font("Helvetica", "B", 7)
    _line(paper, columns, [name for name, _, _ in columns])
    paper.set_font("Helvetica", "", 7)
    for row in rows:
        _line(paper, columns, row)


def _line(paper: FPDF, columns: Sequence[Column], row: Row) -> None:
    for (_, width, align), value in zip(columns, row, strict=True):
        paper.cell(width, LINE, inert(value), align="R" if align == "R" else "L")
    paper.ln(LINE)


def _head(customer: str, body: Body, made_at: datetime) -> Iterator[str]:
    yield f"{customer} (client {body['customer']})"
    yield f"From {_when(body['from'])} (left out) to {_when(body['to'])} (included); all times UTC"
    yield f"Made {made_at.astimezone(UTC):%-d %B %Y, %H:%M} UTC from the ledger; the ledger gives it again any day"
    yield f"Interest: {body['method']['interest']}"
    yield f"Late fee: {body['method']['late_fee']}"
    yield f"LTV: {body['method']['ltv']}"


def _tables(body: Body) -> Iterator[tuple[str, Sequence[Column], Iterable[Row]]]:
    for loan in body["loans"]:
        yield from _of_loan(loan)
    yield from _of_sales(body["liquidations"])
    yield "Collateral", COLLATERAL, _pledged(body["collateral"])
    for section in body["ltv"]:
        yield (
            f"Daily LTV of G-{section['group']:04d}",
            DAILY,
            (_spread(day["day"], day) for day in section["days"]),
        )
    totals = ([total["type"], total["amount"], total["asset"]] for total in body["totals"])
    yield "Totals by type", (("Type", 70, "L"), ("Amount", 50, "R"), ("Coin", 20, "L")), totals
    yield (
        "Wallets",
        WALLETS,
        (
            [str(each["account"]), each["wallet"], each["asset"], each["opening"], each["closing"]]
            for each in body["wallets"]
        ),
    )


MOVED: Final[Sequence[Column]] = (
    ("What", 34, "L"),
    ("At", 30, "L"),
    ("Principal", 30, "R"),
    ("Interest", 28, "R"),
    ("Late fee", 28, "R"),
    ("Entry", 24, "R"),
)
SEGMENTS: Final[Sequence[Column]] = (
    ("From", 24, "L"),
    ("To", 24, "L"),
    ("Days", 10, "R"),
    ("Principal", 30, "R"),
    ("Rate a year", 20, "R"),
    ("A day", 24, "R"),
    ("Interest", 24, "R"),
    ("Late fee", 22, "R"),
)
SALES: Final[Sequence[Column]] = (
    ("At", 30, "L"),
    ("Account", 22, "L"),
    ("Sold", 32, "R"),
    ("Price, USD", 30, "R"),
    ("Brought", 36, "R"),
    ("Of it fee", 28, "R"),
)
COLLATERAL: Final[Sequence[Column]] = (
    ("Group, coin", 34, "L"),
    ("At", 30, "L"),
    ("What", 48, "L"),
    ("Account", 22, "L"),
    ("Amount", 28, "R"),
    ("Entry", 16, "R"),
)
DAILY: Final[Sequence[Column]] = (
    ("Day", 28, "L"),
    ("Least", 24, "R"),
    ("Most", 24, "R"),
    ("Average", 24, "R"),
    ("Hours", 16, "R"),
    ("Uncovered", 22, "R"),
    ("Unknown", 22, "R"),
)
WALLETS: Final[Sequence[Column]] = (
    ("Account", 30, "L"),
    ("Wallet", 24, "L"),
    ("Coin", 24, "L"),
    ("Opening", 46, "R"),
    ("Closing", 46, "R"),
)


def _of_loan(loan: Body) -> Iterator[tuple[str, Sequence[Column], Iterable[Row]]]:
    name = f"L-{loan['loan']:04d}" if loan["loan"] is not None else f"D-{loan['debt']}"
    rows = [["Opening", "", *_three(loan["opening"]), ""]]
    rows += [
        [move["kind"], _when(move["at"]), *_three(move), f"J-{move['entry']}"] for move in loan["movements"]
    ]
    charged = {part: _sum(charge[part] for charge in loan["charges"]) for part in ("interest", "late_fee")}
    rows.append(["charged, see below", "", "", charged["interest"], charged["late_fee"], ""])
    rows.append(["Closing", "", *_three(loan["closing"]), ""])
    yield f"Loan {name}, {loan['asset']}", MOVED, rows
    yield (
        f"Interest of {name} by rate",
        SEGMENTS,
        (
            [
                each["from"][:10],
                each["to"][:10],
                str(each["days"]),
                each["basis"],
                _percent(each["annual_rate"]),
                each["daily_interest"],
                each["interest"],
                each["late_fee"],
            ]
            for each in loan["segments"]
        ),
    )


def _named(cause: str) -> str:
    """A step that the borrower chose is no liquidation. R-FTR-05"""
    return "Chosen de-leveraging" if cause == Liquidation.Cause.SOFT else f"Liquidation ({cause})"


def _of_sales(liquidations: Iterable[Body]) -> Iterator[tuple[str, Sequence[Column], Iterable[Row]]]:
    for row in liquidations:
        yield (
            f"{_named(row['cause'])} X-{row['liquidation']} of G-{row['group']:04d}",
            SALES,
            (
                [
                    _when(sale["at"]),
                    str(sale["account"]),
                    f"{sale['sold']} {sale['coin']}",
                    sale["price"],
                    f"{sale['proceeds']} {sale['asset']}",
                    sale["fee"],
                ]
                for sale in row["sales"]
            ),
        )


def _pledged(rows: Iterable[Body]) -> Iterator[Row]:
    for row in rows:
        name = f"G-{row['group']:04d} {row['asset']}"
        yield [name, "", "opening", "", row["opening"], ""]
        for move in row["movements"]:
            entry = "" if move["entry"] is None else f"J-{move['entry']}"
            yield ["", _when(move["at"]), move["type"], str(move["account"]), move["amount"], entry]
        yield ["", "", "closing", "", row["closing"], ""]


def _spread(label: str, spread: Body) -> Row:
    shown = [_percent(spread[name]) for name in ("least", "most", "average")]
    return [label, *shown, *(str(spread[name]) for name in ("hours", "uncovered", "unknown"))]


def _three(parts: Body) -> list[str]:
    return [parts["principal"], parts["interest"], parts["late_fee"]]


@exact
def _sum(figures: Iterable[str]) -> str:
    total = sum((Decimal(figure) for figure in figures), Decimal(0))
    return f"{total.normalize():f}" if total else "0"


@exact
def _percent(fraction: Any) -> str:
    """Two decimals and what is really there past them."""
    return "-" if fraction is None else f"{(Decimal(fraction) * 100).normalize():f} %"


def _when(instant: str) -> str:
    return f"{datetime.fromisoformat(instant).astimezone(UTC):%Y-%m-%d %H:%M}"
