"""How a customer wants to be told. R-GEN-60"""

from datetime import time, timedelta
from typing import Any

import pytest

from accounts import notices, preferences
from accounts.errors import Refused
from accounts.models import AuditRecord, Customer, Notice, NoticePreference
from tests import build
from tests.build import BUILDER, NOON

pytestmark = pytest.mark.django_db


def choose(owner: Customer, **choice: Any) -> NoticePreference:
    asked: dict[str, Any] = {"by_email": True, "by_sms": False} | choice
    return preferences.set_preference(customer_id=owner.pk, actor=BUILDER, at=NOON, **asked)


def test_a_choice_replaces_the_one_before_and_is_signed() -> None:
    """R-GEN-60, TRUST I-21"""
    owner = build.customer()
    choose(owner, by_sms=True, phone="+41 79 123 45 67")
    row = choose(owner, quiet_from=time(22), quiet_until=time(7), time_zone="Europe/Zurich")
    assert (row.by_email, row.by_sms, row.phone) == (True, False, "")
    assert (row.quiet_from, row.quiet_until, row.time_zone) == (time(22), time(7), "Europe/Zurich")
    assert NoticePreference.objects.get() == row
    trail = AuditRecord.objects.filter(subject=f"accounts_noticepreference:{row.pk}").order_by("pk")
    assert [(record.kind, record.actor) for record in trail] == [
        ("insert", BUILDER.label),
        ("update", BUILDER.label),
    ]


@pytest.mark.parametrize(
    ("choice", "code"),
    [
        ({"by_sms": True}, "bad_phone_number"),
        ({"by_sms": True, "phone": "079 123 45 67"}, "bad_phone_number"),
        ({"phone": "call me"}, "bad_phone_number"),
        ({"quiet_from": time(22)}, "bad_quiet_hours"),
        ({"quiet_until": time(7)}, "bad_quiet_hours"),
        ({"quiet_from": time(7), "quiet_until": time(7)}, "bad_quiet_hours"),
        ({"time_zone": "Europe/Atlantis"}, "bad_time_zone"),
        ({"time_zone": "../../etc/passwd"}, "bad_time_zone"),
        ({"time_zone": ""}, "bad_time_zone"),
        ({"language": "de"}, "bad_language"),
        ({"language": ""}, "bad_language"),
    ],
)
def test_a_choice_that_cannot_work_changes_nothing(choice: dict[str, Any], code: str) -> None:
    """R-GEN-60"""
    owner = build.customer()
    before = choose(owner, by_sms=True, phone="+41791234567")
    with pytest.raises(Refused) as refused:
        choose(owner, **choice)
    assert refused.value.code == code
    after = NoticePreference.objects.get()
    assert (after.phone, after.by_sms, after.quiet_from) == (before.phone, True, None)


def test_a_test_message_goes_at_once_and_once_a_minute() -> None:
    """R-GEN-60"""
    owner = build.customer()
    choose(owner, quiet_from=time(0), quiet_until=time(23))

    def test_message(at: Any) -> Notice:
        return preferences.send_test(customer_id=owner.pk, actor=BUILDER, at=at)

    row = test_message(NOON)
    assert list(row.deliveries.values_list("channel", "due_at")) == [("email", NOON)]
    with pytest.raises(preferences.TestedJustNow, match="12:01:00 UTC"):
        test_message(NOON + timedelta(seconds=59))
    assert Notice.objects.count() == 1
    test_message(NOON + timedelta(seconds=60))
    assert Notice.objects.count() == 2


def test_without_a_choice_every_channel_is_on() -> None:
    """R-GEN-60"""
    assert notices.preference_of(build.customer()) == notices.reach.Preference()
