"""Files made by a job: asked for once, made once, shown to nobody else."""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Barrier, Thread
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.urls import reverse

from accounts import exports, tasks
from accounts.commands import Actor, acting
from accounts.errors import Refused
from accounts.models import Customer, Export, User
from tests import build
from tests.build import BUILDER, NOON
from tests.conftest import CommittedDatabase
from tests.loans import visit


@pytest.fixture(autouse=True)
def makers() -> Iterator[None]:
    """Three kinds of file that only these tests ask for."""
    mine = {"test_sum": _sum, "test_broken": _broken, "test_refused": _refused}
    exports.makers |= mine
    yield
    for kind in mine:
        del exports.makers[kind]


def _sum(arguments: Mapping[str, Any], at: datetime, progress: exports.Progress) -> exports.File:
    numbers = [Decimal(text) for text in arguments["numbers"]]
    for done in range(len(numbers)):
        progress(done, len(numbers))
    return exports.as_csv("sum.csv", ["sum"], [[sum(numbers)]])


def _broken(arguments: Mapping[str, Any], at: datetime, progress: exports.Progress) -> exports.File:
    raise RuntimeError("secret detail")


def _refused(arguments: Mapping[str, Any], at: datetime, progress: exports.Progress) -> exports.File:
    raise Refused("There is no such month.")


def asked(by: User, kind: str = "test_sum", **changes: Any) -> Export:
    given = {"numbers": ["1.5", "2.25"]}
    return exports.ask(kind=kind, title="A sum", arguments=given, actor=Actor.user(by), at=NOON, **changes)


@pytest.mark.django_db
def test_an_export_is_made_by_the_job_and_keeps_its_digest() -> None:
    """R-ADM-11"""
    row = asked(build.user())
    assert row.status == Export.Status.QUEUED
    assert exports.run_due(at=NOON) == 1
    row.refresh_from_db()
    assert bytes(row.content or b"") == b"sum\r\n3.75\r\n"
    assert (row.status, row.file_name) == (Export.Status.DONE, "sum.csv")
    assert row.sha256 == hashlib.sha256(b"sum\r\n3.75\r\n").hexdigest()
    assert exports.run_due(at=NOON) == 0


@pytest.mark.django_db
def test_a_file_that_cannot_be_made_says_so_and_holds_up_nobody() -> None:
    user = build.user()
    broken, refused, good = asked(user, "test_broken"), asked(user, "test_refused"), asked(user)
    assert exports.run_due(at=NOON) == 1
    for row in (broken, refused, good):
        row.refresh_from_db()
    assert (broken.status, broken.error) == (Export.Status.FAILED, exports.FAILED)
    assert refused.error == "There is no such month."
    assert good.status == Export.Status.DONE


@pytest.mark.django_db
def test_a_worker_that_died_is_noticed_by_its_silence() -> None:
    row = asked(build.user())
    died_at = NOON - timedelta(minutes=1)
    Export.objects.filter(pk=row.pk).update(status=Export.Status.RUNNING, heartbeat_at=died_at)
    assert exports.run_due(at=died_at + exports.SILENT_AFTER) == 0
    assert exports.run_due(at=died_at + exports.SILENT_AFTER + timedelta(seconds=1)) == 1


@pytest.mark.django_db
def test_one_person_waits_for_five_at_most() -> None:
    user = build.user()
    for _ in range(exports.MOST_WAITING):
        asked(user)
    with pytest.raises(exports.TooManyExports):
        asked(user)
    with pytest.raises(exports.UnknownExport):
        asked(build.user(), "nothing")
    assert Export.objects.count() == exports.MOST_WAITING
    exports.run_due(at=NOON)
    asked(user)


@pytest.mark.django_db
def test_an_export_is_its_askers_only() -> None:
    """R-GEN-95, TRUST B-07: to everybody else it does not exist, staff included."""
    user, auditor = build.user(), build.user("auditor")
    row = asked(user)
    exports.run_due(at=NOON)
    for name in ("export", "export_file"):
        url = reverse(f"accounts:{name}", args=[row.pk])
        assert visit.client_of(user).get(url).status_code == 200
        assert visit.client_of(auditor).get(url).status_code == 404
        assert visit.client_of(build.user()).get(url).status_code == 404
    answer = visit.client_of(user).get(reverse("accounts:export_file", args=[row.pk]))
    assert answer["Content-Disposition"] == 'attachment; filename="sum.csv"'
    assert answer.content == b"sum\r\n3.75\r\n"


@pytest.mark.django_db
def test_a_customers_file_is_for_who_may_still_look_at_them() -> None:
    """R-GEN-95, TRUST B-07: not for a member who left or was limited to one account, nor for a former manager"""
    member, manager = build.user(), build.user("vip_manager")
    owner = build.customer(manager=manager, member=member)
    build.colleague(owner, "signatory")
    rows = [asked(user, customer=owner) for user in (member, manager)]
    exports.run_due(at=NOON)

    def answers(user: User, row: Export) -> list[int]:
        urls = [reverse(f"accounts:{name}", args=[row.pk]) for name in ("export", "export_file")]
        return [visit.client_of(user).get(url).status_code for url in urls]

    assert [answers(*pair) for pair in zip((member, manager), rows, strict=True)] == [[200, 200]] * 2
    with acting(BUILDER):
        owner.memberships.filter(user=member).update(account=build.master(owner))
        Customer.objects.filter(pk=owner.pk).update(manager=build.user("vip_manager"))
    assert [answers(*pair) for pair in zip((member, manager), rows, strict=True)] == [[404, 404]] * 2
    with acting(BUILDER):
        owner.memberships.filter(user=member).delete()
    assert answers(member, rows[0]) == [404, 404]
    assert b"A sum" not in visit.client_of(member).get(reverse("accounts:exports")).content


def test_one_worker_at_a_time_makes_them(committed_db: CommittedDatabase) -> None:
    """R-ADM-11: two long files do not take every worker from the watch"""
    row = asked(build.user())
    with psycopg.connect(**connection.get_connection_params()) as busy:
        busy.execute("SELECT pg_advisory_lock(%s)", [tasks.ONE_EXPORTER])
        tasks.make_exports()
        row.refresh_from_db()
        assert row.status == Export.Status.QUEUED
        busy.execute("SELECT pg_advisory_unlock(%s)", [tasks.ONE_EXPORTER])
    tasks.make_exports()
    row.refresh_from_db()
    assert row.status == Export.Status.DONE


@pytest.mark.django_db
def test_the_page_says_how_far_it_is() -> None:
    user = build.user()
    row = asked(user)
    Export.objects.filter(pk=row.pk).update(status=Export.Status.RUNNING, done=3, total=12, heartbeat_at=NOON)
    client = visit.client_of(user)
    page = client.get(reverse("accounts:export", args=[row.pk])).content.decode()
    assert "3 of 12" in page
    assert 'value="25"' in page
    part = client.get(
        reverse("accounts:export", args=[row.pk]), headers={"HX-Request": "true", "HX-Target": "export"}
    )
    assert b"<html" not in part.content
    assert b"A sum" in client.get(reverse("accounts:exports")).content


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=1+1", "'=1+1"),
        ("@cmd", "'@cmd"),
        ("-2", "'-2"),
        (" =1+1", "' =1+1"),
        ("\u00a0@cmd", "'\u00a0@cmd"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("\u22122", "'\u22122"),
        ("\t=1", "'\t=1"),
        ("\n=1", "'\n=1"),
        ("a=1", "a=1"),
        ("", ""),
        (Decimal("-2.50"), "-2.50"),
        (Decimal("1E-8"), "0.00000001"),
        (None, ""),
        (NOON, "2026-01-01 12:00:00"),
        (7, "7"),
        ("plain", "plain"),
    ],
)
def test_a_cell_is_never_a_formula(value: object, text: str) -> None:
    """TRUST B-16"""
    assert exports.cell(value) == text


def test_two_workers_make_one_file(committed_db: CommittedDatabase) -> None:
    """One file asked for is made once."""
    user = build.user()
    rows = [asked(user) for _ in range(4)]
    made: list[int] = []
    start = Barrier(2)

    def work() -> None:
        start.wait()
        made.append(exports.run_due(at=NOON))
        connection.close()

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(made) == len(rows)
    assert set(Export.objects.values_list("status", flat=True)) == {Export.Status.DONE}
