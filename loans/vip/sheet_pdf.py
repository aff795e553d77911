"""A signed term sheet on paper: the same bytes for the same sheet, text only (R-VIP-15).

Nothing in it is read as markup, a link or a command, whatever somebody typed as a name. The core fonts know
Latin-1; a character beyond it is printed as a question mark, and the digest is of the JSON, not of the paper.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from fpdf import FPDF

from accounts.money import exact
from accounts.words import figure, tell
from risk.handling import CallTrades, FeeBase, Mode

LABEL_WIDTH: Final = 62  # mm
LINE_HEIGHT: Final = 6  # mm
Row = tuple[str, str]
FEE_BASES: Final[Mapping[str, str]] = {
    FeeBase.DEBT_REPAID: tell("the debt repaid"),
    FeeBase.COLLATERAL_SOLD: tell("the collateral sold"),
    FeeBase.START_ASSETS: tell("the assets at the start"),
}
CALL_TRADES: Final[Mapping[str, str]] = {
    CallTrades.NONE: tell("none"),
    CallTrades.LOWERING: tell("those that lower LTV"),
    CallTrades.BELOW_LIQUIDATION: tell("those that stay below liquidation, once confirmed"),
}


def render(
    *,
    customer: str,
    body: Mapping[str, Any],
    sha256: str,
    signed_by: str,
    signed_at: datetime,
    note: str = "",
) -> bytes:
    """The sheet as a PDF, dated `signed_at` and nothing else, so that it can be made again and compared."""
    paper = FPDF(format="A4")
    paper.set_creation_date(signed_at.astimezone(UTC))
    paper.set_title("Term sheet")
    paper.set_creator("Lombard")
    paper.set_margin(20)
    paper.add_page()
    paper.set_font("Helvetica", "B", 16)
    paper.cell(0, 10, "Term sheet", new_x="LMARGIN", new_y="NEXT")
    paper.set_font("Helvetica", "", 10)
    for title, rows in _parts(customer, body, signed_by, signed_at, note):
        paper.ln(3)
        paper.set_font("Helvetica", "B", 11)
        paper.cell(0, 8, title, new_x="LMARGIN", new_y="NEXT")
        paper.set_font("Helvetica", "", 10)
        for label, value in rows:
            paper.cell(LABEL_WIDTH, LINE_HEIGHT, inert(label))
            paper.multi_cell(0, LINE_HEIGHT, inert(value), align="L", new_x="LMARGIN", new_y="NEXT")
    paper.ln(3)
    paper.set_font("Courier", "", 8)
    paper.multi_cell(0, 5, f"SHA-256 of these terms as canonical JSON:\n{sha256}", align="L")
    return bytes(paper.output())


def inert(text: str) -> str:
    """The text in Latin-1 on one line; control characters become spaces."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return printable.encode("latin-1", "replace").decode("latin-1")


def _parts(
    customer: str, body: Mapping[str, Any], signed_by: str, signed_at: datetime, note: str
) -> Iterator[tuple[str, list[Row]]]:
    renews = [] if body["renews"] is None else [("Renews loan", f"L-{body['renews']:04d}")]
    request = (
        []
        if body["request"] is None
        else [("Request", f"R-{body['request']:04d}, version {body['version']}")]
    )
    yield (
        "Parties",
        [
            ("Borrower", customer),
            *request,
            *renews,
            ("Terms of", _when(datetime.fromisoformat(body["at"]))),
            ("Accepted by", signed_by),
            ("Signed", _when(signed_at)),
        ],
    )
    for loan in body["loans"]:
        rate = (
            _percent(loan["rate"]) + " a year, fixed"
            if loan["rate"] != "flexible"
            else _flexible(loan["spread"])
        )
        yield (
            f"Loan in {inert(loan['asset'])}",
            [("Amount", f"{loan['amount']} {loan['asset']}"), ("Rate", rate), *_of_market(body, loan)],
        )
    yield "Terms", list(_terms(body))
    if note:
        yield "Paid out in part", [("Left out", note)]


def _terms(body: Mapping[str, Any]) -> Iterator[Row]:
    lines = body["lines"]
    yield "Term", "open" if body["term_days"] is None else f"{body['term_days']} days"
    yield "Paid into", f"Spot of account {body['receiver']}"
    yield "Collateral accounts", ", ".join(map(str, body["accounts"])) or "those of the group"
    yield "Collateral coins", ", ".join(body["coins"])
    yield "Initial LTV", _percent(lines["initial"])
    yield "Margin call at", _percent(lines["margin_call"])
    yield "Liquidation at", _percent(lines["liquidation"])
    yield "Immediate above", _percent(lines["cutoff"])
    handling = body.get("handling", {})  # sheets of before it was told have none
    fee_base = FEE_BASES[handling.get("fee_base", FeeBase.DEBT_REPAID)]
    yield "Liquidation fee", f"{_percent(lines['fee'])} of {fee_base}"
    yield from process_of(handling)
    yield "Transaction fee", "none"
    yield "Early repayment", "no penalty"
    yield "If overdue", f"{body['late_multiplier']} x daily interest, up to {body['overdue_hours']} hours"
    yield "All or nothing", "yes" if body["all_or_nothing"] else "no"
    yield "Repaid at expiry by itself", "yes" if body["auto_repay"] else "no"
    if "supply" in body and not body["auto_repay"]:
        yield "At expiry", "goes on as an open loan at the flexible rate published then"
    yield "Borrowing agreement", f"version {body['agreement']}" if body["agreement"] else "none in force"


def _of_market(body: Mapping[str, Any], loan: Mapping[str, str]) -> Iterator[Row]:
    """What only a loan of the fixed-rate market says, and one that goes on from it. R-VIP-26"""
    for taken in body.get("supply", ()):
        label = f"Of supply order S-{taken['order']:04d}"
        yield label, f"{taken['amount']} {loan['asset']} at {_percent(taken['rate'])}"
    if "carried" in body:
        yield "Interest carried on", f"{body['carried']} {loan['asset']}, which bears none"


def process_of(handling: Mapping[str, str | None]) -> Iterator[Row]:
    """How the group is sold and what may be traded in a margin call, in words. R-VIP-24, R-GEN-73, R-VIP-54"""
    if handling:
        target = handling["target"]
        until = (
            tell("in steps to LTV {target}", target=figure(_percent(target)))
            if target
            else tell("in steps to the initial LTV")
        )
        yield tell("Sold"), until if handling["mode"] == Mode.STEPPED else tell("all at once")
        yield tell("Trades in a margin call"), CALL_TRADES[handling["call_trades"] or CallTrades.LOWERING]


def _flexible(spread: str) -> str:
    return (
        "flexible"
        if Decimal(spread) == 0
        else f"flexible, {'+' if Decimal(spread) > 0 else ''}{_percent(spread)}"
    )


@exact
def _percent(fraction: str) -> str:
    return f"{(Decimal(fraction) * 100).normalize():f} %"


def _when(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%-d %B %Y, %H:%M} UTC"
