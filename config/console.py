"""The admin console as a site: people sign in at the desk's own door, and only the desk's own models are shown.

Other packages register models too, two-step secrets and the job timetable among them; nobody reads or edits those here.
"""

from typing import Any
from urllib.parse import urlencode

from django.apps import AppConfig
from django.contrib import admin
from django.contrib.admin import sites
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

OURS = ("accounts", "risk", "loans")


class Console(UnfoldAdminSite):
    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        models = model_or_iterable if isinstance(model_or_iterable, list | tuple) else [model_or_iterable]
        ours = [model for model in models if model._meta.app_label in OURS]
        if ours:
            super().register(ours, admin_class, **options)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """There is one sign-in page. Who is signed in and still has no right to be here is told so."""
        if request.user.is_authenticated:
            raise PermissionDenied("The console is for staff.")
        where = urlencode({"next": request.GET.get("next") or reverse("admin:index")})
        return redirect(f"{reverse('account_login')}?{where}")

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return redirect("account_change_password")


class ConsoleConfig(AppConfig):
    """Stands in for unfold's own, which would install its site."""

    name = "unfold"

    def ready(self) -> None:
        site = Console()
        admin.site = sites.site = site
