"""A migrated database for the length of one command: never the configured one, dropped whatever happens.

The owner makes, migrates and drops it; in between, everything runs as the application role, under the guards.
A process that was killed leaves its database behind; the next one removes it.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from environ import Env
from psycopg import sql

DROP_TRIES = 20
PREFIX = "lombard_replay_"
IN_USE = 0x7265_706C  # any number that no other advisory lock uses


@contextmanager
def own_database() -> Iterator[Callable[[], None]]:
    """Work in a new, empty, migrated database; Django's default connection points at it meanwhile.

    Gives a function that lets the planner look at what was written so far. Autovacuum would, but only after a
    minute, and until then every join is planned for empty tables.

    Raises:
        CommandError: the owner's role may not make databases.
    """
    name = PREFIX + secrets.token_hex(6)
    with psycopg.connect(settings.DATABASE_OWNER_URL, autocommit=True) as owner:
        _mark_in_use(owner, name)
        _drop_forgotten(owner)
        try:
            _create(owner, name)
            with _default_connection_on(name, settings.DATABASE_OWNER_URL, options={}):
                call_command("migrate", verbosity=0)
            with _default_connection_on(name, settings.DATABASE_URL):
                yield lambda: _analyse(name)
        finally:
            _drop(owner, name)


def _create(owner: psycopg.Connection, name: str) -> None:
    try:
        owner.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    except psycopg.errors.InsufficientPrivilege as error:
        raise CommandError(
            "The owner's database role may not create the database that this command works in; "
            "give it CREATEDB, or set DATABASE_OWNER_URL to a role that has it."
        ) from error
    # What a crash would lose is lost anyway; without this every commit waits for the disk.
    owner.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(sql.Identifier(name)))


def _analyse(name: str) -> None:
    with psycopg.connect(settings.DATABASE_OWNER_URL, dbname=name, autocommit=True) as owner:
        owner.execute("ANALYZE")


def _drop(owner: psycopg.Connection, name: str) -> None:
    """Try for a while: a worker of autovacuum that is in there is the superuser's, not ours to end."""
    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    for _ in range(DROP_TRIES):
        try:
            owner.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            time.sleep(0.5)
        else:
            return
    owner.execute(statement)


def _mark_in_use(owner: psycopg.Connection, name: str) -> None:
    """Held as long as this connection lives, so that nobody takes the database for a forgotten one."""
    owner.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [IN_USE, name])


def _drop_forgotten(owner: psycopg.Connection) -> None:
    rows = owner.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [PREFIX]
    ).fetchall()
    for (name,) in rows:
        [free] = owner.execute(
            "SELECT pg_try_advisory_lock(%s, hashtext(%s))", [IN_USE, name]
        ).fetchone() or [0]
        if free:
            _drop(owner, name)


@contextmanager
def _default_connection_on(name: str, url: str, **changes: object) -> Iterator[None]:
    """Point Django's default connection at the database `name` as the role of `url`."""
    target = connections["default"].settings_dict
    before = dict(target)
    found = Env.db_url_config(url)
    connections.close_all()
    target.update({key: found[key] for key in ("HOST", "PORT", "USER", "PASSWORD")}, NAME=name)
    target.update({key.upper(): value for key, value in changes.items()})
    try:
        yield
    finally:
        connections.close_all()
        target.update(before)
