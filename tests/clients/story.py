"""What every client is asked to do, in the dialect's words, and what must come of it to the last digit.

A client that has no call for an endpoint skips that step; the loan's own steps none may skip.
"""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any

from accounts.sapi.wire import dec, ms
from loans.models import Loan
from tests.clients import around, unified
from tests.clients.stage import Client, Told
from tests.clients.world import OPENING, World

VIP = "/sapi/v1/loan/vip"
ONGOING, PENDING, ACCRUED = (
    f"GET {VIP}/ongoing/orders",
    f"GET {VIP}/request/data",
    f"GET {VIP}/accruedInterest",
)
BORROW, REPAY, RENEW = f"POST {VIP}/borrow", f"POST {VIP}/repay", f"POST {VIP}/renew"
HISTORY, PLEDGED = f"GET {VIP}/repay/history", f"GET {VIP}/collateral/account"
TAKE = f"POST {VIP}/fixed/borrow"
LOAN_STEPS = {ONGOING, PENDING, BORROW, REPAY, RENEW, HISTORY, PLEDGED, f"GET {VIP}/loanable/data"}
NOT_YET = -10016  # the renewal window is not open
CLOSED = -10032  # nothing is owed on it any more
DAY = Decimal("230.13698631")  # EX-01: a day of 1,000,000 USDT at 8.4 %
MIDNIGHT = datetime(2026, 1, 2, tzinfo=UTC)
WINDOW = datetime(2026, 1, 25, tzinfo=UTC)  # R-VIP-40: from 24 January; the loan is due on the 31st at 10:00
NOBODYS = 999_999_999


def tell(client: Client, world: World) -> None:
    assert client.calls >= LOAN_STEPS, f"{client.name} lost {LOAN_STEPS - client.calls}"
    keys(client)
    around.general(client, world)
    offers(client, world)
    refused_requests(client, world)
    loan = borrowed(client, world)
    day_later(client, world, loan)
    renewed = renew(client, world, loan)
    repaid(client, world, renewed)
    histories(client, world, loan, renewed)
    flexible(client, world)
    market(client, world)
    limits(client, world)
    around.transfers(client, world)
    around.withdrawal(client, world)
    around.sub_accounts(client, world)
    unified.tell(client, world)


def asked(client: Client, call: str, **args: Any) -> Told:
    """The one row of the answer."""
    found = client.ask(call, **args)
    assert (len(found["rows"]), found["total"]) == (1, 1), found
    return dict(found["rows"][0])


# --- The door -----------------------------------------------------------------------------------------


def keys(client: Client) -> None:
    """Every kind of key signs; what is wrong with a request is said with the code for it."""
    here = "GET /sapi/v1/account/status"
    assert client.ask(here) == {"data": "Normal"}
    if client.name != "typed":  # it knows HMAC only
        assert client.ask(here, "rsa") == {"data": "Normal"}
        assert client.ask(here, "ed25519") == {"data": "Normal"}
    client.refused(here, -1022, "forged")
    client.refused(here, -2015, "unknown")
    client.refused(here, -2015, "revoked")
    client.refused(here, -2014, "garbled")
    client.follow_the_clock(away=timedelta(minutes=-5))
    client.refused(here, -1021)
    client.follow_the_clock(away=timedelta(minutes=5))
    client.refused(here, -1021)
    client.follow_the_clock()


# --- Before a loan ------------------------------------------------------------------------------------


def offers(client: Client, world: World) -> None:
    """What could be pledged and borrowed, and at which rates. R-VIP-22, R-VIP-23, R-GEN-53"""
    if client.knows(f"GET {VIP}/collateral/data"):
        row = asked(client, f"GET {VIP}/collateral/data", collateralCoin="BTC")
        assert (row["collateralCoin"], row["_1stCollateralRatio"]) == ("BTC", "100%")
    row = asked(client, f"GET {VIP}/loanable/data", loanCoin="USDT")
    assert (row["loanCoin"], row["vipLevel"]) == ("USDT", 1)
    rates = (row["_30dYearlyInterestRate"], row["_60dYearlyInterestRate"], row["_flexibleYearlyInterestRate"])
    assert tuple(map(Decimal, rates)) == (Decimal("0.084"), Decimal("0.09"), Decimal("0.08"))
    if client.knows(f"GET {VIP}/request/interestRate"):
        (rate,) = client.ask(f"GET {VIP}/request/interestRate", loanCoin="USDT")
        assert (rate["asset"], Decimal(rate["flexibleYearlyInterestRate"])) == ("USDT", Decimal("0.08"))
    if client.knows(f"GET {VIP}/interestRateHistory"):
        window = {} if client.name == "typed" else {"recvWindow": 5000}
        history = client.ask(f"GET {VIP}/interestRateHistory", coin="USDT", **window)
        assert all(Decimal(row["annualizedInterestRate"]) == Decimal("0.08") for row in history["rows"])


def wish(world: World, **changes: Any) -> Told:
    """1,000,000 USDT for 30 days at a fixed rate to the master, for the sub-account's BTC and ETH."""
    return {
        "loanAccountId": world.master.pk,
        "loanCoin": "USDT",
        "loanAmount": 1000000.0,
        "collateralAccountId": str(world.desk.sub.pk),
        "collateralCoin": "BTC,ETH",
        "isFlexibleRate": False,
        "loanTerm": 30,
    } | changes


def refused_requests(client: Client, world: World) -> None:
    """R-VIP-06, R-VIP-07, R-VIP-13, R-GEN-95: nothing of it is asked for, each with the code for it."""
    before = world.balance(world.master)
    client.refused(BORROW, -10029, **wish(world, loanAmount=50.0))
    client.refused(BORROW, -10013, **wish(world, loanAmount=1500000.0))
    client.refused(BORROW, -10007, **wish(world, loanCoin="DOGE"))
    client.refused(BORROW, -10213, **wish(world, collateralCoin="BTC,BTC-Earn"))
    client.refused(BORROW, -2015, "reader", **wish(world))
    client.refused(REPAY, -10021, orderId=NOBODYS, amount=10.0)
    client.refused(REPAY, -10021, orderId=world.foreign.pk, amount=10.0)
    client.refused(RENEW, -10021, orderId=world.foreign.pk, loanTerm=30)
    assert client.ask(PENDING) == {"rows": [], "total": 0}
    assert client.ask(ONGOING) == {"rows": [], "total": 0}
    assert world.balance(world.master) == before


# --- A loan's life ------------------------------------------------------------------------------------


def borrowed(client: Client, world: World) -> Loan:
    """R-VIP-10, R-VIP-12, R-VIP-14: asked for, approved by the manager, and paid out."""
    before = world.balance(world.master)
    said = client.ask(BORROW, **wish(world))
    assert said == {
        "loanAccountId": str(world.master.pk),
        "requestId": said["requestId"],
        "loanCoin": "USDT",
        "isFlexibleRate": "No",
        "loanAmount": "1000000",
        "collateralAccountId": str(world.desk.sub.pk),
        "collateralCoin": "BTC,ETH",
        "loanTerm": "30",
    }
    row = asked(client, PENDING)
    assert (row["requestId"], row["orderId"], row["status"]) == (said["requestId"], "", "Pending")
    loan = world.approve(said["requestId"])
    assert world.balance(world.master) == before + 1000000
    row = asked(client, PENDING)
    assert (row["orderId"], row["status"], row["loanTerm"]) == (str(loan.pk), "Accruing_Interest", "30")
    order = asked(client, ONGOING)
    assert (order["orderId"], order["loanTerm"]) == (loan.pk, "30days")
    assert (order["expirationTime"], order["loanDate"]) == (ms(loan.due_at), str(ms(loan.drawn_at)))
    assert set(order["collateralCoin"].split(",")) == {"BTC", "ETH"}
    pledged = asked(client, PLEDGED)
    assert pledged["collateralAccountId"] == str(world.desk.sub.pk)
    return loan


def day_later(client: Client, world: World, loan: Loan) -> None:
    """R-VIP-30, EX-01: a midnight is one day's interest; a repayment pays it first (R-GEN-51)."""
    world.go_to(MIDNIGHT + timedelta(minutes=5), client)
    order = asked(client, ONGOING, orderId=loan.pk, loanCoin="USDT")
    assert (order["totalDebt"], order["residualInterest"]) == (dec(1000000 + DAY), dec(DAY))
    worth = Decimal("25") * 60000 + Decimal("10") * 3000
    assert order["totalCollateralValueAfterHaircut"] == dec(worth)
    assert abs(Decimal(order["currentLTV"]) - (1000000 + DAY) / worth) < Decimal("0.0001")
    if client.knows(ACCRUED):
        charge = asked(client, ACCRUED, orderId=loan.pk)
        assert charge == {
            "loanCoin": "USDT",
            "principalAmount": "1000000",
            "interestAmount": dec(DAY),
            "annualInterestRate": "0.084",
            "accrualTime": ms(MIDNIGHT),
            "orderId": loan.pk,
        }
    client.refused(REPAY, -10017, orderId=loan.pk, amount=1000231.0)
    client.refused(REPAY, -2015, "reader", orderId=loan.pk, amount=10.0)
    client.refused(RENEW, NOT_YET, orderId=loan.pk, loanTerm=60)
    before = world.balance(world.master)
    said = client.ask(REPAY, orderId=loan.pk, amount=100000.0)
    assert (said["repayAmount"], said["repayStatus"]) == ("100000", "Repaying")
    assert (said["remainingPrincipal"], said["remainingInterest"]) == (dec(900000 + DAY), "0")
    assert world.balance(world.master) == before - 100000


def renew(client: Client, world: World, loan: Loan) -> Loan:
    """R-VIP-40, R-VIP-41, R-VIP-42: inside its last seven days, for 60 more; its interest is paid first."""
    world.go_to(WINDOW + timedelta(minutes=5), client)
    left = 900000 + DAY
    owed = 23 * charge(left, "0.084")
    order = asked(client, ONGOING)
    assert (order["totalDebt"], order["residualInterest"]) == (dec(left + owed), dec(owed))
    client.refused(RENEW, -1130, orderId=loan.pk, loanTerm=0)
    before = world.balance(world.master)
    said = client.ask(RENEW, orderId=loan.pk, loanTerm=60)
    assert (said["loanAmount"], said["loanTerm"], said["loanCoin"]) == (dec(left), "60", "USDT")
    assert world.balance(world.master) == before - owed
    order = asked(client, ONGOING)
    assert (order["orderId"] != loan.pk, order["loanTerm"]) == (True, "60days")
    assert order["expirationTime"] == ms(loan.due_at + timedelta(days=60))
    client.refused(REPAY, CLOSED, orderId=loan.pk, amount=10.0)
    return Loan.objects.get(pk=order["orderId"])


def repaid(client: Client, world: World, loan: Loan) -> None:
    """R-VIP-27, R-VIP-31: what the order says it owes closes it, and nothing is left of it among the ongoing."""
    world.go_to(WINDOW + timedelta(days=1, minutes=5), client)
    order = asked(client, ONGOING)
    before = world.balance(world.master)
    said = client.ask(REPAY, orderId=loan.pk, amount=float(order["totalDebt"]))
    assert said["repayStatus"] == "Repaid"
    assert (said["remainingPrincipal"], said["remainingInterest"]) == ("0", "0")
    assert world.balance(world.master) == before - Decimal(order["totalDebt"])
    assert client.ask(ONGOING) == {"rows": [], "total": 0}
    client.refused(REPAY, CLOSED, orderId=loan.pk, amount=10.0)


def histories(client: Client, world: World, loan: Loan, renewed: Loan) -> None:
    """R-GEN-90, R-GEN-91: all that was paid and charged, once, and nothing of anybody else's."""
    paid = client.ask(HISTORY, limit=100)
    assert paid["total"] == len(paid["rows"])
    assert {row["orderId"] for row in paid["rows"]} == {str(loan.pk), str(renewed.pk)}
    parts = ("repayAmount", "repayPrincipal", "repayInterest")
    amount, principal, interest = (sum(Decimal(row[part]) for row in paid["rows"]) for part in parts)
    assert (principal, amount) == (1000000, principal + interest)
    assert (paid["rows"][0]["repayStatus"], paid["rows"][-1]["repayStatus"]) == ("Repaid", "Repaying")
    assert client.ask(HISTORY, orderId=world.foreign.pk) == {"rows": [], "total": 0}
    since = ms(OPENING)
    assert client.ask(HISTORY, startTime=since, endTime=since + 1000, current=1) == {"rows": [], "total": 0}
    client.refused(HISTORY, -1127, startTime=since, endTime=since + 181 * 86_400_000)
    if client.knows(ACCRUED):
        charged = client.ask(ACCRUED, limit=100, loanCoin="USDT")
        assert charged["total"] == len(charged["rows"]) == 25
        assert sum(Decimal(row["interestAmount"]) for row in charged["rows"]) == interest
        client.refused(ACCRUED, -1127, startTime=since, endTime=since + 91 * 86_400_000)
    statuses = {row["orderId"]: row["status"] for row in client.ask(PENDING)["rows"]}
    assert set(statuses.values()) <= {"Repaid"}, statuses
    for stable in ("borrow/history", "repay/history", "ltv/adjustment/history"):
        if client.knows(f"GET /sapi/v1/loan/{stable}"):
            assert client.ask(f"GET /sapi/v1/loan/{stable}") == {"rows": [], "total": 0}
    if client.knows("GET /sapi/v1/loan/income"):
        assert client.ask("GET /sapi/v1/loan/income", asset="USDT") == []


def flexible(client: Client, world: World) -> None:
    """R-VIP-20, R-VIP-23, R-VIP-44: an open-ended order at the flexible rate, and the way back."""
    pending = wish(world, loanAmount=60000.5, isFlexibleRate=True)
    del pending["loanTerm"]
    said = client.ask(BORROW, **pending)
    assert (said["isFlexibleRate"], said["loanAmount"], "loanTerm" in said) == ("Yes", "60000.5", False)
    loan = world.approve(said["requestId"])
    order = asked(client, ONGOING)
    assert (order["orderId"], order["loanTerm"], order["expirationTime"]) == (loan.pk, "open term", 0)
    said = client.ask(REPAY, orderId=loan.pk, amount=0.00001)  # which Python writes as 1e-05
    assert (said["repayAmount"], said["repayStatus"]) == ("0.00001", "Repaying")
    said = client.ask(REPAY, orderId=loan.pk, amount=float(asked(client, ONGOING)["totalDebt"]))
    assert (said["repayStatus"], client.ask(ONGOING)["total"]) == ("Repaid", 0)


def market(client: Client, world: World) -> None:
    """R-VIP-26: what finance offers is shown and taken, at the weighted rate, and paid out at once."""
    if not client.knows(TAKE):
        return
    cheap, dear = world.offer("0.05", "100000"), world.offer("0.07", "300000")
    found = client.ask(f"GET {VIP}/fixed/market", loanCoin="USDT", duration=30)
    assert [(row["requestId"], row["interestRate"]) for row in found["rows"]] == [
        (cheap.pk, "0.05"),
        (dear.pk, "0.07"),
    ]
    before = world.balance(world.master)
    client.refused(TAKE, -10028, **taking(world, f"{cheap.pk}:0.04:100000"))
    client.refused(TAKE, -10029, **taking(world, f"{cheap.pk}:0.05:500"))
    client.refused(TAKE, -10030, **taking(world, f"{cheap.pk}:0.05:100001"))
    client.refused(TAKE, -10021, **taking(world, f"{NOBODYS}:0.05:100000"))
    assert world.balance(world.master) == before
    said = client.ask(TAKE, **taking(world, f"{cheap.pk}:0.05:100000;{dear.pk}:0.07:300000"))
    assert (said["borrowAmount"], said["borrowInterestRate"]) == ("400000", "0.065")
    assert (said["duration"], said["autoRepay"], said["status"]) == ("30Days", False, "Succeeds")
    assert world.balance(world.master) == before + 400000
    order = asked(client, ONGOING)
    assert (order["orderId"], order["loanRate"]) == (said["orderId"], "0.065")
    client.ask(REPAY, orderId=said["orderId"], amount=float(order["totalDebt"]))
    assert client.ask(ONGOING)["total"] == 0


def taking(world: World, request: str) -> Told:
    return {
        "supplyRequest": request,
        "borrowCoin": "USDT",
        "loanTerm": 30,
        "borrowUid": world.master.pk,
        "collateralCoin": "BTC",
        "collateralAccountId": str(world.desk.sub.pk),
        "autoRepay": False,
    }


def limits(client: Client, world: World) -> None:
    """A call of half a minute's weight is served twice a minute, and again in the next one."""
    minute = world.site.now().replace(second=0, microsecond=0) + timedelta(minutes=1)
    world.go_to(minute, client)
    client.ask(PLEDGED)
    client.ask(PLEDGED)
    client.refused(PLEDGED, -1003)
    world.go_to(minute + timedelta(minutes=1), client)
    client.ask(PLEDGED)


def charge(principal: Decimal, rate: str) -> Decimal:
    """R-VIP-30: a day's interest, rounded up to eight decimals."""
    return (principal * Decimal(rate) / 365).quantize(Decimal("1E-8"), rounding=ROUND_CEILING)
