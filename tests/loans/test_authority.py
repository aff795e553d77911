"""How far a manager may go alone, by amount, LTV and rate, and who releases what goes further. R-ADM-10"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from hypothesis import given
from hypothesis import strategies as st

from accounts import approvals
from accounts.approvals import BeyondAuthority
from accounts.commands import Actor, NeedsApproval, NotYourRole
from accounts.models import Approval, User
from loans import authority, clients
from loans.authority import BadAuthority, Stakes, short_of
from loans.models import Application, Authority, ClientTerms, Loan
from loans.vip import stakes
from loans.vip.sheets import CoinRate
from loans.vip.terms import Wish
from risk.valuation import Worth
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk, everything
from tests.loans.talks import asked, last, move, wanted

D = Decimal
DAY = timedelta(days=1)
SOON = timedelta(seconds=30)


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def give(user: User, **limits: Any) -> Authority:
    """Up to 600,000 USD, 50 % LTV and 0.5 % discount; or only what is said."""
    told = limits or {"max_amount_usd": "600000", "max_ltv": "0.5", "max_discount": "0.005"}
    figures = {name: D(value) if isinstance(value, str) else value for name, value in told.items()}
    return authority.set_authority(
        manager_id=user.pk, reason="As agreed", actor=BUILDER, **({"at": TEN - DAY} | figures)
    )


def approval_of(application: Application) -> dict[str, Any]:
    sheet = Application.objects.select_related("accepted").get(pk=application.pk).accepted
    assert sheet is not None
    return {"application_id": application.pk, "sheet_sha256": sheet.sha256, "coins": None, "note": ""}


def propose(desk: Desk, command: str, arguments: dict[str, Any], *, at: Any = TEN) -> Approval | None:
    return approvals.run_or_propose(
        command=command,
        arguments=arguments,
        title="A decision",
        preview={},
        reason="Good client",
        actor=desk.decider,
        at=at,
        customer=desk.owner,
    )


def release(proposal: Approval | None, user: User, *, at: Any = TEN) -> Approval:
    assert proposal is not None
    return approvals.release(approval_id=proposal.pk, actor=Actor.user(user), at=at)


# --- The rule -----------------------------------------------------------------------------------------


def row(**limits: str) -> Authority:
    manager = User(name="Maria Lopez")
    return Authority(manager=manager, **{name: D(value) for name, value in limits.items()})


@pytest.mark.parametrize(
    ("limits", "found", "words"),
    [
        ({"max_amount_usd": "100"}, Stakes(amount_usd=D("100")), ""),
        (
            {"max_amount_usd": "100"},
            Stakes(amount_usd=D("100.01")),
            "it is worth 100.01 USD; Maria Lopez may decide",
        ),
        (
            {"max_amount_usd": "100"},
            Stakes(amount_usd=None),
            "it cannot be valued now; Maria Lopez may decide",
        ),
        ({"max_ltv": "0.5"}, Stakes(after=Worth(D(50), D(100), D(100))), ""),
        (
            {"max_ltv": "0.5"},
            Stakes(after=Worth(D("50.00000001"), D(100), D(100))),
            "LTV would be 50.00 %; Maria",
        ),
        ({"max_ltv": "0.5"}, Stakes(after=Worth(D(1), D(0), D(0))), "LTV would be unknown"),
        ({"max_ltv": "0.5"}, Stakes(after=None), "LTV would be unknown"),
        ({"max_discount": "0.005"}, Stakes(discount=D("0.005")), ""),
        (
            {"max_discount": "0.005"},
            Stakes(discount=D("0.0051")),
            "is 0.51 % a year; Maria Lopez may decide up to 0.5 %",
        ),
        ({"max_discount": "0.005"}, Stakes(discount=None), "cannot be told"),
        ({}, Stakes(None, None, None), ""),
    ],
)
def test_each_limit_is_the_last_that_one_may_decide(
    limits: dict[str, str], found: Stakes, words: str
) -> None:
    """R-ADM-10: at the limit alone, above it not; what cannot be told is too much"""
    told = " ".join(short_of(row(**limits), found))
    assert words in told
    assert bool(told) == bool(words)


money = st.decimals(0, 10**9, places=2)


@given(most=money, amount=money, debt=money, collateral=money, line=st.decimals(0, "0.99", places=2))
def test_who_may_do_more_may_do_less(
    most: Decimal, amount: Decimal, debt: Decimal, collateral: Decimal, line: Decimal
) -> None:
    """R-ADM-10: a smaller decision is never beyond an authority that covers a larger one"""
    given = row(max_amount_usd=str(most), max_ltv=str(line))
    larger = Stakes(amount_usd=amount, after=Worth(debt, collateral, collateral))
    smaller = Stakes(amount_usd=amount / 2, after=Worth(debt / 2, collateral, collateral))
    assert len(short_of(given, smaller)) <= len(short_of(given, larger))
    assert short_of(row(max_amount_usd=str(most)), larger) == [] or amount > most
    assert short_of(None, larger) == []


# --- Approvals ----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_without_a_row_the_desks_own_lines_are_all(desk: Desk) -> None:
    """R-ADM-10, R-VIP-12"""
    desks.drawn(desk)
    assert Loan.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("limits", "amount"),
    [({"max_amount_usd": "999999.99"}, "1000000"), ({"max_ltv": "0.6666"}, "1000000")],
)
def test_an_approval_beyond_it_waits_for_somebody_with_more(
    desk: Desk, limits: dict[str, str], amount: str
) -> None:
    """R-ADM-10: 1,000,000 USDT against 25 BTC is 66.67 %; released as its maker, paid once"""
    give(desk.manager, **limits)
    application = desks.submitted(desk, amount)
    before = everything()
    with pytest.raises(NeedsApproval):
        desks.approved(desk, application)
    proposal = propose(desk, "vip.approve", approval_of(application))
    assert everything() == before

    small = build.user("vip_manager", name="Sam Small")
    give(small, **limits)
    with pytest.raises(
        BeyondAuthority, match=r"Sam Small may decide up to .* another manager whose authority covers"
    ):
        release(proposal, small)
    assert everything() == before
    release(proposal, build.user("vip_manager"))
    assert build.balance(desk.master, "USDT") == 1000000
    application.refresh_from_db()
    assert application.decided_by == desk.manager


@pytest.mark.django_db
@pytest.mark.parametrize("role", ["risk_officer", "admin"])
def test_a_risk_officer_or_administrator_releases_anything(desk: Desk, role: str) -> None:
    """R-ADM-10"""
    give(desk.manager)
    proposal = propose(desk, "vip.approve", approval_of(desks.submitted(desk)))
    release(proposal, build.user(role))
    assert Loan.objects.count() == 1


@pytest.mark.django_db
def test_within_it_one_person_is_enough(desk: Desk) -> None:
    """R-ADM-10"""
    give(desk.manager, max_amount_usd="1000000", max_ltv="0.67", max_discount="0")
    assert propose(desk, "vip.approve", approval_of(desks.submitted(desk))) is None
    assert Loan.objects.count() == 1


@pytest.mark.django_db
def test_many_small_ones_are_a_large_one(desk: Desk) -> None:
    """R-ADM-10, R-VIP-12: with what the client was lent within 24 h, and no longer"""
    give(desk.manager, max_amount_usd="600000")
    desks.drawn(desk, "500000")
    again = desks.submitted(desk, "100001")
    with pytest.raises(NeedsApproval):
        desks.approved(desk, again)
    desks.quote(TEN + DAY)
    desks.approved(desk, again, at=TEN + DAY)
    assert Loan.objects.count() == 2


@pytest.mark.django_db
def test_no_policy_on_four_eyes_relaxes_it(desk: Desk) -> None:
    """R-ADM-10, R-ADM-03: the policy speaks of the desk's own lines"""
    approvals.publish_policy(governed="vip.approve", required=False, actor=BUILDER, at=TEN - DAY)
    give(desk.manager)
    with pytest.raises(NeedsApproval):
        desks.approved(desk, desks.submitted(desk))
    assert not Loan.objects.exists()


@pytest.mark.django_db
def test_some_of_the_coins_are_judged_as_what_they_are(desk: Desk) -> None:
    """R-ADM-10, R-VIP-06"""
    for symbol in ("USDC",):
        build.asset(symbol)
        build.ratios(symbol)
        build.fund_pool(symbol)
        desks.loan_limit(symbol)
        desks.card(symbol, "0.08")
    desks.quote(TEN, USDC="1")
    give(desk.manager, max_amount_usd="600000", max_ltv="0.4")
    application = desks.submitted(desk, wishes=(Wish("USDC", D(100000)), Wish("USDT", D(600000))))
    arguments = approval_of(application)
    found = stakes.of_approval(arguments | {"at": TEN})
    assert (found.amount_usd, found.discount) == (700000, 0)
    assert found.after is not None
    assert found.after.debt == 700000
    told = {"coins": ("USDT",), "note": "USDC later."}
    assert propose(desk, "vip.approve", arguments | told) is None
    assert [loan.asset_id for loan in Loan.objects.all()] == ["USDT"]


# --- Rates --------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_counter_offer_below_the_published_rate_waits(desk: Desk) -> None:
    """R-ADM-10: 8.4 % is published; 7.9 % is within half a point, 7.89 % is not"""
    give(desk.manager, max_discount="0.005")
    application = asked(desk)
    with pytest.raises(NeedsApproval):
        move("counter_offer", application, desk, wanted=wanted("0.0789"))
    assert last(application).version == 2
    move("counter_offer", application, desk, wanted=wanted("0.079"))
    assert last(application).version == 3


@pytest.mark.django_db
def test_accepting_what_the_borrower_wants_waits_too(desk: Desk) -> None:
    """R-ADM-10: and so does paying it out"""
    give(desk.manager, max_discount="0.001")
    application = asked(desk)  # 8 % instead of 8.4 %
    with pytest.raises(NeedsApproval):
        move("accept_counter", application, desk)
    risk = build.user("risk_officer")
    told = {"application_id": application.pk, "version": last(application).version}
    release(propose(desk, "vip.accept_counter", told), risk)
    application.refresh_from_db()
    assert application.status == "submitted"
    with pytest.raises(NeedsApproval):
        desks.approved(desk, application)
    release(propose(desk, "vip.approve", approval_of(application)), risk)
    assert Loan.objects.get().annual_rate == D("0.08")


@pytest.mark.django_db
def test_the_discount_is_from_what_was_published_when_the_terms_were_made(desk: Desk) -> None:
    """R-ADM-10, R-VIP-18: a rate that rose since is nobody's gift; the client's own spread is"""
    give(desk.manager, max_discount="0.001")
    application = desks.submitted(desk)
    desks.card("USDT", "0.2", at=TEN - timedelta(hours=10) + DAY)
    later = TEN + DAY + SOON
    desks.quote(later)
    desks.approved(desk, application, at=later)
    clients.set_client_terms(
        customer_id=desk.owner.pk, spread=D("-0.0011"), reason="Old friend", actor=BUILDER, at=later
    )
    with pytest.raises(NeedsApproval):
        desks.approved(desk, desks.submitted(desk, "60000", at=later), at=later)
    assert Loan.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rate_type", "term_days", "rate", "found"),
    [
        ("fixed", 30, "0.08", "0.004"),
        ("fixed", 60, "0.08", "0.01"),
        ("fixed", 45, "0.08", "0.01"),  # no card: the dearest one published
        ("fixed", 30, "0.09", "0"),
        ("flexible", None, "-0.01", "0.01"),
        ("flexible", 30, "0.01", "0"),
    ],
)
def test_a_discount_by_kind_of_rate(
    desk: Desk, rate_type: str, term_days: int | None, rate: str, found: str
) -> None:
    """R-ADM-10"""
    application = desks.submitted(desk)
    application.rate_type = rate_type
    rates = {"USDT": D(rate)}
    assert stakes.discount_of(application, rates, term_days=term_days, at=TEN) == D(found)
    build.asset("ETH")
    unknown = stakes.discount_of(application, {"ETH": D(0)}, term_days=term_days, at=TEN)
    assert unknown == (None if rate_type == "fixed" else 0)


@pytest.mark.django_db
def test_a_clients_spread_beyond_the_largest_discount_is_released_by_somebody_with_more(desk: Desk) -> None:
    """R-ADM-10, R-ADM-02"""
    give(desk.manager, max_discount="0.01")
    # The desk's own rule asks for a second person for any discount; a policy may lift that, not this.
    approvals.publish_policy(governed=clients.COMMAND, required=False, actor=BUILDER, at=TEN - DAY)
    told = {"customer_id": desk.owner.pk, "spread": D("-0.01"), "reason": "Old friend"}
    clients.set_client_terms(**told, actor=desk.decider, at=TEN)
    told |= {"spread": D("-0.0101")}
    with pytest.raises(NeedsApproval):
        clients.set_client_terms(**told, actor=desk.decider, at=TEN + SOON)
    peer = build.user("vip_manager")
    give(peer, max_discount="0.01")
    del told["reason"]
    proposal = propose(desk, clients.COMMAND, told, at=TEN + SOON)
    with pytest.raises(BeyondAuthority, match=r"1\.01 % a year"):
        release(proposal, peer, at=TEN + SOON)
    assert ClientTerms.objects.count() == 1
    release(proposal, build.user("risk_officer"), at=TEN + SOON)
    assert ClientTerms.objects.count() == 2


# --- Setting it ---------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_row_that_started_last_counts_until_it_ends(desk: Desk) -> None:
    """R-ADM-10: then the one before counts again; a limit for a while never ends in none at all"""
    first = give(desk.manager, max_amount_usd="1")
    assert authority.authority_of(desk.manager, at=TEN - DAY - SOON) is None
    assert authority.authority_of(desk.manager, at=TEN - DAY) == first
    second = give(desk.manager, max_ltv="0.5", at=TEN, ends_at=TEN + DAY)
    assert authority.authority_of(desk.manager, at=TEN) == second
    assert authority.in_force(at=TEN) == [(desk.manager, second)]
    assert authority.authority_of(desk.manager, at=TEN + DAY) == first
    assert authority.in_force(at=TEN + DAY) == [(desk.manager, first)]
    assert list(authority.history_of(desk.manager)) == [second, first]
    assert [authority.in_words(one) for one in (first, second)] == ["up to 1.00 USD", "LTV up to 50 %"]


@pytest.mark.django_db
def test_two_of_the_risk_side_set_it(desk: Desk) -> None:
    """R-ADM-10, R-ADM-03: a manager does not set anybody's, least of all their own"""
    told = {"manager_id": desk.manager.pk, "max_ltv": D("0.5")}
    maker, checker = build.user("risk_officer"), build.user("admin")
    with pytest.raises(NeedsApproval):
        authority.set_authority(**told, reason="x", actor=Actor.user(maker), at=TEN)
    for role in sorted(set(User.Role.values) - {"risk_officer", "admin"}):
        with pytest.raises(NotYourRole):
            authority.set_authority(**told, reason="x", actor=Actor.user(build.user(role)), at=TEN)
    proposal = approvals.propose(
        command=authority.COMMAND,
        arguments=told,
        title="Authority",
        preview={},
        reason="New colleague",
        actor=Actor.user(maker),
        at=TEN,
    )
    assert not Authority.objects.exists()
    with pytest.raises(NotYourRole):
        release(proposal, desk.manager)
    release(proposal, checker)
    one = Authority.objects.get()
    assert (one.manager, one.max_ltv, one.set_by) == (desk.manager, D("0.5"), maker)
    with pytest.raises(DatabaseError), transaction.atomic():
        Authority.objects.update(max_ltv=None)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"max_amount_usd": D("-1")}, "in USD, 0 or more"),
        ({"max_amount_usd": D("NaN")}, "in USD, 0 or more"),
        ({"max_amount_usd": D(10) ** 18}, "in USD, 0 or more"),
        ({"max_ltv": D("1")}, "highest LTV is a fraction"),
        ({"max_ltv": D("-0.1")}, "highest LTV is a fraction"),
        ({"max_discount": D("NaN")}, "largest discount is a fraction"),
        ({"max_discount": D("0.0000000000001")}, "12 decimals"),
        ({"effective_at": TEN - SOON}, "backdated"),
        ({"ends_at": TEN}, "ends after it starts"),
        ({"reason": "  "}, "Say why"),
        ({"manager_id": 0}, "active VIP manager"),
    ],
)
def test_what_is_no_authority_is_refused(desk: Desk, told: dict[str, Any], words: str) -> None:
    """R-ADM-10: and nothing is set"""
    base = {"manager_id": desk.manager.pk, "reason": "x", "actor": BUILDER, "at": TEN}
    with pytest.raises(BadAuthority, match=words):
        authority.set_authority(**(base | told))
    assert not Authority.objects.exists()


@pytest.mark.django_db
def test_two_rows_of_one_instant_and_people_who_are_no_managers_are_refused(desk: Desk) -> None:
    """R-ADM-10"""
    give(desk.manager)
    with pytest.raises(BadAuthority, match="from that very instant"):
        give(desk.manager)
    with pytest.raises(BadAuthority, match="active VIP manager"):
        give(build.user("finance"))
    assert Authority.objects.count() == 1


InThreads = Callable[[list[Callable[[], Any]]], list[Any]]


def test_two_approvals_at_once_do_not_pass_it_together(committed_db: object, in_threads: InThreads) -> None:
    """R-ADM-10, TRUST I-23: the second counts what the first has lent"""
    desk = desks.set_up()
    give(desk.manager, max_amount_usd="600000")
    rows = [desks.submitted(desk, "500000"), desks.submitted(desk, "500001")]

    results = in_threads([lambda row=row: desks.approved(desk, row) for row in rows])  # type: ignore[misc]

    assert sum(isinstance(result, Application) for result in results) == 1
    assert sum(isinstance(result, NeedsApproval) for result in results) == 1
    assert Loan.objects.count() == 1


@pytest.mark.django_db
def test_a_counter_offer_is_judged_on_every_coin(desk: Desk) -> None:
    """R-ADM-10: the coin with the largest discount decides"""
    build.asset("USDC")
    desks.card("USDC", "0.08")
    application = desks.submitted(desk)
    rates = {one.asset: one.rate for one in (CoinRate("USDT", D("0.084")), CoinRate("USDC", D("0.07")))}
    assert stakes.discount_of(application, rates, term_days=30, at=TEN) == D("0.01")
