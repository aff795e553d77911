"""A person's own sign-in: what the page says of it, and ending it elsewhere."""

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.usersessions.models import UserSession
from django.core import mail
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import AuditRecord, User
from tests import build

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"  # noqa: S105
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Version/17.0 Mobile Safari/604.1"
LAPTOP = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/150.0.0.0 Safari/537.36"
EDGE = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/150.0 Safari/537.36 Edg/150.0"


@pytest.fixture
def mia() -> User:
    return someone()


def someone() -> User:
    user = build.user()
    build.customer(member=user)
    user.set_password(PASSWORD)
    user.save(update_fields=["password"])
    return user


def signed_in(user: User, user_agent: str = LAPTOP, address: str = "192.0.2.7") -> Client:
    client = Client(headers={"user-agent": user_agent}, REMOTE_ADDR=address)
    answer = client.post(reverse("account_login"), {"login": user.email, "password": PASSWORD})
    assert answer.status_code == 302
    return client


def is_in(client: Client) -> bool:
    return client.get(reverse("accounts:security")).status_code == 200


def words(client: Client) -> str:
    page = client.get(reverse("accounts:security")).content.decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.partition("<main")[2]))


def end(client: Client, which: Any) -> Any:
    return client.post(reverse("accounts:security"), {"session": which})


def test_every_sign_in_is_listed_with_its_device_and_address_this_one_first(mia: User) -> None:
    laptop = signed_in(mia)
    signed_in(mia, PHONE, "198.51.100.9")
    signed_in(mia, EDGE, "203.0.113.5")
    signed_in(mia, "curl/8")
    text = words(laptop)
    assert text.index("Chrome on Linux 192.0.2.7") < text.index("this one") < text.index("Edge on Windows")
    assert "Edge on Windows 203.0.113.5" in text
    assert "Safari on iPhone 198.51.100.9" in text
    assert "a browser 192.0.2.7" in text


def test_one_sign_in_is_ended_from_another(mia: User) -> None:
    laptop, phone = signed_in(mia), signed_in(mia, PHONE)
    row = UserSession.objects.get(user_agent=PHONE)
    assert end(laptop, row.pk).status_code == 302
    assert not is_in(phone)
    assert is_in(laptop)
    assert (
        "1 sign-in has ended." in words(signed_in(mia)) or UserSession.objects.filter(user=mia).count() == 2
    )


def test_all_others_are_ended_and_this_one_stays(mia: User) -> None:
    laptop, phone, third = signed_in(mia), signed_in(mia, PHONE), signed_in(mia, EDGE)
    end(laptop, "others")
    assert [is_in(client) for client in (laptop, phone, third)] == [True, False, False]
    assert "Nowhere else." in words(laptop)


@pytest.mark.parametrize("which", ["", "0", "x", "-1", "9" * 30, "¹"])
def test_what_names_none_of_them_ends_nothing(mia: User, which: str) -> None:
    laptop, phone = signed_in(mia), signed_in(mia, PHONE)
    assert end(laptop, which).status_code == 302
    assert is_in(laptop)
    assert is_in(phone)


def test_nobody_ends_the_sign_in_of_another_person(mia: User) -> None:
    """R-GEN-95"""
    other = someone()
    theirs, mine = signed_in(other), signed_in(mia)
    end(mine, UserSession.objects.get(user=other).pk)
    end(mine, "others")
    assert is_in(theirs)
    assert other.email not in words(mine)


def test_ones_own_is_not_ended_from_here(mia: User) -> None:
    laptop = signed_in(mia)
    end(laptop, UserSession.objects.get(user=mia).pk)
    assert is_in(laptop)


def test_the_second_step_and_the_codes_that_are_left_are_told(mia: User) -> None:
    laptop = signed_in(mia)
    assert "Second step off" in words(laptop)
    assert "Recovery codes left" not in words(laptop)
    TOTP.activate(mia, generate_totp_secret())
    codes = RecoveryCodes.activate(mia)
    assert codes.validate_code(codes.get_unused_codes()[0])
    text = words(laptop)
    assert "Second step on since" in text
    assert "Recovery codes left 9" in text


def test_behind_a_proxy_the_address_is_the_one_it_tells(mia: User, settings: Any) -> None:
    settings.BEHIND_PROXY = True
    client = Client(headers={"x-forwarded-for": "203.0.113.1, 198.51.100.4"}, REMOTE_ADDR="10.0.0.1")
    client.post(reverse("account_login"), {"login": mia.email, "password": PASSWORD})
    assert UserSession.objects.get(user=mia).ip == "198.51.100.4"


# --- Changing what one signs in with ------------------------------------------------------------------------


@pytest.fixture
def nobody_acts() -> None:
    """As a request meets the database: no fixture's signature is left in the transaction around the test."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('app.actor', '', true)")


def test_a_password_is_changed_by_who_knows_it(mia: User, nobody_acts: None) -> None:
    laptop = signed_in(mia)
    told = {
        "oldpassword": PASSWORD,
        "password1": "staple of the battery",
        "password2": "staple of the battery",
    }
    assert laptop.post(reverse("account_change_password"), told).status_code == 302
    mia.refresh_from_db()
    assert mia.check_password("staple of the battery")


def test_a_forgotten_password_is_set_anew_from_the_letter(
    mia: User, client: Client, nobody_acts: None
) -> None:
    EmailAddress.objects.create(user=mia, email=mia.email, verified=True, primary=True)
    client.post(reverse("account_reset_password"), {"email": mia.email})
    [link] = re.findall(r"http://\S+/reset/key/\S+", str(mail.outbox[0].body))
    form = client.get(urlsplit(link).path).headers["Location"]
    told = {"password1": "staple of the battery", "password2": "staple of the battery"}
    assert client.post(form, told).status_code == 302
    mia.refresh_from_db()
    assert mia.check_password("staple of the battery")


def test_another_address_becomes_the_one_to_sign_in_with(mia: User, nobody_acts: None) -> None:
    EmailAddress.objects.create(user=mia, email=mia.email, verified=True, primary=True)
    EmailAddress.objects.create(user=mia, email="mia@new.example", verified=True)
    laptop = signed_in(mia)
    told = {"action_primary": "", "email": "mia@new.example"}
    assert laptop.post(reverse("account_email"), told).status_code == 302
    mia.refresh_from_db()
    assert mia.email == "mia@new.example"
    record = AuditRecord.objects.filter(subject=f"accounts_user:{mia.pk}").latest("pk")
    assert record.actor == f"user:{mia.pk}"


def test_the_first_address_is_confirmed_from_the_letter(mia: User, client: Client, nobody_acts: None) -> None:
    row = EmailAddress.objects.create(user=mia, email=mia.email)
    signed_in(mia).post(reverse("account_email"), {"action_send": "", "email": mia.email})
    [path] = re.findall(r"/accounts/confirm-email/\S+", str(mail.outbox[0].body))
    assert client.post(path).status_code == 302
    row.refresh_from_db()
    assert row.verified


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("198.51.100.4:4711", "198.51.100.4"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("somebody", "10.0.0.1"),
    ],
)
def test_a_proxy_that_writes_a_port_or_nonsense_breaks_nothing(
    mia: User, settings: Any, told: str, kept: str
) -> None:
    settings.BEHIND_PROXY = True
    client = Client(headers={"x-forwarded-for": told}, REMOTE_ADDR="10.0.0.1")
    client.post(reverse("account_login"), {"login": mia.email, "password": PASSWORD})
    assert UserSession.objects.get(user=mia).ip == kept
