"""The pages of managers' authority: who sets it, who sees it, and what a request says of it. R-ADM-10"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts import approvals
from accounts.commands import Actor
from accounts.models import Approval, User
from loans import authority
from loans.models import Authority, Loan
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans import visit
from tests.loans.desk import Desk
from tests.loans.talks import asked
from tests.loans.test_pages_residual import text_of

pytestmark = pytest.mark.django_db
URL = "/desk/authority/"


@pytest.fixture(autouse=True)
def _at_ten() -> Iterator[None]:
    with visit.at(TEN):
        yield


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def post(user: User, whose: User, **typed: str) -> Any:
    sent = {"key": str(uuid4()), "manager": str(whose.pk), "reason": "New colleague"} | typed
    return visit.client_of(user).post(URL, sent)


def give(manager: User, **limits: str) -> None:
    told = {name: Decimal(value) for name, value in limits.items()}
    authority.set_authority(manager_id=manager.pk, reason="As agreed", actor=BUILDER, at=TEN, **told)


def test_one_proposes_it_and_another_releases_it(desk: Desk) -> None:
    """R-ADM-10, R-ADM-03"""
    maker = build.user("risk_officer")
    typed = {
        "max_amount_usd": "2000000",
        "max_ltv": "65",
        "max_discount": "0.5",
        "ends_at": "2026-12-31T00:00",
    }
    assert post(maker, desk.manager, **typed).status_code == 302
    assert not Authority.objects.exists()
    proposal = Approval.objects.get()
    assert f"{proposal} waits." in text_of(visit.client_of(maker).get(URL))
    approvals.release(approval_id=proposal.pk, actor=Actor.user(build.user("admin")), at=TEN)
    row = Authority.objects.get()
    assert (row.max_amount_usd, row.max_ltv, row.max_discount) == (2000000, Decimal("0.65"), Decimal("0.005"))
    seen = text_of(visit.client_of(desk.manager).get(URL))
    assert "Your authority" in seen
    assert "up to 2,000,000.00 USD, LTV up to 65 %, a discount up to 0.5 % a year" in seen
    assert "31 Dec 2026, 00:00 UTC" in seen


def test_a_manager_sees_their_own_and_sets_nobodys(desk: Desk) -> None:
    """R-ADM-10"""
    other = build.user("vip_manager", name="Otto Other")
    give(other, max_amount_usd="1234567")
    seen = text_of(visit.client_of(desk.manager).get(URL))
    assert "as far as the desk’s own lines" in seen
    assert "Otto Other" not in seen
    assert "1,234,567" not in seen
    assert post(desk.manager, other, max_ltv="90").status_code == 403
    for role in ("finance", "auditor", "ops"):
        reader = build.user(role)
        assert "Otto Other" in text_of(visit.client_of(reader).get(URL))
        assert post(reader, other, max_ltv="90").status_code == 403
    assert visit.client_of(desk.applicant).get(URL).status_code == 404
    assert Client().get(URL).status_code == 302
    assert (Authority.objects.count(), Approval.objects.count()) == (1, 0)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"ends_at": "2025-12-31T00:00"}, "ends after it starts"),
        ({"effective_at": "2025-12-31T00:00"}, "cannot be backdated"),
        ({"max_ltv": "100"}, "less than or equal to 99"),
        ({"reason": ""}, "required"),
        ({"manager": "0"}, "valid choice"),
    ],
)
def test_what_is_no_authority_is_shown_again(desk: Desk, typed: dict[str, str], words: str) -> None:
    """R-ADM-10"""
    answer = post(build.user("admin"), desk.manager, **({"max_discount": "1"} | typed))
    assert answer.status_code == 422
    assert words in text_of(answer)
    assert not Approval.objects.exists()


def test_a_request_says_that_somebody_else_is_needed_and_why(desk: Desk) -> None:
    """R-ADM-10: before the button, which proposes"""
    give(desk.manager, max_amount_usd="999999", max_ltv="0.6")
    application = desks.submitted(desk)
    client = visit.client_of(desk.manager)
    url = reverse("loans:desk_request", args=[application.pk])
    seen = text_of(client.get(url))
    assert f"is worth 1,000,000.00 USD; {desk.manager.name} may decide up to 999,999.00 USD." in seen
    assert "LTV would be 66.66 %" in seen
    assert "Propose to pay out" in seen
    application.refresh_from_db()
    sent = {
        "key": str(uuid4()),
        "sheet": application.accepted.sha256,
        "coins": ["USDT"],
        "why": "Good client",
    }
    assert client.post(reverse("loans:desk_approve", args=[application.pk]), sent).status_code == 302
    assert not Loan.objects.exists()
    proposal = Approval.objects.get()
    peer = build.user("vip_manager")
    give(peer, max_ltv="0.6")
    released = visit.client_of(peer).post(
        reverse("loans:approval_release", args=[proposal.pk]), {"key": str(uuid4())}
    )
    assert released.status_code == 404  # a manager sees proposals about their own clients only
    risk = visit.client_of(build.user("risk_officer"))
    answer = risk.post(reverse("loans:approval_release", args=[proposal.pk]), {"key": str(uuid4())})
    assert answer.status_code == 302
    assert Loan.objects.count() == 1


def test_within_it_nothing_is_said(desk: Desk) -> None:
    """R-ADM-10"""
    give(desk.manager, max_amount_usd="1000000")
    application = desks.submitted(desk)
    seen = text_of(visit.client_of(desk.manager).get(reverse("loans:desk_request", args=[application.pk])))
    assert "Two persons." not in seen
    assert "Approve and pay out" in seen


def test_accepting_a_wish_below_it_says_so(desk: Desk) -> None:
    """R-ADM-10"""
    give(desk.manager, max_discount="0.001")
    application = asked(desk)
    seen = text_of(visit.client_of(desk.manager).get(reverse("loans:desk_request", args=[application.pk])))
    assert "The discount on the published rate is 0.4 % a year" in seen
    assert "beyond it another person releases the offer" in seen
