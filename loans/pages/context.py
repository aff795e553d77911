"""The demo's logins, for the sign-in page of a demo and for nothing else."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from loans.demo import cast


def demo(request: HttpRequest) -> dict[str, Any]:
    """`demo_logins`: who may sign in and what they see, with one password for all. Empty outside a demo."""
    if not settings.DEMO:
        return {"demo": False, "demo_logins": []}
    return {"demo": True, "demo_logins": cast.logins(), "demo_password": cast.PASSWORD}
