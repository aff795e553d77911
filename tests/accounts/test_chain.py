"""The audit trail is a chain, and the house's views of people stand in it. R-ADM-07"""

import hashlib
import json
from io import StringIO
from threading import Barrier, Thread
from urllib.parse import urlsplit

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts import audit, chain, ledger
from accounts.commands import Actor, acting
from accounts.models import AuditLink, AuditRecord, Customer
from tests import build
from tests.build import BUILDER
from tests.conftest import CommittedDatabase


def as_owner(database: CommittedDatabase, *statements: str) -> None:
    """Somebody with the owner's rights who switches the guards off."""
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE accounts_auditrecord DISABLE TRIGGER USER")
        owner.execute("ALTER TABLE accounts_auditlink DISABLE TRIGGER USER")
        for statement in statements:
            owner.execute(statement)


def change(customer: Customer, name: str) -> None:
    with acting(BUILDER, reason="renamed"):
        customer.name = name
        customer.save(update_fields=["name"])


def test_every_finished_record_is_linked_once_in_order(committed_db: CommittedDatabase) -> None:
    """R-ADM-07"""
    customer = build.customer("First")
    linked = chain.link()
    assert linked == AuditRecord.objects.count() > 0
    assert chain.link() == 0
    change(customer, "Second")
    before = chain.head()
    assert chain.link() == 1
    head = chain.head()
    assert head.position == before.position + 1
    assert AuditLink.objects.get(position=head.position).record.after == {"name": "Second"}
    assert chain.problems() == []


@pytest.mark.parametrize("role", ["application", "owner"])
def test_a_record_of_an_unfinished_transaction_is_linked_when_it_has_ended(
    committed_db: CommittedDatabase, role: str
) -> None:
    """R-ADM-07: the chain never skips what may still be committed before what it has, whoever holds it back."""
    url = committed_db.url if role == "application" else committed_db.owner_url
    customer = build.customer("Slow")
    chain.link()
    with psycopg.connect(url) as slow:
        slow.execute("SELECT set_config('app.actor', 'test:slow', true)")
        slow.execute("UPDATE accounts_customer SET vip_level = 2 WHERE id = %s", [customer.pk])
        build.customer("Quick")  # begun later, committed earlier
        assert chain.link() == 0
        slow.commit()
    assert chain.link() > 1
    order = AuditLink.objects.order_by("position").values_list("record__actor", flat=True)
    assert "test:slow" in list(order)[:-1]
    assert chain.problems() == []


@pytest.mark.breaks_the_books
@pytest.mark.parametrize(
    ("tampering", "told"),
    [
        ("UPDATE accounts_auditrecord SET reason = 'nicer' WHERE id = {pk}", "audit record {pk} was changed"),
        (
            "UPDATE accounts_auditlink SET sha256 = repeat('a', 64) WHERE record_id = {pk}",
            "chain breaks at link",
        ),
        (
            "DELETE FROM accounts_auditlink WHERE record_id = {pk};"
            " DELETE FROM accounts_auditrecord WHERE id = {pk}",
            "the audit chain has no link",
        ),
    ],
)
def test_whoever_changes_a_record_breaks_the_chain(
    committed_db: CommittedDatabase, tampering: str, told: str
) -> None:
    """R-ADM-07, TRUST I-22"""
    customer = build.customer("One")
    change(customer, "Two")
    pk = AuditRecord.objects.filter(kind="update", subject=f"accounts_customer:{customer.pk}").get().pk
    change(customer, "Three")
    chain.link()
    assert chain.problems() == []
    as_owner(committed_db, *tampering.format(pk=pk).split(";"))
    (problem,) = chain.problems()
    assert told.format(pk=pk) in problem
    assert problem in ledger.problems()
    with pytest.raises(CommandError):
        call_command("audit_chain", stderr=StringIO())


def digests() -> list[str]:
    """What every link must be, by what docs/rules.md says and not by the code that makes them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT r.id::text, r.kind, r.subject, r.actor, r.reason, r.request, coalesce(r.before::text, ''),"
            " coalesce(r.after::text, ''),"
            " to_char(r.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
            " FROM accounts_auditlink l JOIN accounts_auditrecord r ON r.id = l.record_id ORDER BY l.position"
        )
        found = ["0" * 64]
        for record in cursor.fetchall():
            told = json.dumps([found[-1], *record], ensure_ascii=False)
            found.append(hashlib.sha256(told.encode()).hexdigest())
    return found[1:]


@pytest.mark.breaks_the_books
def test_a_record_changed_with_its_own_link_breaks_the_next(committed_db: CommittedDatabase) -> None:
    """R-ADM-07: each link is of the one before, so nobody mends one place only; the head cannot stay the same"""
    customer = build.customer("One")
    change(customer, "Two")
    change(customer, "Three")
    chain.link()
    assert digests() == list(AuditLink.objects.order_by("position").values_list("sha256", flat=True))
    forged = AuditRecord.objects.filter(kind="update").order_by("pk").first()
    assert forged is not None
    place = AuditLink.objects.get(record=forged).position
    change_it = "UPDATE accounts_auditrecord SET reason = 'nicer' WHERE id = {}"
    mend_it = "UPDATE accounts_auditlink SET sha256 = '{}' WHERE position = {}"
    as_owner(committed_db, change_it.format(forged.pk))
    mended = digests()
    as_owner(committed_db, mend_it.format(mended[place - 1], place))
    (problem,) = chain.problems()
    assert f"the chain breaks at link {place + 1}" in problem
    assert mended[-1] != chain.head().sha256


def test_another_database_of_the_server_holds_nothing_back(committed_db: CommittedDatabase) -> None:
    """R-ADM-07: its transactions count from the same numbers, and cannot write here."""
    elsewhere = urlsplit(committed_db.owner_url)._replace(path="/postgres").geturl()
    with psycopg.connect(elsewhere) as other:
        other.execute("SELECT pg_current_xact_id()")
        build.customer("Here")
        assert chain.link() == AuditRecord.objects.count()


@pytest.mark.breaks_the_books
def test_a_record_that_was_slipped_in_has_no_link(committed_db: CommittedDatabase) -> None:
    """R-ADM-07"""
    build.customer("One")
    chain.link()
    as_owner(
        committed_db,
        "INSERT INTO accounts_auditrecord (kind, subject, actor, reason, request, recorded_at, xid)"
        " VALUES ('command', 'vip.approve', 'user:1', '', '', now(), '3'::xid8)",
    )
    (problem,) = chain.problems()
    assert "was slipped in" in problem


def test_two_linkers_make_one_chain(committed_db: CommittedDatabase) -> None:
    """R-ADM-07"""
    for number in range(20):
        build.customer(f"Firm {number}")
    start = Barrier(2)

    def work() -> None:
        start.wait()
        chain.link()
        connection.close()

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert AuditLink.objects.count() == AuditRecord.objects.count()
    assert chain.problems() == []
    out = StringIO()
    call_command("audit_chain", stdout=out)
    assert out.getvalue().split() == [str(chain.head().position), chain.head().sha256]


@pytest.mark.django_db
def test_a_view_of_a_customer_stands_in_the_trail() -> None:
    """R-ADM-07"""
    auditor, customer = build.user("auditor"), build.customer()
    audit.viewed(customer=customer, actor=Actor.user(auditor), what="client")
    row = AuditRecord.objects.get(kind=AuditRecord.Kind.VIEW)
    assert (row.subject, row.actor, row.after) == (
        f"accounts_customer:{customer.pk}",
        f"user:{auditor.pk}",
        {"page": "client"},
    )
