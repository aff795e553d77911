"""What many do at once to contacts and notices. R-FTR-03"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from accounts import contacts, notices
from accounts.commands import Actor, acting
from accounts.errors import Refused
from accounts.models import AuditRecord, Notice, NoticeContact
from tests import build
from tests.build import BUILDER, NOON

InThreads = Callable[[list[Callable[[], Any]]], list[Any]]


def test_ten_contacts_stay_ten(committed_db: object, in_threads: InThreads) -> None:
    """R-FTR-03: eight at once where there is room for two"""
    owner = build.customer()

    def add(number: int) -> NoticeContact:
        address = f"+4179123{number:04}"
        return contacts.add(
            customer_id=owner.pk, name="x", channel="sms", address=address, actor=BUILDER, at=NOON
        )

    for number in range(8):
        add(number)
    results = in_threads([lambda number=number: add(100 + number) for number in range(8)])
    assert sum(isinstance(row, NoticeContact) for row in results) == 2
    assert {type(row) for row in results} == {NoticeContact, contacts.TooManyContacts}
    assert notices.contacts_of(owner).count() == 10


def test_a_notice_is_acknowledged_once_while_it_is_called_back(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-FTR-03, R-GEN-61: two members, and the engine that drops what has not left; nobody waits for ever"""
    owner = build.customer()
    members = [build.user() for _ in range(2)]
    with acting(BUILDER):
        for member in members:
            owner.memberships.create(user=member, since=NOON)
    contacts.add(
        customer_id=owner.pk,
        name="Night desk",
        channel="sms",
        address="+41791234567",
        after_minutes=15,
        actor=BUILDER,
        at=NOON,
    )
    for number in range(5):
        told: dict[str, Any] = {"kind": "margin_call", "title": "x", "body": "x", "facts": {}, "at": NOON}
        notice = notices.send(customer=owner, event=f"call:{number}", **told)

        def acknowledge(user: Any, notice: Notice = notice) -> Notice:
            return notices.acknowledge(notice_id=notice.pk, actor=Actor.user(user), at=NOON)

        def drop(prefix: str = f"call:{number}") -> int:
            with acting(BUILDER):
                return notices.drop_unsent(customer=owner, event_prefix=prefix, at=NOON)

        results = in_threads(
            [lambda: acknowledge(members[0]), lambda: acknowledge(members[1]), drop]  # noqa: B023
        )
        assert all(isinstance(result, Notice | int | Refused) for result in results), results
        notice.refresh_from_db()
        taken = sum(isinstance(result, Notice) for result in results)
        assert taken == (notice.acknowledged_at is not None)
        assert AuditRecord.objects.filter(subject="notices.acknowledge").count() <= number + 1
    assert notices.deliver_due(at=NOON + timedelta(hours=1)) == 0
