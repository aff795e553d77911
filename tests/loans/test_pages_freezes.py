"""The desk's switches and the removal of an account without the borrower: R-ADM-03, R-ADM-04, R-VIP-55."""

import re
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from django.urls import reverse

from accounts import approvals, people
from accounts.commands import Actor, NeedsApproval
from accounts.models import Account, Approval
from loans.models import Loan
from risk import freezes, groups, pledges
from risk.models import Freeze, Member, RiskEvent
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk, visit
from tests.loans.test_pages_borrower import hidden, text_of

pytestmark = pytest.mark.django_db

FREEZES = "/desk/freezes/"
BOTH = "LTVnow55.55%LTVafterwards66.66%Below72%nowyesAtmost72%afterwardsyes"


def squeezed(words: str) -> str:
    return re.sub(r"\s+", "", words)


@pytest.fixture
def here() -> Iterator[desk.Desk]:
    with visit.at(TEN):
        yield desk.set_up()


@pytest.fixture
def loan(here: desk.Desk) -> Loan:
    """1,000,000 USDT against 25 BTC of the sub and 5 of a second account: 1,800,000, LTV 55.5 %."""
    second = build.account(here.owner, label="Second")
    build.deposit(second, "BTC", "5", at=LONG_AGO)
    return desk.drawn(here, account_uids=(here.sub.pk, second.pk))


def second_of(loan: Loan) -> Account:
    return Account.objects.get(customer=loan.customer, label="Second")


def asked(**changes: object) -> dict[str, object]:
    return {"key": str(uuid4()), "what": "withdraw", "hours": "24", "reason": "Keys lost."} | changes


# --- Freezes --------------------------------------------------------------------------------------------


def test_the_desk_is_for_the_house(here: desk.Desk, loan: Loan) -> None:
    """R-ADM-01: a borrower does not know that it exists."""
    for url in (FREEZES, reverse("loans:desk_accounts", args=[loan.group_id])):
        answers = [
            visit.client_of(user).get(url).status_code
            for user in (here.applicant, here.manager, build.user("risk_officer"), build.user("auditor"))
        ]
        assert answers == [404, 200, 200, 200]
    other = visit.client_of(build.user("vip_manager"))
    assert other.get(reverse("loans:desk_accounts", args=[loan.group_id])).status_code == 404


def test_an_officer_freezes_at_once_and_the_borrower_reads_why(here: desk.Desk, loan: Loan) -> None:
    """R-ADM-04: with reason, scope and end; the pages say it and the gate does it."""
    officer, group = visit.client_of(build.user("risk_officer")), reverse("risk:group", args=[loan.group_id])
    open_group = text_of(visit.client_of(here.applicant).get(group))
    assert officer.post(FREEZES, asked(group_id=loan.group_id)).status_code == 302
    row = Freeze.objects.get()
    assert (row.what, row.group, row.ends_at) == ("withdraw", loan.group, TEN + timedelta(hours=24))
    assert "Keys lost." in text_of(officer.get(FREEZES))

    borrower = visit.client_of(here.applicant)
    assert "6.85185185BTC" in squeezed(open_group)
    words = text_of(borrower.get(group))
    assert "6.85185185BTC" not in squeezed(words)
    assert f"Frozen, the group {loan.group}: no withdrawals. Keys lost. It ends by itself" in words
    told = borrower.post(
        reverse("risk:move", args=["withdraw"]),
        {
            "key": str(uuid4()),
            "account": here.sub.pk,
            "wallet": "spot",
            "asset": "BTC",
            "amount": "1",
            "address": "bc1q",
        },
    )
    assert told.status_code == 422
    assert "until 2 January 2026 10:00 UTC, when it ends by itself. The reason: Keys lost." in text_of(told)


@pytest.mark.parametrize(
    ("role", "changes", "words"),
    [
        ("risk_officer", {"reason": ""}, "This field is required"),
        ("risk_officer", {"what": "collateral"}, "can be said of a coin only"),
        ("risk_officer", {"group_id": "999999"}, "no such group"),
        ("finance", {}, "Only a admin or risk officer or vip manager may"),
        ("manager", {}, "ask a risk officer"),
    ],
)
def test_what_cannot_be_frozen_is_said_on_the_form(
    role: str, changes: dict[str, object], words: str, here: desk.Desk
) -> None:
    """R-ADM-04"""
    user = here.manager if role == "manager" else build.user(role)
    answer = visit.client_of(user).post(FREEZES, asked(**changes))
    assert answer.status_code == 422
    assert not Freeze.objects.exists()
    if role != "finance":  # who may not freeze is shown no form
        assert words.lower() in text_of(answer).lower()


def test_a_manager_sees_and_freezes_own_clients(here: desk.Desk, loan: Loan) -> None:
    """R-ADM-01, R-ADM-04"""
    stranger = build.master(build.customer())
    ends = TEN + timedelta(hours=1)
    freezes.place(what="full", reason="Theirs", ends_at=ends, account_uid=stranger.pk, actor=BUILDER, at=TEN)
    freezes.place(what="trade", reason="Everyone's", ends_at=ends, actor=BUILDER, at=TEN)
    client = visit.client_of(here.manager)
    assert client.post(FREEZES, asked(account_uid=stranger.pk)).status_code == 422
    assert client.post(FREEZES, asked(account_uid=here.sub.pk)).status_code == 302
    words = text_of(client.get(FREEZES))
    assert ("Keys lost." in words, "Everyone's" in words or "Everyone&#x27;s" in words) == (True, True)
    assert "Theirs" not in words


def test_lifting_is_proposed_by_one_and_released_by_another(here: desk.Desk) -> None:
    """R-ADM-03: unfreeze."""
    first, other = build.user("risk_officer"), build.user("admin")
    row = freezes.place(what="full", reason="x", ends_at=TEN + timedelta(hours=9), actor=BUILDER, at=TEN)
    client, url = visit.client_of(first), reverse("loans:desk_freeze_lift", args=[row.pk])
    assert client.post(url, {"reason": "", "key": str(uuid4())}).status_code == 422
    assert client.post(url, {"reason": "Over", "key": str(uuid4())}).status_code == 302
    row.refresh_from_db()
    assert row.lifted_at is None
    waiting = Approval.objects.get()
    assert (waiting.command, waiting.payload) == ("risk.unfreeze", {"freeze_id": row.pk})
    with pytest.raises(approvals.OwnProposal):
        approvals.release(approval_id=waiting.pk, actor=Actor.user(first), at=TEN)
    approvals.release(approval_id=waiting.pk, actor=Actor.user(other), at=TEN)
    row.refresh_from_db()
    assert (row.lifted_at, row.lifted_by) == (TEN, f"user:{first.pk}")
    assert f"lifted by {first.name}" in text_of(client.get(FREEZES))


# --- The borrower's own accounts ----------------------------------------------------------------------


def test_adding_and_removing_show_both_ltvs_before_the_button(here: desk.Desk, loan: Loan) -> None:
    """R-VIP-55: 1,000,000 of 1,800,000 is 55.55 %; without 5 BTC 66.66 %; and with 5 more 47.61 %."""
    third = build.account(here.owner, label="Third")
    build.deposit(third, "BTC", "5", at=LONG_AGO)
    client, url = visit.client_of(here.applicant), reverse("loans:collateral", args=[loan.group_id])
    told = text_of(
        page := client.post(url, {"what": "remove", "key": str(uuid4()), "account": second_of(loan).pk})
    )
    assert BOTH in squeezed(told)
    told = text_of(client.post(url, {"what": "add", "key": str(uuid4()), "account": third.pk}))
    assert "LTVnow55.55%LTVafterwards47.61%" in squeezed(told)
    refused = client.post(url, {"what": "remove", "key": str(uuid4()), "account": here.sub.pk})
    assert refused.status_code == 422
    assert "Atmost72%afterwardsno" in squeezed(text_of(refused))
    form = {
        "what": "remove",
        "key": str(uuid4()),
        "account": second_of(loan).pk,
        "seen": hidden(page, "seen"),
    }
    assert client.post(url, form).status_code == 302
    assert Member.objects.get(account=second_of(loan)).released_at == TEN


def test_an_account_in_use_elsewhere_is_named_and_refused_in_words(here: desk.Desk, loan: Loan) -> None:
    """R-GEN-13, R-GEN-16: one live pledge per account, whatever the product."""
    receiver = build.account(here.owner, label="Other receiver")
    used, managed = build.account(here.owner, label="Used"), build.account(here.owner, kind="sub_managed")
    other = build.group(receiver, [used])
    client, url = visit.client_of(here.applicant), reverse("loans:collateral", args=[loan.group_id])
    words = text_of(client.get(url))
    assert f"{used}already in use: it secures Other receiver ({other})" in words
    assert f"{managed}is a managed sub-account" in words
    answer = client.post(url, {"what": "add", "key": str(uuid4()), "account": used.pk})
    assert answer.status_code == 422
    assert f"Collateral account already in use: {used} already secures {other}." in text_of(answer)
    assert Member.objects.get(account=used).group == other


# --- Without the borrower -----------------------------------------------------------------------------


def test_a_forced_removal_takes_two_persons_and_is_told(here: desk.Desk, loan: Loan) -> None:
    """R-ADM-03, R-VIP-55: proposed by the manager after both conditions were shown, released by a risk officer."""
    client, url = visit.client_of(here.manager), reverse("loans:desk_accounts", args=[loan.group_id])
    form = {"key": str(uuid4()), "account": second_of(loan).pk, "reason": "Under dispute."}
    shown = client.post(url, form)
    assert BOTH in squeezed(text_of(shown))
    assert not Approval.objects.exists()
    assert client.post(url, form | {"seen": hidden(shown, "seen")}).status_code == 302
    assert Member.objects.get(account=second_of(loan)).released_at is None

    officer = Actor.user(build.user("risk_officer"))
    approvals.release(approval_id=Approval.objects.get().pk, actor=officer, at=TEN)
    assert Member.objects.get(account=second_of(loan)).released_at == TEN
    event = RiskEvent.objects.get(kind="member_removed")
    assert (event.facts["forced"], event.facts["accounts"]) == (True, [second_of(loan).pk])


def forced(loan: Loan, actor: Actor = BUILDER) -> Member:
    return pledges.force_remove(
        group_id=loan.group_id, uid=second_of(loan).pk, actor=Actor(actor.label), at=TEN
    )


JOB = Actor.job("test")


def test_the_desk_goes_past_initial_but_not_to_margin_call(here: desk.Desk, loan: Loan) -> None:
    """R-ADM-03: 25 BTC at 54,000 leave 74.07 %, which the borrower may not; at 51,900 77.07 %, nobody may."""
    desk.quote(TEN, BTC="51900")
    with pytest.raises(
        pledges.WouldBeCalled, match="77.07 %; even the desk keeps it below the margin call line"
    ):
        forced(loan, JOB)
    assert Member.objects.get(account=second_of(loan)).released_at is None
    desk.quote(TEN, BTC="54000")
    uid = second_of(loan).pk
    shown = pledges.preview_force(group=loan.group, uid=uid, at=TEN)
    assert (shown.allowed, shown.is_safe_before, shown.is_safe_after) == (True, True, False)
    with pytest.raises(groups.NotPermitted):
        groups.remove_account(group_id=loan.group_id, uid=uid, actor=here.borrower, at=TEN)
    assert forced(loan, JOB).released_at == TEN


def test_a_forced_removal_is_not_for_one_person_nor_another_managers_client(
    here: desk.Desk, loan: Loan
) -> None:
    """R-ADM-03, R-ADM-01"""
    with pytest.raises(NeedsApproval):
        forced(loan, Actor.user(build.user("risk_officer")))
    with pytest.raises(people.NotYourClient):
        approvals.propose(
            command="groups.force_remove",
            arguments={"group_id": loan.group_id, "uid": second_of(loan).pk},
            title="x",
            preview={},
            reason="x",
            actor=Actor.user(build.user("vip_manager")),
            at=TEN,
        )
    assert Member.objects.get(account=second_of(loan)).released_at is None
    assert not Approval.objects.exists()
