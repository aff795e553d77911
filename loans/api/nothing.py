"""What is asked for under /api/v1 and is not there: answered like everything else here, in JSON, not redirected."""

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.edge import Edge


class Nothing(Edge):
    schema = None  # no operation of the API's description

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        super().initial(request, *args, **kwargs)
        raise Http404

    def get(self, request: Request) -> Response:
        raise Http404
