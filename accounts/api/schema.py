"""How /api/v1 describes itself (OpenAPI): every operation with its error shape, every write with its key."""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from accounts.api.wire import KEY_HEADER


class Problem(serializers.Serializer[Any]):
    """Why not: a stable code, and words for people."""

    code = serializers.CharField()
    message = serializers.CharField()
    fields = serializers.DictField(required=False)  # type: ignore[assignment]  # the name on the wire


REFUSALS = ("400", "401", "403", "404", "405", "409", "415", "503")


class Described(AutoSchema):
    def get_override_parameters(self) -> list[Any]:
        if self.method in ("GET", "HEAD", "OPTIONS"):
            return []
        return [
            OpenApiParameter(
                KEY_HEADER,
                str,
                OpenApiParameter.HEADER,
                description="1 to 64 plain characters; the same key again gets the first outcome.",
            )
        ]

    def get_response_serializers(self) -> Any:
        found = super().get_response_serializers()
        answers = found if isinstance(found, dict) else {"200": found}
        return {**dict.fromkeys(REFUSALS, Problem), **{str(k): v for k, v in answers.items()}}
