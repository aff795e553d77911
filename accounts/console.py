"""What every page of the admin console has in common: nothing is edited in place, changes are commands with a reason.

The console looks at tables. What may be changed at all is a small form that makes one call to a command, the
same one the desk uses, so the same rules refuse and the same audit rows are written.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.core.paginator import EmptyPage, Page, PageNotAnInteger, Paginator
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from accounts.commands import Actor
from accounts.errors import Refused
from accounts.models import Approval, AuditRecord, User
from accounts.money import exact
from accounts.templatetags import figures

if TYPE_CHECKING:  # generic for mypy only
    Table = admin.ModelAdmin[Any]
    Inline = admin.TabularInline[Any, Any]
    Pages = Paginator[Any]
else:
    Table, Inline, Pages = admin.ModelAdmin, admin.TabularInline, Paginator

REFUSED = 422
LAST_CHANGES = 100  # of a row; the whole trail is a table of its own
MANY = 2**31  # more rows than anybody pages through: "not counted"
FURTHEST = 100_000  # pages; behind it a database only skips rows

Method = TypeVar("Method", bound=Callable[..., HttpResponse])


@dataclass(frozen=True, slots=True)
class Button:
    """A page of a table or a row; only for those with the permissions named."""

    title: str
    path: str
    permissions: tuple[str, ...]


def button(
    *, title: str, path: str, permissions: tuple[str, ...] = ("command",)
) -> Callable[[Method], Method]:
    """Marks a method as the page behind a button, named in `actions_list` (a table) or `actions_detail` (a row)."""

    def marked(method: Method) -> Method:
        method.button = Button(title, path, permissions)  # type: ignore[attr-defined]
        return method

    return marked


class Buttons(Table):
    """Pages behind buttons: their addresses, who may open them, and the links that lead there."""

    actions_list: tuple[str, ...] = ()
    actions_detail: tuple[str, ...] = ()

    def get_urls(self) -> list[URLPattern]:
        own = [self._url(name, "") for name in self.actions_list]
        own += [self._url(name, "<path:object_id>/") for name in self.actions_detail]
        return own + super().get_urls()

    def _url(self, name: str, before: str) -> URLPattern:
        method = getattr(self, name)

        def guarded(request: HttpRequest, **keys: Any) -> HttpResponseBase:
            if not self._may(request, method.button, keys.get("object_id")):
                raise PermissionDenied
            answer: HttpResponseBase = method(request, **keys)
            return answer

        view = self.admin_site.admin_view(guarded)
        return path(f"{before}{method.button.path}/", view, name=self._named(name).removeprefix("admin:"))

    def _named(self, name: str) -> str:
        return f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}"

    def _may(self, request: HttpRequest, button: Button, object_id: object) -> bool:
        return all(
            getattr(self, f"has_{permission}_permission")(request, object_id)
            for permission in button.permissions
        )

    def _links(
        self, request: HttpRequest, names: tuple[str, ...], object_id: str | None
    ) -> list[tuple[str, str]]:
        found = [(name, getattr(self, name).button) for name in names]
        place = [object_id] if object_id else []
        return [
            (reverse(self._named(name), args=place), button.title)
            for name, button in found
            if self._may(request, button, object_id)
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        links = {"buttons": self._links(request, self.actions_list, None)}
        return super().changelist_view(request, links | (extra_context or {}))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        links = {"buttons": self._links(request, self.actions_detail, object_id)} if object_id else {}
        return super().changeform_view(request, object_id, form_url, links | (extra_context or {}))


class ReadOnly(Buttons):
    """Rows to look at. Nobody adds, changes or deletes one, whatever their role."""

    list_per_page = 50
    list_max_show_all = 0  # pages only: all of a table is an export's business
    show_full_result_count = False  # a count over a million rows is a page that waits
    show_facets = admin.ShowFacets.NEVER
    actions = None
    plural = ""  # where adding an s would be wrong

    def __init__(self, model: type[models.Model], admin_site: admin.AdminSite) -> None:
        super().__init__(model, admin_site)
        if (
            self.plural
        ):  # said here and not in the model: it is no fact of the database, so it needs no migration
            model._meta.verbose_name_plural = self.plural

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_command_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        """Who may publish and decide from here; nothing that moves money is a command of the console."""
        return (
            isinstance(request.user, User) and request.user.is_active and request.user.role == User.Role.ADMIN
        )

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """What the audit trail holds of this row, newest first; Django's own log knows nothing of commands."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        subject = f"{self.opts.db_table}:{row.pk}"
        records = AuditRecord.objects.filter(subject=subject).order_by("-pk")[:LAST_CHANGES]
        context = self.admin_site.each_context(request) | {
            "opts": self.opts,
            "original": row,
            "records": [(record, changes(record)) for record in records],
            "most": LAST_CHANGES,
        }
        return render(request, "admin/object_history.html", context | (extra_context or {}))


def changes(record: AuditRecord) -> list[tuple[str, Any, Any]]:
    """What a record of the trail changed: the column, what stood there, what stands there now."""
    before, after = record.before or {}, record.after or {}
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [(name, before.get(name), after.get(name)) for name in names]


class Endless(Pages):
    """Pages of a table nobody counts: one row more than a page holds says whether there is another."""

    count = MANY
    num_pages = FURTHEST
    goes_on = False

    def validate_number(self, number: Any) -> int:
        try:
            wanted = int(number)
        except (TypeError, ValueError) as error:
            raise PageNotAnInteger("That page number is not a number.") from error
        if not 1 <= wanted <= FURTHEST:
            raise EmptyPage("There is no such page.")
        return wanted

    def page(self, number: Any) -> "Page[Any]":
        wanted = self.validate_number(number)
        first = (wanted - 1) * self.per_page
        rows = list(self.object_list[first : first + self.per_page + 1])
        if not rows and wanted > 1:
            raise EmptyPage("There is no such page.")
        self.goes_on = len(rows) > self.per_page
        return Page(rows[: self.per_page], wanted, self)


class History(ReadOnly):
    """A table that grows for ever: it is never counted, and read from the newest row on."""

    paginator = Endless
    ordering = ("-pk",)


class Rows(Inline):
    """Rows of a row, to look at. `related` is read along, so that a long list costs one query."""

    related: tuple[str, ...] = ()
    extra = 0
    max_num = 0
    can_delete = False
    show_change_link = False

    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> "models.QuerySet[Any]":
        rows: models.QuerySet[Any] = super().get_queryset(request)
        return rows.select_related(*self.related)


# --- Figures in columns -----------------------------------------------------------------------------------


def figure(field: str, title: str, *, asset: str = "asset_id") -> Any:
    """A column with an amount exactly as booked; `asset` names the field of its unit, "" for USD."""

    def column(_admin: Any, row: Any) -> str:
        value = getattr(row, field)
        unit = getattr(row, asset) if asset else "USD"
        return "" if value is None else figures.plain(value, unit or "")

    column.number = True  # type: ignore[attr-defined]  # stands to the right
    return admin.display(description=title, ordering=field)(column)


def percent(field: str, title: str) -> Any:
    """A column with a fraction as an exact percentage."""

    def column(_admin: Any, row: Any) -> str:
        value = getattr(row, field)
        return "" if value is None else figures.line(value)

    column.number = True  # type: ignore[attr-defined]  # stands to the right
    return admin.display(description=title, ordering=field)(column)


# --- Commands behind a form -------------------------------------------------------------------------------


class CommandForm(forms.Form):
    """The arguments of a command. Every one of them asks for a reason and carries a key of its own."""

    reason = forms.CharField(
        label="Reason",
        max_length=500,
        help_text="Kept in the audit trail with your name.",
        widget=forms.Textarea({"rows": 2}),
    )
    key = forms.UUIDField(widget=forms.HiddenInput(), initial=uuid4)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.order_fields([name for name in self.fields if name not in {"reason", "key"}] + ["reason", "key"])


class RateField(forms.DecimalField):
    """A percentage as people write it, 8.4; becomes the fraction 0.084, exactly."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"max_digits": 14, "decimal_places": 10} | options))

    @exact
    def clean(self, value: Any) -> Any:
        percentage = super().clean(value)
        return None if percentage is None else percentage / Decimal(100)


Row = TypeVar("Row", bound=models.Model)


def row_or_404(model: type[Row], object_id: object) -> Row:
    """The row a button's address names; what is not a number names none."""
    number = str(object_id)
    if not (number.isascii() and number.isdecimal() and len(number) < 19):
        raise Http404
    return get_object_or_404(model, pk=number)


Run = Callable[[dict[str, Any]], models.Model | None]


def run_command(
    request: HttpRequest,
    site: ReadOnly,
    form: CommandForm,
    *,
    title: str,
    run: Run,
    back: str,
    verb: str = "Save with this reason",
) -> HttpResponse:
    """Show the form; when it is sent, make the one call; a refusal stays on the form (422).

    `run` gets the form's values with `actor`, `at`, `key` and `reason` among them, and returns the row it made: a
    proposal when a second person is needed.
    """
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data | {
            "key": str(form.cleaned_data["key"]),
            "actor": actor_of(request),
            "at": now(),
        }
        try:
            made = run(values)
        except Refused as refusal:
            if (
                refusal.code == "idempotency_key_reused"
            ):  # pressed twice; "at once" was another instant by then
                messages.warning(
                    request, "This form was sent before, and what it asked for is not done twice."
                )
                return redirect(back)
            form.add_error(None, refusal.message)
        else:
            messages.success(request, _told(made))
            return redirect(back)
    context = site.admin_site.each_context(request) | {
        "title": title,
        "form": form,
        "verb": verb,
        "opts": site.opts,
        "back": back,
    }
    return render(request, "admin/command.html", context, status=REFUSED if form.errors else 200)


def _told(made: models.Model | None) -> str:
    if isinstance(made, Approval):
        return f"{made} is proposed. It is done when somebody else releases it, under Four eyes on the desk."
    return "Done." if made is None else f"Done: {made}."


def now() -> datetime:
    return timezone.now()


def actor_of(request: HttpRequest) -> Actor:
    assert not isinstance(request.user, AnonymousUser)
    return Actor.user(request.user)
