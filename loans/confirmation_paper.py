"""A balance confirmation on paper: the same bytes for the same body, text only (R-ADM-11)."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from fpdf import FPDF

from loans.vip.sheet_pdf import inert

LINE_HEIGHT: Final = 6  # mm
LABEL_WIDTH: Final = 62  # mm
Row = tuple[str, str]


class _Paper(FPDF):
    """Every page is numbered."""

    def footer(self) -> None:
        self.set_y(-15)
        self.set_font("Helvetica", "", 8)
        self.cell(0, 10, f"Page {self.page_no()} of {{nb}}", align="C")


def render(*, customer: str, body: Mapping[str, Any], sha256: str, made_at: datetime) -> bytes:
    """The confirmation as a PDF, dated `made_at`, so that it can be made again and compared."""
    paper = _Paper(format="A4")
    paper.set_creation_date(made_at.astimezone(UTC))
    paper.set_title("Balance confirmation")
    paper.set_creator("Lombard")
    paper.set_margin(20)
    paper.add_page()
    paper.set_font("Helvetica", "B", 16)
    paper.cell(0, 10, "Balance confirmation", new_x="LMARGIN", new_y="NEXT")
    for title, rows in _parts(customer, body, made_at):
        paper.ln(3)
        paper.set_font("Helvetica", "B", 11)
        paper.cell(0, 8, inert(title), new_x="LMARGIN", new_y="NEXT")
        paper.set_font("Helvetica", "", 10)
        for label, value in rows:
            paper.cell(LABEL_WIDTH, LINE_HEIGHT, inert(label))
            paper.multi_cell(0, LINE_HEIGHT, inert(value), align="L", new_x="LMARGIN", new_y="NEXT")
    paper.ln(3)
    paper.set_font("Courier", "", 8)
    paper.multi_cell(0, 5, f"SHA-256 of these figures as canonical JSON:\n{sha256}", align="L")
    return bytes(paper.output())


def _parts(customer: str, body: Mapping[str, Any], made_at: datetime) -> Iterator[tuple[str, list[Row]]]:
    as_of = datetime.fromisoformat(body["as_of"])
    yield "As our books have it", [("Customer", customer), ("As of", _when(as_of)), ("Made", _when(made_at))]
    wallets = [
        (f"{one['wallet'].capitalize()} of account {one['account']}", f"{one['balance']} {one['asset']}")
        for one in body["wallets"]
    ]
    yield "You hold", wallets or [("Wallets", "nothing")]
    for one in body["debts"]:
        parts = ("principal", "interest", "late_fee", "total")
        rows = [(part.replace("_", " ").capitalize(), f"{one[part]} {one['asset']}") for part in parts]
        yield f"You owe on {one['loan'] or one['debt']}", rows
    if not body["debts"]:
        yield "You owe", [("Loans", "nothing")]
    for one in body["collateral"]:
        accounts = ", ".join(map(str, one["accounts"]))
        coins = ", ".join(f"{amount} {coin}" for coin, amount in one["pledged"].items())
        yield (
            f"Pledged in {one['group']}",
            [("Receiving account", str(one["receiver"])), ("Accounts", accounts), ("Coins in them", coins)],
        )


def _when(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%-d %B %Y, %H:%M} UTC"
