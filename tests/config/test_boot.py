"""What the desk refuses to start with, and the two database roles (I-34)."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from celery.schedules import crontab
from django.conf import settings
from django.db import DatabaseError, connection, transaction

from config import roles
from config.celery import TIMETABLE

BASE = Path(__file__).resolve().parent.parent.parent

SITE = "from config import settings; print(settings.SITE_URL)"


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=BASE, env=known | environment, capture_output=True, text=True, check=False, timeout=60
    )


def _given(**changes: str) -> dict[str, str]:
    names = ("SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")
    return {name: os.environ[name] for name in names} | {"LOMBARD_ENV_FILE": ""} | changes


def test_with_nothing_set_one_sentence_says_what_to_set() -> None:
    done = _run("manage.py", "check", LOMBARD_ENV_FILE="")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Set SECRET_KEY, ALLOWED_HOSTS, DATABASE_URL, REDIS_URL in the environment" in done.stderr


def test_only_what_is_missing_is_named() -> None:
    done = _run("manage.py", "check", **_given(REDIS_URL=""))
    assert "Set REDIS_URL in the environment" in done.stderr


@pytest.mark.parametrize("hosts", ["*", ".example.com", "desk.example.com,*"])
def test_with_any_host_allowed_the_site_must_be_named(hosts: str) -> None:
    """Else a letter's link would lead to https://*/."""
    refused = _run("-c", SITE, **_given(ALLOWED_HOSTS=hosts, SITE_URL=""))
    assert "Set SITE_URL, such as https://desk.example.com" in refused.stderr
    assert refused.stdout == ""
    named = _run("-c", SITE, **_given(ALLOWED_HOSTS=hosts, SITE_URL="https://desk.example.com"))
    assert named.stdout.strip() == "https://desk.example.com"


def test_a_site_ends_without_a_slash_and_is_the_first_host_unless_named() -> None:
    refused = _run("-c", SITE, **_given(SITE_URL="https://desk.example.com/"))
    assert "Write SITE_URL without the slash at its end: https://desk.example.com" in refused.stderr
    unnamed = _run("-c", SITE, **_given(ALLOWED_HOSTS="desk.example.com,other.example", SITE_URL=""))
    assert unnamed.stdout.strip() == "https://desk.example.com"


def test_what_is_safe_is_the_default() -> None:
    wanted = ("DEBUG", "DEMO", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT")
    code = f"from config import settings; print([getattr(settings, name) for name in {wanted}])"
    assert _run("-c", code, **_given()).stdout.strip() == "[False, False, True, True, True]"


def test_pages_get_a_short_statement_timeout_and_jobs_a_long_one() -> None:
    code = "from config import settings; print(settings.DATABASE_TIMEOUTS['statement_timeout'])"
    assert _run("-c", code, **_given(LOMBARD_EDGE="web")).stdout.strip() == "5s"
    assert _run("-c", code, **_given()).stdout.strip() == "60s"


def test_the_tests_themselves_run_as_the_application_role(db: None) -> None:
    """I-34"""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == (settings.DATABASE_APP_ROLE,)
    roles.refuse_unsafe_role()


def test_the_application_role_cannot_switch_the_triggers_off(db: None) -> None:
    """I-34"""
    with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
        connection.cursor().execute("SET session_replication_role = replica")
    with pytest.raises(DatabaseError, match="must be owner"), transaction.atomic():
        connection.cursor().execute("ALTER TABLE accounts_transfer DISABLE TRIGGER ALL")


def test_the_owner_may_not_serve(committed_db) -> None:  # type: ignore[no-untyped-def]
    """I-34: the web process stops before its first page."""
    done = _run("-c", "import config.wsgi", **_given(DATABASE_URL=committed_db.owner_url))
    assert done.returncode == 1
    assert "owns the tables, so it could switch off the guards" in done.stderr
    assert _run("-c", "import config.wsgi", **_given(DATABASE_URL=committed_db.url)).returncode == 0


def test_an_owner_that_may_not_make_roles_is_told_what_to_do() -> None:
    with pytest.raises(roles.UnsafeRole, match="create it yourself, then set DATABASE_URL"):
        roles.application_url(settings.DATABASE_OWNER_URL, known_url=None, role="lombard_unmade")


def test_a_known_application_address_that_still_opens_is_kept(db: None) -> None:
    here = settings.DATABASE_URL
    assert roles.application_url(settings.DATABASE_OWNER_URL, known_url=here) == here


def test_an_address_that_does_not_open_is_a_sentence() -> None:
    with pytest.raises(roles.UnsafeRole, match="does not open"):
        roles.application_url("postgresql://nobody:x@127.0.0.1:9/none", known_url=None)


def test_no_woken_job_outlives_its_period() -> None:
    for name, entry in TIMETABLE.items():
        expires = entry["options"]["expire_seconds"]
        if isinstance(entry["schedule"], crontab):
            assert expires <= 24 * 3600, name
        else:
            assert expires <= entry["schedule"].total_seconds(), name


def test_two_threads_of_a_committed_test_have_connections_of_their_own(committed_db, in_threads) -> None:  # type: ignore[no-untyped-def]
    def where() -> tuple[str, int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_database(), pg_backend_pid()")
            database, backend = cursor.fetchone()
        return database, backend

    found = in_threads([where] * 4)
    assert {database for database, _ in found} == {committed_db.name}
    assert len({backend for _, backend in found}) == 4
    with psycopg.connect(committed_db.url) as outside:
        assert outside.execute("SELECT current_database()").fetchone() == (committed_db.name,)
