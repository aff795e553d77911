"""Asking, renewing and repaying in the dialect: what is refused, with which code, and that nothing moved."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts import firms
from loans import queries
from loans.models import Application, Loan
from loans.sapi import codes
from loans.vip.eligibility import Problem
from loans.vip.moves import TermsRefused
from risk import accrual, debts
from risk.models import Debt
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans import dialect
from tests.loans.desk import Desk, everything
from tests.loans.dialect import DAY, HOUR, VIP, Clock, asked, borrowed, read, told
from tests.programs import Program, api_key

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("uncounted")]
MIDNIGHT = TEN.replace(hour=0) + DAY


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


@pytest.fixture
def program(desk: Desk, now: Clock) -> Program:
    """At ten o'clock on the first of January."""
    now(TEN)
    return Program(api_key(desk.master, desk.applicant))


# --- Asking -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"loanTerm": None}, (400, -1102)),
        ({"loanTerm": 45}, (400, codes.BAD_PARAMETER)),
        ({"loanTerm": 0}, (400, -1130)),
        ({"isFlexibleRate": None}, (400, -1102)),
        ({"isFlexibleRate": "maybe"}, (400, -1100)),
        ({"loanCoin": "DOGE"}, (400, codes.NOT_LOANABLE)),
        ({"collateralCoin": "DOGE"}, (400, codes.NOT_COLLATERAL)),
        ({"collateralCoin": "BTC-Earn,BTC"}, (400, -10213)),
        ({"collateralCoin": "BTC-Earn"}, (400, -10213)),
        ({"collateralCoin": "BTC,BTC"}, (400, -1130)),
        ({"loanAmount": "1080000.00000001"}, (400, codes.TOO_LITTLE_COLLATERAL)),
        ({"loanAmount": "50"}, (400, codes.TOO_SMALL)),
        ({"loanAmount": "499999"}, (400, codes.TOO_SMALL)),
        ({"loanAmount": "10000001"}, (400, codes.TOO_LARGE)),
        ({"loanAmount": "-1"}, (400, -1100)),
        ({"loanAmount": "1.000000001"}, (400, -1111)),
        ({"loanAccountId": 987654321}, (400, codes.NO_SUCH_ACCOUNT)),
        ({"collateralAccountId": "987654321"}, (400, codes.NO_SUCH_ACCOUNT)),
        ({"collateralAccountId": "master"}, (400, -1100)),
    ],
)
def test_a_request_that_cannot_be_granted_is_refused_with_its_code(
    changes: dict[str, Any], refused: tuple[int, int], desk: Desk, program: Program
) -> None:
    """R-VIP-03, R-VIP-06, R-VIP-07, R-VIP-20, R-GEN-33: one code for each kind of no, and nothing is kept."""
    before = everything()

    answer = program.post(f"{VIP}/borrow", **asked(desk, **changes))

    assert told(answer) == refused
    assert (everything(), Application.objects.count()) == (before, 0)


def test_the_most_that_the_collateral_allows_is_lent(desk: Desk, program: Program) -> None:
    """R-VIP-52: 25 BTC of 60,000 at 72 %."""
    assert program.post(f"{VIP}/borrow", **asked(desk, loanAmount="1080000")).status_code == 200


def test_a_short_pool_a_missing_rate_and_a_client_who_is_no_vip_are_told(desk: Desk, now: Clock) -> None:
    """R-GEN-38, R-VIP-22, R-VIP-01"""
    now(TEN)
    build.asset("USDC")
    desks.loan_limit("USDC")
    desks.card("USDC", "0.08")
    desks.quote(TEN, USDC="1")
    program = Program(api_key(desk.master, desk.applicant))
    assert told(program.post(f"{VIP}/borrow", **asked(desk, loanCoin="USDC"))) == (400, codes.POOL_SHORT)
    build.fund_pool("USDC")
    unpriced = asked(desk, loanCoin="USDC", loanTerm=60)
    assert told(program.post(f"{VIP}/borrow", **unpriced)) == (400, codes.NO_CONFIG)

    member = build.user()
    stranger = build.customer(vip_level=0, member=member)
    theirs = Program(api_key(build.master(stranger), member))
    answer = theirs.post(f"{VIP}/borrow", **asked(desk, loanAccountId=build.master(stranger).pk))
    assert told(answer) == (400, -10016)
    assert "has no VIP level" in answer.json()["msg"]


def test_accounts_of_others_are_like_those_that_do_not_exist(desk: Desk, program: Program) -> None:
    """TRUST B-07, R-GEN-15: byte for byte but for the number."""
    theirs = build.account(build.customer())
    for name in ("loanAccountId", "collateralAccountId"):
        answers = [
            program.post(f"{VIP}/borrow", **asked(desk, **{name: uid})).content.replace(b"%d" % uid, b"#")
            for uid in (theirs.pk, 987654321)
        ]
        assert answers[0] == answers[1], name


def test_only_the_masters_key_asks(desk: Desk, program: Program) -> None:
    """R-VIP-02: a sub-account's key may not borrow, renew or repay; nor one that only reads."""
    loan = borrowed(desk, program)
    before = everything()
    for key in (api_key(desk.sub, desk.applicant), api_key(desk.master, desk.applicant, "can_read")):
        other = Program(key)
        assert told(other.post(f"{VIP}/borrow", **asked(desk))) == (401, -2015)
        assert told(other.post(f"{VIP}/renew", orderId=loan.pk, loanTerm=30)) == (401, -2015)
        assert told(other.post(f"{VIP}/repay", orderId=loan.pk, amount="1000")) == (401, -2015)
    assert everything() == before


def test_a_member_who_may_not_apply_does_not_by_a_program(desk: Desk, now: Clock) -> None:
    """R-ADM-09: a firm that asks for two is told where; whose role does not reach so far is refused."""
    now(TEN)
    program = Program(api_key(desk.master, desk.applicant))
    build.colleague(desk.owner, "signatory")
    firms.set_policy(
        customer_id=desk.owner.pk,
        apply=True,
        accept=False,
        withdraw=False,
        remove=False,
        actor=BUILDER,
        at=LONG_AGO,
    )
    answer = program.post(f"{VIP}/borrow", **asked(desk))
    assert "two people" in answer.json()["msg"]
    assert "website" in answer.json()["msg"]
    assert Application.objects.count() == 0


def test_a_flexible_rate_is_open_or_runs_for_a_term_and_the_answer_has_no_term(
    desk: Desk, program: Program
) -> None:
    """R-VIP-20, R-VIP-21, SAPI 1.11: "Yes", and no loanTerm."""
    for number, (days, said, expires) in enumerate([(None, "open term", 0), (30, "30days", 1)]):
        changes = {"loanAmount": "500000", "isFlexibleRate": "True", "loanTerm": days}
        answer = program.post(f"{VIP}/borrow", **asked(desk, **changes)).json()
        assert (answer["isFlexibleRate"], "loanTerm" in answer) == ("Yes", False)
        application = Application.objects.get(pk=answer["requestId"])
        assert (application.contact, application.rate_type) == (desk.applicant.email, "flexible")
        assert application.purpose == "Asked for by a program, with the API key named program."
        desks.approved(desk, application)
        row = read(program, "ongoing/orders", orderId=Loan.objects.latest("pk").pk)["rows"][0]
        assert (row["loanTerm"], row["loanRate"], row["expirationTime"] > 0) == (
            said,
            "0.08",
            expires == 1,
        ), number


def test_every_problem_has_words_and_a_code_of_the_dialect() -> None:
    """What the table does not know is the plain "the loan operation failed"."""
    first, second = Problem("wishes", "below_minimum", "Too little."), Problem("coins", "no_rate", "No rate.")
    denial = codes.denied(TermsRefused([first, second]))
    assert (denial.number, denial.message, denial.status) == (-10029, "Too little.", 400)
    assert codes.denied(TermsRefused([Problem("x", "unheard_of", "No.")])).number == -10016


# --- Repaying ---------------------------------------------------------------------------------------


def test_what_cannot_be_repaid_is_refused_with_its_code(desk: Desk, program: Program) -> None:
    """R-VIP-34, R-GEN-52: too much, too fine, a crumb left over, not there; and the debt is what it was."""
    loan = borrowed(desk, program)
    before = everything()
    for amount, code in [
        ("1000230.13698632", -10017),
        ("999995", -3024),
        ("1000000", -3024),  # the one day is missing
        ("0", -1100),
        ("NaN", -1100),
        ("1e999", -1100),
    ]:
        assert told(program.post(f"{VIP}/repay", orderId=loan.pk, amount=amount)) == (400, code), amount
    assert told(program.post(f"{VIP}/repay", orderId=loan.pk)) == (400, -1102)
    assert everything() == before

    desks.spend(desk, "999000")
    before = everything()
    assert told(program.post(f"{VIP}/repay", orderId=loan.pk, amount="1000.00000001")) == (400, -10011)
    assert everything() == before


def test_a_decimal_may_come_with_an_exponent(desk: Desk, program: Program) -> None:
    """SAPI 6.3"""
    loan = borrowed(desk, program)
    paid = program.post(f"{VIP}/repay", orderId=loan.pk, amount="1e-05").json()
    assert (paid["repayAmount"], paid["remainingPrincipal"]) == ("0.00001", "999999.99999")


def test_orders_of_others_are_like_those_that_do_not_exist(desk: Desk, program: Program, now: Clock) -> None:
    """TRUST B-07: repay and renew answer the same bytes, and nothing moves."""
    loan = borrowed(desk, program)
    member = build.user()
    other = build.customer(member=member)
    theirs = Program(api_key(build.master(other), member))
    before = everything()
    for what, more in (("repay", {"amount": "1000"}), ("renew", {"loanTerm": 30})):
        answers = [theirs.post(f"{VIP}/{what}", orderId=pk, **more) for pk in (loan.pk, 987654321)]
        assert [told(answer) for answer in answers] == [(400, -10021)] * 2
        assert answers[0].content == answers[1].content
    assert everything() == before


def test_a_closed_order_is_neither_repaid_nor_renewed_again(desk: Desk, program: Program) -> None:
    """R-VIP-34: said in words, with the dialect's "repay unavailable"."""
    loan = borrowed(desk, program)
    build.deposit(desk.master, "USDT", "1000", at=TEN)
    assert (
        program.post(f"{VIP}/repay", orderId=loan.pk, amount="1000230.13698631").json()["repayStatus"]
        == "Repaid"
    )
    before = everything()
    answer = program.post(f"{VIP}/repay", orderId=loan.pk, amount="1")
    assert (told(answer), "nothing is owed" in answer.json()["msg"]) == ((400, -10032), True)
    assert told(program.post(f"{VIP}/renew", orderId=loan.pk, loanTerm=30)) == (400, -10032)
    assert everything() == before


def test_the_total_debt_that_was_read_repays_the_loan_on_its_first_day_too(
    desk: Desk, program: Program
) -> None:
    """R-VIP-31: nothing is charged yet, so the one day is in what the program reads and pays."""
    loan = borrowed(desk, program)
    build.deposit(desk.master, "USDT", "1000", at=TEN)
    [order] = read(program, "ongoing/orders")["rows"]
    assert (order["totalDebt"], order["residualInterest"]) == ("1000230.13698631", "230.13698631")

    paid = program.post(f"{VIP}/repay", orderId=loan.pk, amount=order["totalDebt"]).json()

    assert (paid["repayStatus"], paid["remainingPrincipal"], paid["remainingInterest"]) == (
        "Repaid",
        "0",
        "0",
    )
    assert build.balance(desk.master, "USDT") == Decimal("769.86301369")
    [charge] = read(program, "accruedInterest")["rows"]
    assert charge == {
        "loanCoin": "USDT",
        "principalAmount": "1000000",
        "interestAmount": "230.13698631",
        "annualInterestRate": "0.084",
        "accrualTime": dialect.ms(TEN),
        "orderId": loan.pk,
    }


@pytest.mark.parametrize("rate_type", ["fixed", "flexible"])
def test_total_debt_is_always_what_closes_the_debt(rate_type: str, desk: Desk) -> None:
    """R-VIP-31: before, at and after midnights, and after a partial repayment, as the command reckons it."""
    loan = desks.drawn(desk, rate_type=rate_type)
    for after in (0, 1, 13 * 3600, 14 * 3600 - 1, 14 * 3600, 14 * 3600 + 1, 86400, 40 * 86400):
        instant = TEN + timedelta(seconds=after)
        row = queries.loan_row(loan, at=instant)
        assert row.payoff == debts.payoff_at(Debt.objects.get(), at=instant).total, after


def test_a_first_day_paid_in_part_still_shows_what_closes_the_loan(desk: Desk, program: Program) -> None:
    """R-VIP-31: one day of all that was lent."""
    loan = borrowed(desk, program)
    paid = program.post(f"{VIP}/repay", orderId=loan.pk, amount="600000").json()
    assert (paid["remainingPrincipal"], paid["remainingInterest"]) == ("400000", "230.13698631")
    assert (paid["currentLTV"], paid["repayStatus"]) == ("0.266666666666", "Repaying")
    [order] = read(program, "ongoing/orders")["rows"]
    assert order["totalDebt"] == "400230.13698631"


def test_the_ltv_after_a_repayment_is_of_all_that_the_group_owes(desk: Desk, program: Program) -> None:
    """R-GEN-12: one of two loans is repaid in full; the other is still secured by the same accounts."""
    loan = borrowed(desk, program, loanAmount="500000")
    borrowed(desk, program, loanAmount="300000")
    paid = program.post(f"{VIP}/repay", orderId=loan.pk, amount="500115.06849316").json()
    assert (paid["repayStatus"], paid["currentLTV"], paid["collateralCoin"]) == ("Repaid", "0.2", "BTC")


# --- Renewing ---------------------------------------------------------------------------------------


def test_a_renewal_that_cannot_be_is_refused_and_nothing_moves(
    desk: Desk, program: Program, now: Clock
) -> None:
    """R-VIP-40, R-VIP-41, EX-20: before its window, for a term that is none, without the interest in Spot."""
    loan = borrowed(desk, program)
    before = everything()
    early = program.post(f"{VIP}/renew", orderId=loan.pk, loanTerm=30)
    assert told(early) == (400, -10016)
    assert "Renewal opens on 24 January 00:00 UTC" in early.json()["msg"]

    accrual.accrue(at=MIDNIGHT + 24 * DAY)
    desks.spend(desk, "994246.58")
    now(MIDNIGHT + 24 * DAY + HOUR)
    before = everything()
    assert told(program.post(f"{VIP}/renew", orderId=loan.pk, loanTerm=45)) == (400, -10016)
    assert told(program.post(f"{VIP}/renew", orderId=loan.pk)) == (400, -1102)
    short = program.post(f"{VIP}/renew", orderId=loan.pk, loanTerm=30)
    assert (told(short), "5,753.42465775" in short.json()["msg"]) == ((400, -10011), True)
    assert everything() == before

    build.deposit(desk.master, "USDT", "0.01", at=MIDNIGHT + 24 * DAY)  # 5,753.43 is enough
    assert program.post(f"{VIP}/renew", orderId=loan.pk, loanTerm=30).status_code == 200


def test_an_open_loan_is_not_renewed(desk: Desk, program: Program) -> None:
    """R-VIP-40"""
    loan = borrowed(desk, program, isFlexibleRate="true", loanTerm=None)
    answer = program.post(f"{VIP}/renew", orderId=loan.pk, loanTerm=30)
    assert (told(answer), "there is nothing to renew" in answer.json()["msg"]) == ((400, -10016), True)
