"""The description of /api/v1, as a file and as a page; neither says anything that is anybody's."""

from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import guide


@cache
def described() -> dict[str, Any]:
    """OpenAPI, the same for everybody; made once, as it takes a good part of a second."""
    found: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return found


class Schema(SpectacularAPIView):
    """YAML, or JSON where the Accept header asks for it."""

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(described())


class JsonSchema(Schema):
    renderer_classes = (OpenApiJsonRenderer2,)  # application/json, which browsers show


def page(request: HttpRequest) -> HttpResponse:
    """The same description for people: nothing to run, every operation and every shape has an address."""
    document = described()
    context = {
        "parts": guide.parts(document, base=request.build_absolute_uri("/").rstrip("/")),
        "shapes": guide.shapes(document),
        "refusals": guide.REFUSALS,
    }
    return render(request, "api/docs.html", context)
