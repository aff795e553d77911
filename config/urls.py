"""Every address of the desk. The pages of an app are found where the app keeps them."""

from importlib.util import find_spec

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

_pages = [f"{app}.pages.urls" for app in ("accounts", "risk", "loans") if find_spec(f"{app}.pages")]

urlpatterns = [
    path("admin/", admin.site.urls),
    path("favicon.ico", RedirectView.as_view(url=static("icon.svg"))),  # asked for by the browser unasked
    path("accounts/", include("allauth.urls")),
    *[path("", include(module)) for module in _pages if find_spec(module)],
]
