"""The description of /api/v1, as a file and as a page; neither says anything that is anybody's."""

from functools import cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response


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


class Docs(SpectacularSwaggerSplitView):
    """Swagger UI from our own static files, without anything inline: the content policy holds here too."""

    url_name = "api_schema_json"
    template_name = "api/docs.html"
