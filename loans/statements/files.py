"""A statement as a file that was asked for: PDF, or every line of it as CSV; made by a job (accounts/exports.py)."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from accounts import exports
from accounts.exports import File, Progress
from accounts.models import Customer
from loans.statements import body as bodies
from loans.statements import paper
from loans.statements.month import Body, Month, digest

PDF, CSV = "statement_pdf", "statement_csv"
HEADER: Final = (
    "section",
    "at_utc",
    "what",
    "loan",
    "group",
    "account",
    "asset",
    "amount",
    "principal",
    "interest",
    "late_fee",
    "basis",
    "annual_rate",
    "days",
    "entry",
    "note",
)
FIGURES: Final = frozenset({"amount", "principal", "interest", "late_fee", "basis", "annual_rate"})
Line = dict[str, Any]


def as_pdf(arguments: Mapping[str, Any], at: datetime, progress: Progress) -> File:
    """Arguments: `customer`, its key, and `month`, such as 2026-01."""
    customer, body = _made(arguments, at, progress)
    content = paper.render(customer=customer.name, body=body, sha256=digest(body), made_at=at)
    return File(f"statement-{body['month']}.pdf", "application/pdf", content)


def as_csv(arguments: Mapping[str, Any], at: datetime, progress: Progress) -> File:
    """As `as_pdf`; the digest of the body is the last line."""
    _, body = _made(arguments, at, progress)
    return csv_of(body)


def csv_of(body: Body) -> File:
    rows = ([_typed(name, line.get(name)) for name in HEADER] for line in lines(body))
    return exports.as_csv(f"statement-{body['month']}.csv", HEADER, rows)


def lines(body: Body) -> Iterator[Line]:
    """Every line of a statement, in its order: loans, sales, collateral, LTV, totals, wallets, digest."""
    for loan in body["loans"]:
        yield from _of_loan(loan)
    for row in body["liquidations"]:
        yield from _of_liquidation(row)
    for row in body["collateral"]:
        yield from _of_collateral(row)
    for section in body["ltv"]:
        yield from _of_ltv(section)
    for total in body["totals"]:
        yield {"section": "totals", "what": total["type"]} | _only(total, "asset", "amount")
    for wallet in body["wallets"]:
        for what, at in (("opening", body["from"]), ("closing", body["to"])):
            yield {
                "section": "wallets",
                "at_utc": at,
                "what": what,
                "amount": wallet[what],
                "note": wallet["wallet"],
            } | _only(wallet, "account", "asset")
    yield {"section": "digest", "what": "sha256", "note": digest(body)}


# --- Private ----------------------------------------------------------------------------------------


def _made(arguments: Mapping[str, Any], at: datetime, progress: Progress) -> tuple[Customer, Body]:
    customer = Customer.objects.get(pk=arguments["customer"])
    month = Month(date.fromisoformat(f"{arguments['month']}-01"))
    return customer, bodies.of(customer, month, at=at, progress=progress)


def _typed(name: str, value: Any) -> Any:
    """Figures as numbers: as text, one below zero would be taken for a formula and defused."""
    return Decimal(value) if name in FIGURES and value is not None else value


def _only(row: Body, *names: str) -> Line:
    return {name: row[name] for name in names}


def _parts(row: Body) -> Line:
    return _only(row, "principal", "interest", "late_fee") | {"amount": row["total"]}


def _of_loan(loan: Body) -> Iterator[Line]:
    about = {"section": "loan"} | _only(loan, "loan", "group", "asset")
    yield about | {"what": "opening"} | _parts(loan["opening"])
    for move in loan["movements"]:
        yield about | {"what": move["kind"], "at_utc": move["at"], "entry": move["entry"]} | _parts(move)
    for charge in loan["charges"]:
        figures = _only(charge, "interest", "late_fee", "basis", "annual_rate", "entry")
        yield about | {"what": "charge", "at_utc": charge["at"]} | figures
    yield about | {"what": "closing"} | _parts(loan["closing"])
    for segment in loan["segments"]:
        figures = _only(segment, "interest", "late_fee", "basis", "annual_rate", "days")
        dates = f"{segment['from']} to {segment['to']}, {segment['daily_interest']} a day"
        yield about | {"section": "interest by rate", "what": "segment", "note": dates} | figures


def _of_liquidation(row: Body) -> Iterator[Line]:
    for sale in row["sales"]:
        yield {
            "section": "liquidation",
            "at_utc": sale["at"],
            "what": "sale",
            "group": row["group"],
            "account": sale["account"],
            "asset": sale["coin"],
            "amount": sale["sold"],
            "note": f"X-{row['liquidation']}: {sale['price']} USD each, brought {sale['proceeds']} {sale['asset']}"
            f" of which fee {sale['fee']}",
        }


def _of_collateral(row: Body) -> Iterator[Line]:
    about = {"section": "collateral"} | _only(row, "group", "asset")
    yield about | {"what": "opening", "amount": row["opening"]}
    for move in row["movements"]:
        yield about | {"what": move["type"], "at_utc": move["at"]} | _only(move, "account", "amount", "entry")
    yield about | {"what": "closing", "amount": row["closing"]}


def _of_ltv(section: Body) -> Iterator[Line]:
    for day in section["days"]:
        for what in ("least", "most", "average"):
            yield {
                "section": "ltv",
                "at_utc": day["day"],
                "what": what,
                "group": section["group"],
                "amount": day[what],
            }
