"""How /api/v1 describes itself (OpenAPI): every operation with its error shape, every write with its key."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from accounts.api.wire import KEY_HEADER
from accounts.words import Words


def in_english(result: Any, **_: Any) -> Any:
    """Labels in the description as plain text: programs read English, and YAML knows no other kind of text."""
    if isinstance(result, dict):
        return {in_english(key): in_english(value) for key, value in result.items()}
    if isinstance(result, list | tuple):
        return [in_english(value) for value in result]
    return result.english if isinstance(result, Words) else result


class FieldProblem(serializers.Serializer[Any]):
    """One of several reasons, on a field of the request."""

    field = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """Why not: a stable code, and words for people."""

    code = serializers.CharField()
    message = serializers.CharField()
    fields = serializers.DictField(required=False)  # type: ignore[assignment]  # the name on the wire
    problems = FieldProblem(many=True, required=False)


READ_REFUSALS = ("400", "401", "403", "404", "429", "503")
REFUSALS = (*READ_REFUSALS, "409", "415")
SAFE = ("GET", "HEAD", "OPTIONS")


class Described(AutoSchema):
    def get_override_parameters(self) -> list[Any]:
        if self.method in SAFE:
            return []
        return [
            OpenApiParameter(
                KEY_HEADER,
                {"type": "string", "pattern": "^[ -~]{1,64}$"},
                OpenApiParameter.HEADER,
                description="1 to 64 plain characters; the same key again gets the first outcome.",
            )
        ]

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        """What the operation says of itself, and the refusals that every one of its kind has."""
        found: dict[str, Any] = super()._get_response_bodies(direction)
        for code in READ_REFUSALS if self.method in SAFE else REFUSALS:
            if code not in found:
                found[code] = self._get_response_for_code(Problem, code, direction=direction)
        return dict(sorted(found.items()))

    def _get_serializer_name(self, serializer: Any, direction: Any, bypass_extensions: bool = False) -> str:
        """Shapes that stand inside their view are named after it too: `Repay.Input` is RepayInput."""
        kind = serializer if isinstance(serializer, type) else type(serializer)
        if "." in kind.__qualname__ and "<locals>" not in kind.__qualname__:
            return str(kind.__qualname__.replace(".", ""))
        return str(super()._get_serializer_name(serializer, direction, bypass_extensions))


class BearerScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.api.access.Bearer"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.api.access.Session"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


class _Shape(OpenApiSerializerFieldExtension):
    """What a field of ours looks like on the wire."""

    shape: dict[str, Any] = {}

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        return dict(self.shape)


class AmountShape(_Shape):
    target_class = "accounts.api.wire.Amount"
    shape = {
        "type": "string",
        "pattern": r"^(0|[1-9][0-9]{0,16})(\.[0-9]{1,8})?$",
        "description": "Above 0, in plain digits.",
        "example": "1250.5",
    }


class FractionShape(_Shape):
    target_class = "accounts.api.wire.Fraction"
    shape = {
        "type": "string",
        "pattern": r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,12})?$",
        "description": "A fraction: 0.72 is 72 %.",
        "example": "0.72",
    }


class CoinShape(_Shape):
    target_class = "accounts.api.wire.Coin"
    shape = {"type": "string", "pattern": "^[A-Za-z0-9]{1,20}$", "example": "BTC"}


class FigureShape(_Shape):
    target_class = "accounts.api.wire.Figure"
    shape = {"type": "string", "pattern": r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$", "example": "1250.5"}


class SpreadShape(_Shape):
    target_class = "accounts.api.wire.Spread"
    shape = {
        "type": "string",
        "pattern": r"^-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,12})?$",
        "description": "A fraction, below 0 too: -0.005 takes half a percent off.",
        "example": "-0.005",
    }
