"""The enquiry form and the manager's queue, page by page (R-VIP-17)."""

from uuid import uuid4

import pytest
from django.test import Client

from accounts.models import Customer, User
from loans.models import Enquiry
from tests import build
from tests.loans.visit import client_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def asker(db: None) -> User:
    return build.user()


@pytest.fixture
def newcomer(asker: User) -> Customer:
    return build.customer("Birch Trading", vip_level=0, member=asker)


def send(user: User, **changes: object) -> tuple[int, str]:
    typed = {"contact": "ops@birch.example", "wish": "2 m USDT for 90 days", "account": "", "key": uuid4()}
    answer = client_of(user).post("/enquiry/", typed | changes, follow=True)
    return answer.status_code, answer.content.decode()


def test_from_the_form_to_the_answer(newcomer: Customer, asker: User) -> None:
    """R-VIP-17, R-VIP-01: sent, taken with its customer, answered, read."""
    status, text = send(asker, account=str(build.master(newcomer).pk))
    row = Enquiry.objects.get()
    assert status == 200
    assert f"{row} is sent. The answer comes as a notice." in text

    manager = build.user("vip_manager")
    desk = client_of(manager)
    assert "2 m USDT for 90 days" in desk.get("/desk/enquiries/").content.decode()
    page = desk.get(f"/desk/enquiries/{row.pk}/").content.decode()
    assert f"Take {row}" in page
    assert f"Answer {row}" not in page

    taken = desk.post(f"/desk/enquiries/{row.pk}/take/", follow=True).content.decode()
    assert f"{row} is yours, and so is Birch Trading." in taken
    assert f"/desk/clients/{newcomer.pk}/terms/" in taken
    done = desk.post(f"/desk/enquiries/{row.pk}/", {"text": "Welcome.", "key": uuid4()}, follow=True)
    assert f"{row} is answered; Birch Trading has been told." in done.content.decode()

    assert "Welcome." in client_of(asker).get("/enquiry/").content.decode()
    assert "Welcome." in client_of(asker).get(f"/notices/{newcomer.notices.get().pk}/").content.decode()


def test_what_is_missing_is_said_on_the_form(newcomer: Customer, asker: User) -> None:
    """R-VIP-17"""
    status, text = send(asker, wish="", account="1")

    assert status == 422
    assert "Say what you wish for" in text
    assert "valid choice" in text
    assert not Enquiry.objects.exists()


def test_pressing_twice_sends_once(newcomer: Customer, asker: User) -> None:
    """R-GEN-06"""
    key = uuid4()
    for _ in range(2):
        assert send(asker, key=key)[0] == 200

    assert Enquiry.objects.count() == 1


def test_one_takes_back_what_one_asked(newcomer: Customer, asker: User) -> None:
    send(asker)
    row = Enquiry.objects.get()
    stranger = build.user()
    build.customer(member=stranger)

    assert client_of(stranger).post(f"/enquiry/{row.pk}/withdraw/").status_code == 404
    row.refresh_from_db()
    assert row.status == "open"
    said = client_of(asker).post(f"/enquiry/{row.pk}/withdraw/", follow=True).content.decode()
    assert f"{row} is taken back." in said
    again = client_of(asker).post(f"/enquiry/{row.pk}/withdraw/", follow=True).content.decode()
    assert f"{row} is closed already." in again


def test_who_sees_an_enquiry(newcomer: Customer, asker: User) -> None:
    """R-VIP-17, R-ADM-01: another manager's does not exist, for borrowers the queue does not, staff are told so."""
    owner, other = build.user("vip_manager"), build.user("vip_manager")
    with build.acting(build.BUILDER):
        newcomer.manager = owner
        newcomer.save(update_fields=["manager"])
    send(asker)
    row = Enquiry.objects.get()

    statuses = {
        who: client.get(f"/desk/enquiries/{row.pk}/").status_code
        for who, client in (
            ("owner", client_of(owner)),
            ("other", client_of(other)),
            ("asker", client_of(asker)),
            ("officer", client_of(build.user("risk_officer"))),
            ("nobody", Client()),
        )
    }

    assert statuses == {"owner": 200, "other": 404, "asker": 404, "officer": 403, "nobody": 302}
    assert client_of(other).post(f"/desk/enquiries/{row.pk}/take/").status_code == 404
    assert client_of(build.user()).get("/enquiry/").status_code == 404  # acts for nobody


def test_a_wish_is_shown_as_text(newcomer: Customer, asker: User) -> None:
    send(asker, wish="<script>alert(1)</script>")

    page = client_of(build.user("vip_manager")).get("/desk/enquiries/").content.decode()

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
