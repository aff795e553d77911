"""What every page of the admin console has in common: nothing is edited in place, changes are commands with a reason.

The console looks at tables. What may be changed at all is a small form that makes one call to a command, the
same one the desk uses, so the same rules refuse and the same audit rows are written.
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import uuid4

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action
from unfold.paginator import InfinitePaginator
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminEmailInputWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from accounts.commands import Actor
from accounts.errors import Refused
from accounts.models import Approval, User
from accounts.money import exact
from accounts.templatetags import figures

REFUSED = 422


class ReadOnly(ModelAdmin):
    """Rows to look at. Nobody adds, changes or deletes one, whatever their role."""

    list_per_page = 50
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


class History(ReadOnly):
    """A table that grows for ever: it is never counted, and read from the newest row on."""

    paginator = InfinitePaginator
    ordering = ("-pk",)


class Rows(TabularInline):
    """Rows of a row, to look at. `related` is read along, so that a long list costs one query."""

    related: tuple[str, ...] = ()
    extra = 0
    max_num = 0
    can_delete = False
    show_change_link = False
    show_title = False

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


if hasattr(TabularInline, "hide_title"):  # what django-unfold calls it on Python 3.11
    Rows.hide_title = True


def figure(field: str, title: str, *, asset: str = "asset_id") -> Any:
    """A column with an amount exactly as booked; `asset` names the field of its unit, "" for USD."""

    def column(_admin: Any, row: Any) -> str:
        value = getattr(row, field)
        unit = getattr(row, asset) if asset else "USD"
        return "" if value is None else figures.plain(value, unit or "")

    return admin.display(description=title, ordering=field)(column)


def percent(field: str, title: str) -> Any:
    """A column with a fraction as an exact percentage."""

    def column(_admin: Any, row: Any) -> str:
        value = getattr(row, field)
        return "" if value is None else figures.line(value)

    return admin.display(description=title, ordering=field)(column)


# --- Commands behind a form -------------------------------------------------------------------------------

WIDGETS: list[tuple[type[forms.Field], Callable[[], forms.Widget]]] = [
    (forms.BooleanField, UnfoldBooleanWidget),
    (forms.IntegerField, UnfoldAdminIntegerFieldWidget),
    (forms.EmailField, UnfoldAdminEmailInputWidget),
]


class CommandForm(forms.Form):
    """The arguments of a command. Every one of them asks for a reason and carries a key of its own."""

    reason = forms.CharField(
        label="Reason", max_length=500, help_text="Kept in the audit trail with your name.", strip=True
    )
    key = forms.UUIDField(widget=forms.HiddenInput(), initial=uuid4)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            _dress(name, field)
        self.order_fields([name for name in self.fields if name not in {"reason", "key"}] + ["reason", "key"])


def _dress(name: str, field: forms.Field) -> None:
    """Give a plain Django field the console's clothes."""
    if isinstance(field.widget, forms.HiddenInput):
        return
    if isinstance(field, forms.ChoiceField | forms.ModelChoiceField):
        field.widget = UnfoldAdminSelectWidget(choices=field.choices)
        return
    if isinstance(field.widget, forms.Textarea) or name == "reason":
        field.widget = UnfoldAdminTextareaWidget(attrs={"rows": 2 if name == "reason" else 6})
        return
    made = next((widget for kind, widget in WIDGETS if isinstance(field, kind)), UnfoldAdminTextInputWidget)
    field.widget = made()


class RateField(forms.DecimalField):
    """A percentage as people write it, 8.4; becomes the fraction 0.084, exactly."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"max_digits": 14, "decimal_places": 10} | options))
        self.widget = UnfoldAdminDecimalFieldWidget()

    @exact
    def clean(self, value: Any) -> Any:
        percentage = super().clean(value)
        return None if percentage is None else percentage / Decimal(100)


Method = TypeVar("Method", bound=Callable[..., Any])


def button(
    *, title: str, path: str, permissions: tuple[str, ...] = ("command",)
) -> Callable[[Method], Method]:
    """A page of a table or a row, reached by a button; only for those with the permissions named."""
    made: Callable[[Method], Method] = action(description=title, url_path=path, permissions=permissions)
    return made


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
    site: ModelAdmin,
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
