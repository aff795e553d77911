"""The two database roles: an owner that migrates, and an application role that may not switch a guard off.

A superuser or an owner could disable every trigger that keeps the books true, so the application refuses to
serve as either (I-34). What the application role may touch is granted by the migrations.
"""

import secrets
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

OWNER = "lombard_owner"
APPLICATION = "lombard_app"


class UnsafeRole(SystemExit):
    """The application's database role could switch the guards off, or could not be made."""


def create(*, administrator: str, owner_password: str, application_password: str, database: str) -> None:
    """Make both roles and the owner's database, as the administrator at that address. Safe to repeat."""
    with psycopg.connect(administrator, autocommit=True) as connection:
        _ensure_login(connection, OWNER, owner_password)
        # Tests and the replay make databases of their own.
        connection.execute(sql.SQL("ALTER ROLE {} CREATEDB").format(sql.Identifier(OWNER)))
        _ensure_login(connection, APPLICATION, application_password)
        _let_end_connections(connection, of=APPLICATION, by=sql.Identifier(OWNER))
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
            make = sql.SQL("CREATE DATABASE {} OWNER {}")
            connection.execute(make.format(sql.Identifier(database), sql.Identifier(OWNER)))


def application_url(owner_url: str, *, known_url: str | None, role: str = APPLICATION) -> str:
    """The application role's address on an owner's database that somebody gave us.

    The known address is used when it still opens the same database; otherwise the role is made, or given a
    new password.

    Raises:
        UnsafeRole: the owner may not make roles.
    """
    if known_url and _same_place(known_url, owner_url) and _opens(known_url):
        return known_url
    password = secrets.token_urlsafe(32)
    try:
        with psycopg.connect(owner_url, autocommit=True) as connection:
            _ensure_login(connection, role, password)
            _let_end_connections(connection, of=role, by=sql.SQL("CURRENT_USER"))
    except psycopg.errors.InsufficientPrivilege:
        raise UnsafeRole(
            f"The owner in DATABASE_URL may not create the role {role}: create it yourself, then set "
            "DATABASE_URL to the address with that role and DATABASE_OWNER_URL to the owner's."
        ) from None
    except psycopg.OperationalError as error:
        raise UnsafeRole(f"The database in DATABASE_URL does not open: {str(error).strip()}") from None
    parts = urlsplit(owner_url)
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{role}:{quote(password, safe='')}@{place}").geturl()


def refuse_unsafe_role() -> None:
    """Stop the process when its database role is a superuser or owns our tables (I-34).

    Raises:
        UnsafeRole: always a reason to stop, never to be caught.
    """
    from django.db import connection  # only the served application needs Django; the launcher does not

    question = """
        SELECT current_user, rolsuper OR rolreplication OR rolcreaterole,
               EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace
                       AND relkind IN ('r', 'p') AND pg_has_role(current_user, relowner, 'MEMBER'))
          FROM pg_roles WHERE rolname = current_user
    """
    was_open = connection.connection is not None
    with connection.cursor() as cursor:
        cursor.execute(question)
        role, is_powerful, owns_tables = cursor.fetchone()
    if not was_open:
        connection.close()  # a worker forks after this; its children must not inherit the connection
    if is_powerful or owns_tables:
        power = "is a superuser or may make roles" if is_powerful else "owns the tables"
        raise UnsafeRole(
            f"The database role {role} {power}, so it could switch off the guards of the ledger: "
            "set DATABASE_URL to an application role and DATABASE_OWNER_URL to the owner's."
        )


def _ensure_login(connection: psycopg.Connection, role: str, password: str) -> None:
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    verb = sql.SQL("ALTER" if known else "CREATE")
    command = sql.SQL("{} ROLE {} LOGIN PASSWORD {}")
    connection.execute(command.format(verb, sql.Identifier(role), sql.Literal(password)))


def _let_end_connections(connection: psycopg.Connection, *, of: str, by: sql.Composable) -> None:
    """To drop a database of a test or a replay, its owner must be able to end the other's sessions."""
    connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(of), by))


def _same_place(one: str, other: str) -> bool:
    first, second = urlsplit(one), urlsplit(other)
    return (first.hostname, first.port, first.path) == (second.hostname, second.port, second.path)


def _opens(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
