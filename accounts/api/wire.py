"""What comes in and goes out on our own API: strict JSON, amounts and rates as text, ids as numbers."""

import json
import re
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.http import RawPostDataException
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from accounts.commands import BadKey
from accounts.errors import BadAmount
from accounts.models import UID_LIMIT, Asset
from accounts.money import exact, parse_amount, round_down

LARGEST: Final = 64 * 1024  # bytes
KEY_HEADER: Final = "Idempotency-Key"
_FRACTION: Final = re.compile(r"(0|[1-9][0-9]{0,8})(\.[0-9]{1,12})?", re.ASCII)
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)


class StrictJSON(BaseParser):
    """One JSON object: no NaN, no key twice, numbers exact, at most 64 KB."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        try:
            raw = stream.read(LARGEST + 1)
            if len(raw) > LARGEST:
                raise ParseError(f"A request has at most {LARGEST} bytes.")
            found = json.loads(raw, parse_float=Decimal, parse_constant=_refused, object_pairs_hook=_unique)
            _refuse_half_characters(found)
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


class Nothing(Body):
    """A write without fields."""


class Query(Body):
    """The parameters after the question mark: those named and no other, each at most once. Their values are text."""


class Amount(serializers.Field[Decimal, Any, str, Any]):
    """An amount above 0 as text, at most 17 digits before the point and 8 after (accounts/money.py)."""

    def to_internal_value(self, data: Any) -> Decimal:
        try:
            return parse_amount(data, places=8)
        except BadAmount as bad:
            raise serializers.ValidationError(bad.message) from None

    def to_representation(self, value: Decimal) -> str:
        return plain(value) or "0"


class Fraction(serializers.Field[Decimal, Any, str | None, Any]):
    """A rate, ratio or LTV as a fraction in text, 0 or more: "0.72" is 72 %. At most 12 decimals."""

    def to_internal_value(self, data: Any) -> Decimal:
        if not isinstance(data, str) or not _FRACTION.fullmatch(data):
            raise serializers.ValidationError(
                "Send a fraction as text in plain digits, at most 12 after the point, such as 0.72."
            )
        return Decimal(data)

    def to_representation(self, value: Decimal) -> str | None:
        return plain(value)


class Figure(serializers.Field[Decimal, Any, str | None, Any]):
    """An amount or value that goes out, as text; corrections may be below 0. `places`: rounded down there."""

    def __init__(self, *, places: int | None = None, **options: Any) -> None:
        super().__init__(read_only=True, **options)
        self.places = places

    def to_representation(self, value: Decimal) -> str | None:
        return plain(value if self.places is None else round_down(value, self.places))


class Choice(serializers.ChoiceField):
    """One of a few words. A refusal names them, and does not repeat what was sent."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or data not in self.choice_strings_to_values:
            raise serializers.ValidationError(
                f"Choose one of these: {', '.join(self.choice_strings_to_values)}."
            )
        return super().to_internal_value(data)


class Number(serializers.IntegerField):
    """A whole number: in a body a JSON number, in a query plain digits."""

    def to_internal_value(self, data: Any) -> int:
        is_asked = isinstance(data, str) and isinstance(self.parent, Query)
        if is_asked and not (data.isascii() and data.isdigit() and len(data) <= 18):
            raise serializers.ValidationError("Send a whole number in plain digits.")
        if not is_asked and (isinstance(data, bool) or not isinstance(data, int)):
            raise serializers.ValidationError("Send a whole number.")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    """true or false: in a body as JSON has them, in a query as these words."""

    def to_internal_value(self, data: Any) -> bool:
        if isinstance(self.parent, Query):
            data = {"true": True, "false": False}.get(data, data)
        if not isinstance(data, bool):
            raise serializers.ValidationError("Send true or false.")
        return data


class Instant(serializers.DateTimeField):
    """A time with its zone, as ISO 8601 writes it: 2026-01-31T12:00:00Z."""

    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str) or not _INSTANT.fullmatch(value):
            raise serializers.ValidationError("Send a time with its zone, such as 2026-01-31T12:00:00Z.")
        found = super().to_internal_value(value)
        if not 2000 <= found.year <= 2100:
            raise serializers.ValidationError("Send a time from 2000 to 2100.")
        return found


class Coin(serializers.Field[str, Any, str, Any]):
    """The symbol of a coin that is known here, such as BTC."""

    def to_internal_value(self, data: Any) -> str:
        is_symbol = isinstance(data, str) and data.isascii() and data.isalnum() and len(data) <= 20
        if not is_symbol or not Asset.objects.filter(pk=data).exists():
            raise serializers.ValidationError("There is no such coin here; send its symbol, such as BTC.")
        return str(data)

    def to_representation(self, value: Any) -> str:
        return str(value.pk if isinstance(value, Asset) else value)


class Spread(Fraction):
    """As `Fraction`, and below 0 too: what is added to a flexible rate may lower it."""

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, str) and data.startswith("-"):
            return -super().to_internal_value(data[1:])
        return super().to_internal_value(data)


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
        ValidationError: a field is missing, unknown or not what it should be, or the address has parameters.
    """
    if request.query_params:
        raise serializers.ValidationError(
            {name[:60]: ["Send it in the body; a write has no parameters."] for name in request.query_params}
        )
    body = form(data=request.data)
    body.is_valid(raise_exception=True)
    found: dict[str, Any] = dict(body.validated_data)
    return found


def asked(form: type[Query], request: Request) -> dict[str, Any]:
    """The request's query by `form`.

    Raises:
        ValidationError: a parameter is unknown, sent twice, or not what it should be.
    """
    sent = request.query_params
    twice = [name for name, values in sent.lists() if len(values) > 1]
    if twice:
        raise serializers.ValidationError({name[:60]: ["Send it once."] for name in twice[:20]})
    query = form(data=sent.dict())
    query.is_valid(raise_exception=True)
    found: dict[str, Any] = dict(query.validated_data)
    return found


def key_of(request: Request) -> str:
    """The caller's idempotency key; empty when none was sent. R-GEN-06

    Raises:
        BadKey: the header is there and empty; who sends it believes in being protected.
    """
    key = request.headers.get(KEY_HEADER)
    if key is not None and not key.strip():
        raise BadKey("The request key is empty: send 1 to 64 plain characters, or no key.")
    return str(key or "")


@exact
def plain(value: Decimal | None) -> str | None:
    """A figure as text without trailing zeros."""
    if value is None:
        return None
    text = f"{value:f}"  # not normalize(), which would round what has more than 28 digits
    return text.rstrip("0").rstrip(".") if "." in text else text


def _refused(name: str) -> Any:
    raise ValueError(name)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key twice")
    return found


def _refuse_half_characters(found: Any) -> None:
    """JSON can write half of a character as an escape; no text that is stored or answered can hold it."""
    waiting = [found]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            value.encode()
        elif isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value
