"""Residual debts, the insurance fund and notices on the desk: who sees them, who may act, and what an action does."""

import html
import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts import approvals, books, notices
from accounts.commands import Actor, acting
from accounts.models import Approval, Notice, User
from risk.models import PaymentPlan
from tests import build
from tests.build import NOON
from tests.loans import visit
from tests.risk.leftovers import LEFT, Leftover, desk

pytestmark = pytest.mark.django_db


@pytest.fixture
def left() -> Any:
    with visit.at(NOON):
        yield Leftover(spot="1000")


def text_of(response: Any) -> str:
    """The words of a page, without its markup."""
    words = html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode()))
    return " ".join(words.replace("\u00a0", " ").split())


def act(user: User, left: Leftover, action: str, **asked: Any) -> Any:
    path = reverse("loans:residual_act", args=[left.debt.pk, action])
    return visit.client_of(user).post(path, {"key": str(uuid4())} | asked)


def test_the_house_reads_the_story_of_a_residual_debt(left: Leftover) -> None:
    """R-GEN-78: back to the liquidation"""
    for role in ("risk_officer", "finance", "auditor", "admin"):
        page = visit.client_of(build.user(role)).get(reverse("loans:residual", args=[left.debt.pk]))
        text = text_of(page)
        for words in (
            "Still owed 6,904.11 USDT",
            "In Spot of",
            "1,000.00 USDT",
            "Insurance fund",
            "50,000.00 USDT",
        ):
            assert words in text, words
        assert "Borrow +1,006,904.11 USDT" in text
        assert "Liquidation −1,000,000.00 USDT" in text
        assert b"/liquidations/" in page.content
        assert ("Write off" in text) == (role in {"finance", "admin"})
    mine = visit.client_of(left.manager)
    assert "6,904.11 USDT" in text_of(mine.get(reverse("loans:residuals")))
    assert "Set off" in text_of(mine.get(reverse("loans:residual", args=[left.debt.pk])))


def test_to_others_it_does_not_exist(left: Leftover) -> None:
    """TRUST: another manager's client, and the desk itself for a borrower"""
    member = build.user()
    with acting(build.BUILDER):
        left.owner.memberships.create(user=member, since=NOON)
    for stranger in (build.user("vip_manager"), member, build.user()):
        client = visit.client_of(stranger)
        assert client.get(reverse("loans:residual", args=[left.debt.pk])).status_code == 404
        assert act(stranger, left, "set-off").status_code == 404
    other = visit.client_of(build.user("vip_manager"))
    assert "No liquidation has left anything owing." in text_of(other.get(reverse("loans:residuals")))
    assert other.get(reverse("loans:insurance")).status_code == 404
    assert Client().get(reverse("loans:residuals")).status_code == 302
    assert left.owed == LEFT


@pytest.mark.parametrize("role", ["risk_officer", "auditor"])
@pytest.mark.parametrize("action", ["set-off", "plan", "end-plan", "settle", "write-off"])
def test_who_reads_may_not_act(left: Leftover, role: str, action: str) -> None:
    """R-GEN-78"""
    assert act(build.user(role), left, action, reason="x", amount="1").status_code == 403
    assert (left.owed, left.spot) == (LEFT, 1000)


def test_the_manager_sets_off_but_bears_nothing(left: Leftover) -> None:
    """R-GEN-78"""
    assert act(left.manager, left, "write-off", reason="x").status_code == 403
    assert act(left.manager, left, "set-off").status_code == 302
    assert (left.owed, left.spot) == (LEFT - 1000, 0)
    again = act(left.manager, left, "set-off")
    assert again.status_code == 422
    assert "holds no USDT; nothing was taken" in text_of(again)


def test_pressing_twice_sets_off_once(left: Leftover) -> None:
    """R-GEN-06"""
    key = str(uuid4())
    for _ in range(2):
        assert act(left.manager, left, "set-off", key=key).status_code == 302
    assert left.debt.entries.filter(kind="repayment").count() == 1


def test_a_plan_of_equal_payments_is_agreed_and_ended(left: Leftover) -> None:
    """R-GEN-78: the last payment brings the odd unit"""
    asked = {"count": "3", "first": "2026-02-01", "every": "30"}
    assert act(left.manager, left, "plan", **asked).status_code == 302
    plan = PaymentPlan.objects.get()
    rows = [
        (f"{row.due_at:%Y-%m-%d %H:%M}", f"{row.amount:f}") for row in plan.instalments.order_by("due_at")
    ]
    assert rows == [
        ("2026-02-01 00:00", "2301.37000000"),
        ("2026-03-03 00:00", "2301.37000000"),
        ("2026-04-02 00:00", "2301.37000000"),
    ]
    page = visit.client_of(left.manager).get(reverse("loans:residual", args=[left.debt.pk]))
    assert "not due yet" in text_of(page)
    assert act(left.manager, left, "end-plan").status_code == 422
    assert act(left.manager, left, "end-plan", reason="New terms").status_code == 302
    plan.refresh_from_db()
    assert plan.ended_at == NOON


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"count": "3", "first": "2025-12-01", "every": "30"}, "lie ahead and rise"),
        ({"count": "61", "first": "2026-02-01", "every": "30"}, "less than or equal to 60"),
        ({"count": "1", "first": "soon", "every": "30"}, "Enter a valid date"),
    ],
)
def test_a_plan_that_cannot_be_is_said_at_the_form(left: Leftover, asked: dict[str, str], words: str) -> None:
    """R-GEN-78"""
    response = act(left.manager, left, "plan", **asked)
    assert response.status_code == 422
    assert words in text_of(response)
    assert not PaymentPlan.objects.exists()


def test_finance_proposes_and_another_person_releases(left: Leftover) -> None:
    """R-GEN-78, R-ADM-03"""
    before, maker = desk(), build.user("finance")
    assert act(maker, left, "settle", amount="904.11", reason="Policy 3").status_code == 302
    assert act(maker, left, "write-off", reason="Bankrupt").status_code == 302
    assert (desk(), left.owed) == (before, LEFT)
    settle, write_off = Approval.objects.order_by("pk")
    assert (settle.title, settle.customer) == (
        f"Settle 904.11\u00a0USDT of {left.debt} from the insurance fund",
        left.owner,
    )
    assert settle.preview["Owed after"] == "6,000.00\u00a0USDT"
    page = text_of(visit.client_of(maker).get(reverse("loans:residual", args=[left.debt.pk])))
    assert f"{settle} waits." in page
    assert f"Settle 904.11 USDT of {left.debt} from the insurance fund, proposed by {maker.name}." in page
    checker = Actor.user(build.user("admin"))
    for proposal in (settle, write_off):
        approvals.release(approval_id=proposal.pk, actor=checker, at=NOON)
    after = desk()
    assert (before["insurance"] - after["insurance"], after["bad_debt"]) == (LEFT - 6000, 6000)
    assert (left.owed, left.debt.closed_reason) == (0, "written_off")
    done = text_of(visit.client_of(maker).get(reverse("loans:residual", args=[left.debt.pk])))
    assert "Written off" in done
    assert "Propose" not in done


def test_too_much_is_refused_before_it_is_proposed(left: Leftover) -> None:
    """R-GEN-78"""
    maker = build.user("finance")
    for amount, words in (("6904.12", "is more"), ("1.000000001", "8"), ("", "Say how much")):
        response = act(maker, left, "settle", amount=amount, reason="x")
        assert response.status_code == 422
        assert words in text_of(response)
    assert not Approval.objects.exists()


def test_the_fund_is_set_aside_by_two_people(left: Leftover) -> None:
    """R-GEN-78"""
    maker, path = build.user("finance"), reverse("loans:insurance")
    client = visit.client_of(maker)
    assert "50,000.00 USDT" in text_of(client.get(path))
    asked = {
        "way": "draw_back",
        "asset": "USDT",
        "amount": "20000",
        "reason": "Too much",
        "key": str(uuid4()),
    }
    assert visit.client_of(build.user("auditor")).post(path, asked).status_code == 403
    assert client.post(path, asked).status_code == 302
    assert books.insurance("USDT").balance == 50000
    assert "Draw back 20,000.00 USDT" in text_of(client.get(path))
    approvals.release(approval_id=Approval.objects.get().pk, actor=Actor.user(build.user("finance")), at=NOON)
    assert books.insurance("USDT").balance == 30000
    more = client.post(path, asked | {"amount": "30000.01", "key": str(uuid4())})
    assert more.status_code == 422
    assert "The insurance fund holds 30000" in text_of(more)


# --- Notices, for the house -------------------------------------------------------------------------------


def test_the_desk_reads_what_a_client_was_told_and_what_never_arrived(left: Leftover, settings: Any) -> None:
    """R-GEN-60, R-GEN-65: looking does not mark it read"""
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    row = Notice.objects.get(kind="liquidation")
    mine = visit.client_of(left.manager)
    listed = mine.get(reverse("loans:client_notices", args=[left.owner.pk]))
    assert row.title in text_of(listed)
    assert "no phone number known" in text_of(listed)
    notices.deliver_due(at=NOON)
    text = text_of(mine.get(reverse("loans:desk_notice", args=[row.pk])))
    assert "E-mail not delivered No active member has an e-mail address." in text
    assert "BTC 40,000.00" in text
    missing = text_of(mine.get(reverse("loans:undelivered")))
    assert "No phone number is known." in missing
    row.refresh_from_db()
    assert row.read_at is None


def test_a_delivery_that_died_with_its_worker_is_listed(left: Leftover) -> None:
    """R-GEN-60: at most once means that somebody has to look"""
    row = Notice.objects.get(kind="liquidation")
    row.deliveries.filter(channel="email").update(status="sending", due_at=NOON - timedelta(minutes=11))
    row.deliveries.filter(channel="sms").update(status="sending", due_at=NOON - timedelta(minutes=9))
    text = text_of(visit.client_of(left.manager).get(reverse("loans:undelivered")))
    assert "no answer was noted" in text
    assert "SMS" not in text


def test_notices_of_another_managers_client_do_not_exist(left: Leftover) -> None:
    """R-GEN-60"""
    row, other = Notice.objects.get(kind="liquidation"), visit.client_of(build.user("vip_manager"))
    assert other.get(reverse("loans:client_notices", args=[left.owner.pk])).status_code == 404
    assert other.get(reverse("loans:desk_notice", args=[row.pk])).status_code == 404
    assert "Everything arrived." in text_of(other.get(reverse("loans:undelivered")))
    assert visit.client_of(build.user()).get(reverse("loans:undelivered")).status_code == 404
