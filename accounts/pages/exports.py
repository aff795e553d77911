"""One's own exports: how far each is, and the finished file. Others' do not exist."""

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from accounts import exports
from accounts.models import Export
from accounts.pages.access import user_of

PER_PAGE = 25


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    page = Paginator(exports.visible_to(user_of(request)), PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "accounts/exports.html", {"page": page})


@require_safe
@login_required
def export(request: HttpRequest, export_id: int) -> HttpResponse:
    """Asked again every second by the page itself while the file is being made."""
    row = get_object_or_404(exports.visible_to(user_of(request)), pk=export_id)
    is_partial = request.headers.get("HX-Target") == "export"
    waits = row.status in {Export.Status.QUEUED, Export.Status.RUNNING}
    percent = min(99, 100 * row.done // row.total) if row.total else 0
    template = "accounts/_export.html" if is_partial else "accounts/export.html"
    return render(request, template, {"export": row, "waits": waits, "percent": percent})


@require_safe
@login_required
def download(request: HttpRequest, export_id: int) -> HttpResponse:
    done = exports.visible_to(user_of(request)).filter(status=Export.Status.DONE)
    row = get_object_or_404(done, pk=export_id)
    name = row.file_name.replace('"', "").replace("\\", "")
    return HttpResponse(
        bytes(row.content or b""),
        content_type=row.content_type,
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
        },
    )
