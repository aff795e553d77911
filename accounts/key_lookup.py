"""A key with all that says who calls by it, in one statement: every signed request begins with this question.

The rows become the models that commands know; written out, since to have Django compose this statement takes as long
as to run it.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from django.db import connection, models

from accounts.models import Account, ApiKey, ApiKeyUse, Customer, Membership, User
from accounts.words import joined


def of_member(key: str) -> tuple[ApiKey, Membership] | None:
    """The key with account, customer, user and last use, and what its active user acts for; None: there is no such.

    Whether the key is in force, and for which accounts its member acts, is the caller's to judge.
    """
    statement, readers = _written()
    with connection.cursor() as cursor:
        cursor.execute(statement, [key])
        found = cursor.fetchone()
    if found is None:
        return None
    rest: Sequence[Any] = found
    rows: list[Any] = []
    for width, read in readers:
        rows.append(read(rest[:width]))
        rest = rest[width:]
    row, account, customer, user, mine, use = rows
    account.customer = mine.customer = customer
    row.account, row.user, mine.user = account, user, user
    if mine.account_id == account.pk:
        mine.account = account
    if use is not None:
        use.api_key = row  # also what `row.use` finds
    return row, mine


@cache
def _written() -> tuple[str, tuple[tuple[int, Callable[[Sequence[Any]], Any]], ...]]:
    """The statement, and for each of its tables how many columns it has and what makes a row of them."""
    parts = {"k": ApiKey, "a": Account, "c": Customer, "u": User, "m": Membership, "s": ApiKeyUse}
    columns = [f'{name}."{field.column}"' for name, model in parts.items() for field in _fields(model)]
    # The key first, whatever the planner believes of keys: of a few it would look through all accounts for theirs.
    statement = f"""
        WITH k AS MATERIALIZED (SELECT * FROM {ApiKey._meta.db_table} WHERE key = %s)
        SELECT {joined(", ", columns)} FROM k
        JOIN {Account._meta.db_table} a ON a.uid = k.account_id
        JOIN {Customer._meta.db_table} c ON c.id = a.customer_id
        JOIN {User._meta.db_table} u ON u.id = k.user_id AND u.is_active
        JOIN {Membership._meta.db_table} m ON m.user_id = u.id AND m.customer_id = c.id
        LEFT JOIN {ApiKeyUse._meta.db_table} s ON s.api_key_id = k.id"""  # noqa: S608  the names of our own tables and columns
    return statement, tuple((len(_fields(model)), _reader(model)) for model in parts.values())


def _fields(model: type[models.Model]) -> "list[models.Field[Any, Any]]":
    return list(model._meta.concrete_fields)


def _reader(model: type[models.Model]) -> Callable[[Sequence[Any]], models.Model | None]:
    """What makes a row of `model` from its columns; None of a row that the join did not find."""
    names = [field.attname for field in _fields(model)]
    key = names.index(model._meta.pk.attname)
    converted = [
        (number, field, field.get_db_converters(connection))
        for number, field in enumerate(_fields(model))
        if field.get_db_converters(connection)
    ]

    def read(values: Sequence[Any]) -> models.Model | None:
        if values[key] is None:
            return None
        read_values = list(values)
        for number, field, converters in converted:
            read_values[number] = _through(converters, field, values[number])
        return model.from_db(connection.alias, names, read_values)

    return read


def _through(converters: Iterable[Callable[..., Any]], field: "models.Field[Any, Any]", value: Any) -> Any:
    for convert in converters:
        value = convert(value, field, connection)
    return value
