"""Every address of the desk. The pages of an app are found where the app keeps them."""

from importlib import import_module
from importlib.util import find_spec

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from django.views.i18n import set_language

from accounts.pages import security
from accounts.sapi.door import door

_pages = [f"{app}.pages.urls" for app in ("accounts", "risk", "loans") if find_spec(f"{app}.pages")]

_native = [f"{app}.api.urls" for app in ("accounts", "risk", "loans") if find_spec(f"{app}.api")]
for app in ("accounts", "risk", "loans"):
    if find_spec(f"{app}.sapi"):
        import_module(f"{app}.sapi")  # registers its endpoints

handler500 = "config.errors.broken"

urlpatterns = [
    re_path(r"^[/]*sapi(?:/[\s\S]*)?$", door),  # whatever follows: its errors are JSON
    re_path(r"^[/]*api/+v3(?:/[\s\S]*)?$", door),
    *[path("api/v1/", include(module)) for module in _native if find_spec(module)],
    path("admin/", admin.site.urls),
    path("favicon.ico", RedirectView.as_view(url=static("icon.svg"))),  # asked for by the browser unasked
    path(
        "accounts/sessions/", RedirectView.as_view(pattern_name="accounts:security")
    ),  # the library's own list
    path("accounts/email/", security.addresses),  # the library's page, signed by its reader
    path("accounts/", include("allauth.urls")),
    path("language/", set_language, name="set_language"),
    *[path("", include(module)) for module in _pages if find_spec(module)],
]
