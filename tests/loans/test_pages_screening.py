"""The pages of a client's checks: who records, who looks, and what the manager and the borrower are told. R-ADM-10"""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts import screenings
from accounts.models import Screening, User
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans import visit
from tests.loans.desk import Desk
from tests.loans.test_pages_residual import text_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _at_ten() -> Iterator[None]:
    with visit.at(TEN):
        yield


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def post(desk: Desk, user: User, **typed: str) -> Any:
    sent = {"key": str(uuid4()), "kind": "sanctions", "status": "clear"} | typed
    return visit.client_of(user).post(reverse("loans:desk_screening", args=[desk.owner.pk]), sent)


def page(desk: Desk, user: User) -> Any:
    return visit.client_of(user).get(reverse("loans:desk_screening", args=[desk.owner.pk]))


def refuse(desk: Desk) -> None:
    screenings.record(
        customer_id=desk.owner.pk, kind="sanctions", status="refused", note="Listed", actor=BUILDER, at=TEN
    )


@pytest.mark.parametrize("role", ["ops", "risk_officer", "admin"])
def test_the_back_office_records_a_check(desk: Desk, role: str) -> None:
    """R-ADM-10: with its reference, and until when it is valid, in UTC"""
    someone = build.user(role, name="Olga Ops")
    typed = {"reference": "Case 12", "valid_until": "2027-01-01T00:00", "note": "No hit"}
    assert post(desk, someone, **typed).status_code == 302
    row = Screening.objects.latest("pk")
    assert (row.status, row.reference, row.recorded_by) == ("clear", "Case 12", someone)
    assert f"{row.valid_until:%Y-%m-%d %H:%M}" == "2027-01-01 00:00"
    text = text_of(page(desk, someone))
    assert "Case 12" in text
    assert "valid until 1 Jan 2027, 00:00 UTC" in text
    assert "Olga Ops" in text


def test_pressing_twice_records_once(desk: Desk) -> None:
    """R-GEN-06"""
    someone, key, before = build.user("ops"), str(uuid4()), Screening.objects.count()
    for _ in range(2):
        assert post(desk, someone, key=key).status_code == 302
    assert Screening.objects.count() == before + 1


def test_a_refusal_says_why_in_the_note(desk: Desk) -> None:
    """R-ADM-10: what was typed stays on the form"""
    answer = post(desk, build.user("ops"), status="refused", reference="Case 13")
    assert answer.status_code == 422
    assert "Say in the note why it is refused" in text_of(answer)
    assert b"Case 13" in answer.content
    assert not Screening.objects.filter(status="refused").exists()


def test_others_look_or_do_not_even_know(desk: Desk) -> None:
    """R-ADM-10, R-ADM-01"""
    before = Screening.objects.count()
    for user in (desk.manager, build.user("finance"), build.user("auditor")):
        answer = page(desk, user)
        assert answer.status_code == 200
        assert "a VIP manager never does" in text_of(answer)
        assert "Record it" not in text_of(answer)
        assert post(desk, user).status_code == 403
    for user in (build.user("vip_manager"), desk.applicant, build.user()):
        assert page(desk, user).status_code == 404
        assert post(desk, user).status_code == 404
    assert Client().get(reverse("loans:desk_screening", args=[desk.owner.pk])).status_code == 302
    assert Screening.objects.count() == before


def test_the_manager_reads_on_the_request_what_is_missing_and_who_records_it(desk: Desk) -> None:
    """R-ADM-10"""
    application = desks.submitted(desk)
    url = reverse("loans:desk_request", args=[application.pk])
    seen = text_of(visit.client_of(desk.manager).get(url))
    assert "Identity and sanctions clear" in seen
    refuse(desk)
    seen = text_of(visit.client_of(desk.manager).get(url))
    assert "was refused on 1 January 2026; nothing is paid out to them" in seen
    assert "It cannot be approved now." in seen
    assert "Nothing can be paid out now." in text_of(page(desk, desk.manager))


def test_the_borrower_may_send_a_request_meanwhile_and_learns_nothing_else(desk: Desk) -> None:
    """R-ADM-10"""
    application = desks.submitted(desk)
    client = visit.client_of(desk.applicant)
    urls = [reverse("loans:home"), reverse("loans:apply"), reverse("loans:request", args=[application.pk])]
    for url in urls:
        assert "still have to check the papers" not in text_of(client.get(url))
    refuse(desk)
    for url in urls:
        seen = text_of(client.get(url))
        assert "We still have to check the papers of" in seen
        for word in ("sanction", "Listed", "refused"):
            assert word not in seen.lower(), (url, word)


def test_the_clients_page_says_where_the_checks_stand(desk: Desk) -> None:
    """R-ADM-10"""
    refuse(desk)
    for user in (desk.manager, build.user("auditor")):
        answer = visit.client_of(user).get(reverse("loans:desk_client", args=[desk.owner.pk]))
        assert "Sanctions refused 1 Jan 2026" in text_of(answer)
        assert reverse("loans:desk_screening", args=[desk.owner.pk]).encode() in answer.content
