"""What comes in and goes out on our own API: strict JSON, amounts and rates as text, ids as numbers."""

import json
from decimal import Decimal
from typing import Any, Final

from django.http import RawPostDataException
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from accounts.errors import BadAmount
from accounts.models import UID_LIMIT
from accounts.money import parse_amount

LARGEST: Final = 64 * 1024  # bytes
KEY_HEADER: Final = "Idempotency-Key"


class StrictJSON(BaseParser):
    """One JSON object: no NaN, no key twice, numbers exact, at most 64 KB."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        try:
            raw = stream.read(LARGEST + 1)
            if len(raw) > LARGEST:
                raise ParseError(f"A request has at most {LARGEST} bytes.")
            found = json.loads(raw, parse_float=Decimal, parse_constant=_refused, object_pairs_hook=_unique)
        except (ValueError, RecursionError, RawPostDataException):
            raise ParseError("The body is no JSON object.") from None
        if not isinstance(found, dict):
            raise ParseError("The body is one JSON object.")
        return found


class Body(serializers.Serializer[Any]):
    """A request's fields: those named and no other."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = set(data) - set(self.fields) if isinstance(data, dict) else set()
        if unknown:
            known = ", ".join(sorted(self.fields)) or "none"
            raise serializers.ValidationError(
                {name[:60]: [f"There is no such field; these are: {known}."] for name in sorted(unknown)[:20]}
            )
        return super().to_internal_value(data)


class Amount(serializers.Field[Decimal, Any, str, Any]):
    """An amount above 0 as text, at most 17 digits before the point and 8 after (accounts/money.py)."""

    def to_internal_value(self, data: Any) -> Decimal:
        try:
            return parse_amount(data, places=8)
        except BadAmount as bad:
            raise serializers.ValidationError(bad.message) from None

    def to_representation(self, value: Decimal) -> str:
        return plain(value) or "0"


class Uid(serializers.IntegerField):
    """An id: a whole number from 1 to below 2^53, not text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=1, max_value=UID_LIMIT - 1, **options)

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            raise serializers.ValidationError("Send the id as a whole number.")
        return super().to_internal_value(data)


class Line(serializers.CharField):
    """Text without control characters."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("Send text.")
        text = super().to_internal_value(data)
        if any(not character.isprintable() and character not in "\n\r\t" for character in text):
            raise serializers.ValidationError("Text has no control characters.")
        return text


def read(form: type[Body], request: Request) -> dict[str, Any]:
    """The request's body by `form`.

    Raises:
        ValidationError: a field is missing, unknown or not what it should be.
    """
    body = form(data=request.data)
    body.is_valid(raise_exception=True)
    found: dict[str, Any] = dict(body.validated_data)
    return found


def key_of(request: Request) -> str:
    """The caller's idempotency key; empty when none was sent. R-GEN-06"""
    return str(request.headers.get(KEY_HEADER, ""))


def plain(value: Decimal | None) -> str | None:
    """A figure as text without trailing zeros."""
    return None if value is None else f"{value.normalize():f}"


def _refused(name: str) -> Any:
    raise ValueError(name)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key twice")
    return found
