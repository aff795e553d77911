"""The arguments of a proposed command, read back from the JSON that they were stored as.

A proposal keeps its command's arguments as plain JSON; the command wants `Decimal`, datetimes, rows and
dataclasses again. Its own type hints say which is which. What comes back must tell itself as the very same JSON,
or it is refused: nothing may be released that is not what was proposed (R-ADM-03, TRUST I-24).
"""

import types
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from django.apps import apps
from django.db import models
from django.utils.dateparse import parse_datetime, parse_duration

from accounts.commands import Registered, digest, told
from accounts.errors import Refused
from accounts.words import tell


class BadPayload(Refused):
    """The stored arguments are not those of the command any more."""

    code = "bad_payload"


UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, InvalidOperation)


def arguments_of(command: Registered, payload: Mapping[str, Any], *, payload_hash: str) -> dict[str, Any]:
    """The keyword arguments that `payload` tells, typed by the hints of the command's function and in its order.

    Raises:
        BadPayload: they cannot be read, a row they name is gone, or they are not what the hash names.
    """
    hints = get_type_hints(command.function)
    try:
        rebuilt = {name: read(hints[name], payload[name]) for name in sorted(payload, key=list(hints).index)}
    except (*UNREADABLE, models.ObjectDoesNotExist) as error:
        raise BadPayload(
            tell(
                "The arguments of {command} cannot be read any more ({error}); propose it anew.",
                command=command.name,
                error=error,
            )
        ) from error
    if digest(command.name, rebuilt) != payload_hash:
        raise BadPayload(
            tell(
                "The arguments of {command} are not those that were proposed; propose it anew.",
                command=command.name,
            )
        )
    return rebuilt


def read(hint: Any, plain: Any) -> Any:
    """The value of type `hint` that tells itself as `plain`.

    Raises:
        ValueError, TypeError, KeyError, InvalidOperation, ObjectDoesNotExist: there is none.
    """
    origin = get_origin(hint)
    if hint is Any or origin is Literal:
        return plain
    if origin in (Union, types.UnionType):
        return _one_of(get_args(hint), plain)
    if origin is not None:
        return _container(origin, get_args(hint), plain)
    if hint is type(None) or hint in (bool, int, str):
        if type(plain) is not hint:
            raise TypeError(f"{plain!r} is no {hint.__name__}")
        return plain
    if isinstance(hint, type) and is_dataclass(hint):
        types_of = get_type_hints(hint)
        known = {field.name for field in fields(hint) if field.init}
        return hint(**{name: read(types_of[name], value) for name, value in plain.items() if name in known})
    return _scalar(hint, plain)


def _scalar(hint: Any, plain: Any) -> Any:
    if not isinstance(plain, str):
        if isinstance(hint, type) and issubclass(hint, Enum):
            return hint(plain)
        raise TypeError(f"{plain!r} is no {hint}")
    if issubclass(hint, models.Model):
        label, _, pk = plain.partition(":")
        if label != hint._meta.label_lower:
            raise ValueError(f"{plain} is no {hint._meta.label_lower}")
        return apps.get_model(label)._default_manager.get(pk=pk)
    if issubclass(hint, (Enum, UUID, Decimal)):
        return hint(plain)
    if hint is timedelta or hint is datetime:
        found = parse_duration(plain) if hint is timedelta else parse_datetime(plain)
        if found is None:
            raise ValueError(f"{plain!r} is no {hint.__name__}")
        return found
    if hint is date or hint is time:
        return hint.fromisoformat(plain)
    raise TypeError(f"an argument of type {hint} cannot be proposed")


def _one_of(hints: Collection[Any], plain: Any) -> Any:
    """Rows first, since "accounts.asset:BTC" is a text too; then the first type that tells itself the same."""
    for hint in sorted(hints, key=lambda one: not _is_model(one)):
        try:
            value = read(hint, plain)
        except UNREADABLE:
            continue
        if told({"value": value}) == {"value": plain}:
            return value
    raise ValueError(f"{plain!r} is none of {', '.join(map(str, hints))}")


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, models.Model)


def _container(origin: Any, inner: tuple[Any, ...], plain: Any) -> Any:
    if issubclass(origin, Mapping):
        key, value = inner
        return {_key(key, name): read(value, each) for name, each in plain.items()}
    if not isinstance(plain, list):
        raise TypeError(f"{plain!r} is no list")
    if origin is tuple and inner[-1] is not Ellipsis:
        return tuple(read(hint, each) for hint, each in zip(inner, plain, strict=True))
    values = [read(inner[0], each) for each in plain]
    if origin in (set, frozenset):
        return origin(values)
    return tuple(values) if origin is tuple else values


def _key(hint: Any, name: str) -> Any:
    """JSON's keys are text, also where ours are numbers."""
    return int(name) if hint is int else read(hint, name)
