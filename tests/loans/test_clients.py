"""A client's own terms: who sets them, from when to when, what needs two persons, and what they do to a sheet."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import approvals, people
from accounts.commands import Actor, NeedsApproval, NotYourRole
from accounts.models import AuditRecord, Notice
from loans import clients, ratecards
from loans.clients import BadClientTerms
from loans.models import ClientTerms
from loans.policy import policy_of, with_spread
from loans.vip import renewal, terms
from loans.vip.terms import Agreed, TermSheet
from risk import rates
from risk.levels import Lines
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def settle(desk: Desk, *, actor: Actor | None = None, at: Any = TEN, **values: Any) -> ClientTerms:
    asked = {"customer_id": desk.owner.pk, "reason": "A good client", "at": at} | values
    return clients.set_client_terms(actor=actor or desk.decider, **asked)


def check(desk: Desk, *, at: Any = TEN, agreed: Agreed | None = None, **changes: Any) -> TermSheet:
    return terms.check(desks.request(desk, **changes), at=at, agreed=agreed)


def rate(desk: Desk, *, at: Any = TEN, **changes: Any) -> Decimal | None:
    if at != TEN:
        desks.quote(at)
    return check(desk, at=at, **changes).lines[0].annual_rate


# --- Who and when -----------------------------------------------------------------------------------


def test_the_clients_own_manager_sets_terms_and_the_client_is_told(desk: Desk) -> None:
    """R-ADM-02: with the dates and the reason, in the trail and in the inbox."""
    row = settle(desk, spread=Decimal("0.005"), ends_at=TEN + timedelta(days=90))

    assert (row.set_by, row.starts_at, row.reason) == (desk.manager, TEN, "A good client")
    told = AuditRecord.objects.get(subject="loans.set_client_terms")
    assert (told.actor, told.reason, told.after["arguments"]["spread"]) == (
        desk.decider.label,
        "A good client",
        "0.005",
    )
    notice = Notice.objects.get(event=f"client-terms:{row.pk}")
    assert notice.customer == desk.owner
    assert notice.body.startswith(
        "From 1 January 2026, 10:00 UTC until 1 April 2026, 10:00 UTC your own terms are: +0.5 % a year on the"
        " published rate."
    )


@pytest.mark.parametrize(
    ("spread", "said"),
    [("0", "+0"), ("0.000000000000", "+0"), ("0.1", "+10"), ("1E-1", "+10"), ("-0.0125", "-1.25")],
)
def test_a_spread_reads_as_a_number(spread: str, said: str) -> None:
    """R-VIP-24: a spread of nothing was told as "+ % a year", and one of 1E-1 as "+1 %"."""
    assert clients.in_words(ClientTerms(spread=Decimal(spread))) == f"{said} % a year on the published rate"


def test_only_the_own_manager_or_a_risk_officer(desk: Desk) -> None:
    """R-ADM-02, R-ADM-01"""
    for role, refusal in (
        ("vip_manager", people.NotYourClient),
        ("finance", NotYourRole),
        ("admin", NotYourRole),
        ("borrower", NotYourRole),
    ):
        with pytest.raises(refusal):
            settle(desk, actor=Actor.user(build.user(role)), spread=Decimal("0.005"))
    assert not ClientTerms.objects.exists()
    assert settle(desk, actor=Actor.user(build.user("risk_officer")), spread=Decimal("0.005")).pk


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"starts_at": TEN - timedelta(microseconds=1)}, "backdated"),
        ({"ends_at": TEN}, "end after they start"),
        ({"reason": " "}, "Say why"),
        ({"spread": Decimal(1)}, "between -1 and 1"),
        ({"spread": Decimal("NaN")}, "between -1 and 1"),
        ({"spread": Decimal("0.0000000000001")}, "12 decimals"),
        ({"overdue_hours": 0}, "1 to 8760"),
        ({"max_exposure_usd": Decimal(-1)}, "0 or more"),
        ({"max_exposure_usd": Decimal("Infinity")}, "0 or more"),
        ({"allowed_coins": ("USDT", "NOPE")}, "does not lend NOPE"),
        ({"asset": "NOPE"}, "does not lend NOPE"),
        ({"asset": "USDT", "overdue_hours": 24}, "for all coins together"),
        ({"asset": "USDT", "allowed_coins": ()}, "for all coins together"),
    ],
)
def test_terms_that_cannot_be_set(desk: Desk, values: dict[str, Any], words: str) -> None:
    """R-ADM-02, R-VIP-18"""
    with pytest.raises(BadClientTerms, match=words):
        settle(desk, **values)

    assert (ClientTerms.objects.count(), Notice.objects.count()) == (0, 0)


def test_the_same_scope_is_set_once_per_instant(desk: Desk) -> None:
    settle(desk, spread=Decimal("0.01"))

    with pytest.raises(BadClientTerms, match="from that very instant"):
        settle(desk, spread=Decimal("0.02"))

    assert rate(desk) == Decimal("0.094")


# --- Four eyes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "is_needed"),
    [
        ({"spread": Decimal("-0.000000000001")}, True),
        ({"spread": Decimal(0)}, False),
        ({"spread": Decimal("0.02")}, False),
        ({"is_uncapped": True}, True),
        ({"overdue_hours": 169}, True),
        ({"overdue_hours": 168}, False),
        ({"max_exposure_usd": Decimal(10**9)}, False),
    ],
)
def test_what_costs_the_desk_needs_a_second_person(
    desk: Desk, values: dict[str, Any], is_needed: bool
) -> None:
    """R-ADM-03: a discount, no maximum, more hours than the product's 168."""
    if not is_needed:
        assert settle(desk, **values).pk
        return
    with pytest.raises(NeedsApproval):
        settle(desk, **values)
    assert not ClientTerms.objects.exists()


def test_a_discount_is_proposed_and_another_person_releases_it(desk: Desk) -> None:
    """R-ADM-03, R-VIP-24: in force from the release on, in the maker's name."""
    proposal = approvals.run_or_propose(
        command=clients.COMMAND,
        arguments={"customer_id": desk.owner.pk, "spread": Decimal("-0.02"), "allowed_coins": ("USDT",)},
        title="A discount",
        preview={},
        reason="Large and steady",
        actor=desk.decider,
        at=TEN,
        customer=desk.owner,
    )
    assert proposal is not None
    assert rate(desk) == Decimal("0.084")

    with pytest.raises(approvals.OwnProposal):
        approvals.release(approval_id=proposal.pk, actor=desk.decider, at=TEN + HOUR)
    approvals.release(approval_id=proposal.pk, actor=Actor.user(build.user("risk_officer")), at=TEN + HOUR)

    row = ClientTerms.objects.get()
    assert (row.set_by, row.starts_at, row.allowed_coins) == (desk.manager, TEN + HOUR, ["USDT"])
    assert rate(desk, at=TEN + HOUR) == Decimal("0.064")


# --- In force ---------------------------------------------------------------------------------------


def test_the_latest_start_counts_the_coin_before_all_and_what_ended_gives_way(desk: Desk) -> None:
    """R-VIP-24: 8.4 % published; +1 % for all from 10:00; +2 % for USDT from 11:00 until 13:00."""
    settle(desk, spread=Decimal("0.01"))
    settle(desk, asset="USDT", spread=Decimal("0.02"), starts_at=TEN + HOUR, ends_at=TEN + 3 * HOUR)
    second = timedelta(seconds=1)

    assert rate(desk, at=TEN - second) == Decimal("0.084")
    assert rate(desk) == Decimal("0.094")
    assert rate(desk, at=TEN + HOUR - second) == Decimal("0.094")
    assert rate(desk, at=TEN + HOUR) == Decimal("0.104")
    assert rate(desk, at=TEN + 3 * HOUR - second) == Decimal("0.104")
    assert rate(desk, at=TEN + 3 * HOUR) == Decimal("0.094")
    settle(desk, at=TEN + 4 * HOUR)  # an empty row: as published again
    assert rate(desk, at=TEN + 4 * HOUR) == Decimal("0.084")


def test_a_row_replaces_the_earlier_one_as_a_whole(desk: Desk) -> None:
    """R-ADM-02"""
    settle(desk, spread=Decimal("0.01"), max_exposure_usd=Decimal(5), overdue_hours=48)
    settle(desk, max_exposure_usd=Decimal(7), at=TEN + HOUR)

    before, after = policy_of(desk.owner, at=TEN), policy_of(desk.owner, at=TEN + HOUR)

    assert (before.spread("BTC"), before.max_exposure, before.overdue_hours) == (Decimal("0.01"), 5, 48)
    assert (after.spread("BTC"), after.max_exposure, after.overdue_hours) == (0, 7, None)


# --- What they do to a sheet ------------------------------------------------------------------------


def test_the_spread_is_on_both_rate_types_and_shown_as_such(desk: Desk) -> None:
    """R-VIP-24: 8.4 % fixed and 8 % flexible, each plus 1.25 %; daily interest on the sum."""
    settle(desk, spread=Decimal("0.0125"))

    [fixed] = check(desk).lines
    [flexible] = check(desk, rate_type="flexible").lines

    assert (fixed.annual_rate, fixed.spread) == (Decimal("0.0965"), Decimal("0.0125"))
    assert (flexible.annual_rate, flexible.spread) == (Decimal("0.0925"), Decimal("0.0125"))
    assert fixed.daily_interest == Decimal("264.38356165")  # ceil(1,000,000 x 0.0965 / 365)
    assert check(desk).as_json()["lines"][0]["spread"] == "0.012500000000"


def test_a_discount_never_makes_a_rate_negative(desk: Desk) -> None:
    """R-VIP-24"""
    settle(desk, actor=BUILDER, spread=Decimal("-0.09"))

    assert (rate(desk), rate(desk, rate_type="flexible")) == (0, 0)
    assert check(desk).lines[0].daily_interest == 0


fraction = st.decimals(min_value=-1, max_value=10, places=12)


@given(published=st.decimals(min_value=0, max_value=10, places=12), spread=fraction)
def test_published_plus_spread_is_exact_or_nothing(published: Decimal, spread: Decimal) -> None:
    """R-VIP-24"""
    assert with_spread(published, spread) == max(published + spread, 0)


def test_agreed_terms_bind_and_replace_what_is_published(desk: Desk) -> None:
    """R-VIP-18, R-VIP-24: fixed 7 %, lines 60/70/80/90 and 24 hours, whatever card or client terms say now."""
    settle(desk, spread=Decimal("0.01"), overdue_hours=100)
    desks.card("USDT", "0.2", at=TEN.replace(hour=0))
    lines = Lines(*(Decimal(text) for text in ("0.60", "0.70", "0.80", "0.90", "0.01")))
    agreed = Agreed(rates={"USDT": Decimal("0.07")}, lines=lines, overdue_hours=24)

    sheet = check(desk, agreed=agreed, amount="500000")

    assert [line.annual_rate for line in sheet.lines] == [Decimal("0.07")]
    assert (sheet.overdue_hours, sheet.late_multiplier) == (24, 3)
    assert sheet.effect is not None
    assert (sheet.effect.lines, sheet.problems) == (lines, ())
    tight = check(desk, agreed=agreed, amount="900000.00000001")  # 60 % of 1,500,000 and one unit
    assert [problem.code for problem in tight.problems] == ["ltv_too_high"]
    published = check(desk)
    assert (published.lines[0].annual_rate, published.overdue_hours) == (Decimal("0.21"), 100)


def test_an_agreed_spread_rides_on_the_flexible_rate_in_force(desk: Desk) -> None:
    """R-VIP-23, R-VIP-24: 8 % today and 9 % tomorrow, each minus 1.5 % instead of the client's plus 1 %."""
    settle(desk, spread=Decimal("0.01"))
    tomorrow = TEN.replace(day=2, hour=0)
    build.flexible_rate("USDT", "0.09", at=tomorrow)
    agreed = Agreed(rates={}, spreads={"USDT": Decimal("-0.015")})

    [today] = check(desk, agreed=agreed, rate_type="flexible").lines
    desks.quote(tomorrow)
    [later] = check(desk, agreed=agreed, rate_type="flexible", at=tomorrow).lines

    assert (today.annual_rate, today.spread) == (Decimal("0.065"), Decimal("-0.015"))
    assert later.annual_rate == Decimal("0.075")
    assert check(desk, agreed=Agreed(rates={}), rate_type="flexible").lines[0].annual_rate == Decimal("0.09")


def test_a_negotiated_term_is_one_to_365_days(desk: Desk) -> None:
    """R-VIP-20"""
    agreed = Agreed(rates={"USDT": Decimal("0.07")})
    for days, codes in ((1, []), (45, []), (365, []), (0, ["bad_term"]), (366, ["bad_term"])):
        sheet = check(desk, agreed=agreed, term_days=days, negotiated=True)
        assert [problem.code for problem in sheet.problems] == codes
    sheet = check(desk, agreed=agreed, term_days=45)
    assert sheet.of("term_days") == [
        "A loan runs for 30 days, for 60 days, or is open. For another term send an enquiry."
    ]


def test_own_overdue_hours_are_on_the_sheet_and_in_its_fingerprint(desk: Desk) -> None:
    """R-VIP-44, R-ADM-02"""
    before = check(desk)
    settle(desk, overdue_hours=48)
    after = check(desk)

    assert (before.overdue_hours, after.overdue_hours) == (168, 48)
    assert before.fingerprint != after.fingerprint
    assert after.as_json()["overdue_hours"] == 48


# --- What runs already ------------------------------------------------------------------------------


def test_a_running_fixed_loan_does_not_move(desk: Desk) -> None:
    """R-VIP-22, R-ADM-02: neither a new card nor new terms of the client."""
    loan = desks.drawn(desk, "500000")
    desks.card("USDT", "0.2", at=TEN.replace(hour=0, day=2))
    settle(desk, spread=Decimal("0.05"), at=TEN + HOUR)

    steps = rates.steps_of([loan.debt])[loan.debt_id]

    assert [(step.starts_at, step.annual_rate) for step in steps] == [(TEN, Decimal("0.084"))]
    assert loan.annual_rate == Decimal("0.084")


def test_a_running_flexible_loan_moves_daily_for_every_level(desk: Desk) -> None:
    """R-VIP-23, R-VIP-25: a renewal keeps its type too."""
    loan = desks.drawn(desk, "500000", rate_type="flexible")
    second = TEN.replace(hour=0, day=2)
    build.flexible_rate("USDT", "0.09", at=second)

    steps = rates.steps_of([loan.debt])[loan.debt_id]
    assert [(step.starts_at, step.annual_rate) for step in steps] == [
        (TEN, Decimal("0.08")),
        (second, Decimal("0.09")),
    ]
    at = TEN + timedelta(days=25)
    desks.quote(at)
    renewed = renewal.renew(loan_id=loan.pk, term_days=30, actor=desk.borrower, at=at)
    assert (renewed.rate_type, renewed.debt.rates.exclude(fixed_rate=None).count()) == ("flexible", 0)


def test_a_renewed_fixed_loan_stays_fixed(desk: Desk) -> None:
    """R-VIP-25"""
    loan = desks.drawn(desk, "500000")
    at = TEN + timedelta(days=25)
    desks.quote(at)

    renewed = renewal.renew(loan_id=loan.pk, term_days=60, actor=desk.borrower, at=at)

    assert (renewed.rate_type, renewed.debt.rates.filter(fixed_rate=None).count()) == ("fixed", 0)


def test_the_quote_for_a_client_has_the_spread_in_it(desk: Desk) -> None:
    """R-VIP-24"""
    settle(desk, spread=Decimal("0.01"))
    asked = {"product": "vip", "asset": "USDT", "rate_type": "fixed", "at": TEN}

    quote = ratecards.quote_for(customer=desk.owner, term_days=30, **asked)

    assert (quote.annual_rate, quote.spread) == (Decimal("0.094"), Decimal("0.01"))
    assert ratecards.rate_for(vip_level=1, term_days=30, **asked) == Decimal("0.084")
    with pytest.raises(ratecards.NoRate):
        ratecards.quote_for(customer=desk.owner, term_days=45, **asked)
