"""The admin console as a site: Django's own admin in the desk's clothes, with only the desk's own models.

People sign in at the desk's own door. Other packages register models too, two-step secrets and the job timetable among
them; nobody reads or edits those here. What may be changed at all is a command (accounts/console.py).
"""

from typing import Any
from urllib.parse import urlencode

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.apps import AdminConfig
from django.contrib.auth import logout
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect, render
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils import timezone

OURS = ("accounts", "risk", "loans")


class Console(admin.AdminSite):
    site_title = site_header = "Lombard"
    index_title = "Console"
    enable_nav_sidebar = False

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        models = model_or_iterable if isinstance(model_or_iterable, list | tuple) else [model_or_iterable]
        ours = [model for model in models if model._meta.app_label in OURS]
        if ours:
            super().register(ours, admin_class, **options)

    def get_urls(self) -> list[URLResolver | URLPattern]:
        return [path("jobs/", self.admin_view(self.jobs), name="jobs"), *super().get_urls()]

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """What every page of the console shows around itself: the tables stand on the front page and nowhere else."""
        named = [(label, apps.get_app_config(label).verbose_name) for label in OURS]
        parts = [(reverse("admin:app_list", args=[label]), name) for label, name in named]
        return {"site_title": self.site_title, "has_permission": self.has_permission(request), "parts": parts}

    def index(  # type: ignore[override]  # Django's stubs promise a TemplateResponse, Django does not
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Is everything as it should be? And every table there is."""
        from loans import console  # models are not loaded yet when settings name this module

        tables = {"app_list": self.get_app_list(request)}
        context = self.each_context(request) | tables | console.front_page(at=timezone.now())
        return render(request, "admin/index.html", context | (extra_context or {}))

    def jobs(self, request: HttpRequest) -> HttpResponse:
        """Every job of the timetable: when it last ran, how that went, and by how much it is late."""
        from accounts import jobs

        at = timezone.now()
        found = jobs.standing(at=at)
        context = {"at": at, "jobs": found, "bad": sum(job.is_bad for job in found)}
        no_run = {"no_run": all(job.run is None for job in found)}
        return render(request, "admin/jobs.html", self.each_context(request) | context | no_run)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """There is one sign-in page. Who is signed in and still has no right to be here is told so."""
        if request.user.is_authenticated:
            raise PermissionDenied("The console is for staff.")
        where = urlencode({"next": request.GET.get("next") or reverse("admin:index")})
        return redirect(f"{reverse('account_login')}?{where}")

    def logout(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        logout(request)
        return redirect("account_login")

    def password_change(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return redirect("account_change_password")

    def password_change_done(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return redirect("account_change_password")


class ConsoleConfig(AdminConfig):
    default_site = "config.console.Console"
