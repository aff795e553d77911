"""The description of the exchange's dialect, for whoever asks; it says nothing that is anybody's."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from accounts.sapi import schema


@require_safe
def described(request: HttpRequest) -> JsonResponse:
    """OpenAPI 3.1 of everything under /sapi and /api/v3."""
    return JsonResponse(schema.describe())
