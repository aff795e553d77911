"""What the console's tables show of a row: every value through the desk's own figures, every row it names as a link."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django import template
from django.contrib.admin.templatetags.admin_list import result_headers
from django.contrib.admin.utils import label_for_field, lookup_field, quote
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist
from django.db import models
from django.urls import reverse
from django.utils.safestring import SafeString

from accounts.templatetags import figures

register = template.Library()

ONE_LINE = 40
NUMBERS = (models.DecimalField, models.IntegerField, models.FloatField)


@dataclass(frozen=True, slots=True)
class Cell:
    """One value: its column's name, its text, the page of the row it names, and how it is drawn."""

    label: str
    text: str
    href: str = ""
    number: bool = False
    band: bool = False

    @property
    def long(self) -> bool:
        """Too long for one line of a table."""
        return len(self.text) > ONE_LINE and not isinstance(self.text, SafeString)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table, and where the whole of it is."""

    href: str
    cells: list[Cell]


@register.filter
def beside(row: Sequence[Any], headers: Sequence[str]) -> list[tuple[Any, str]]:
    """Each value with the name of its column, which a phone shows before it."""
    return list(zip(row, headers, strict=True))


@register.simple_tag
def list_head(cl: ChangeList) -> list[dict[str, Any]]:
    """The columns of a list with the address that sorts by each of them."""
    numbers = [_is_number(name, cl.model, cl.model_admin) for name in cl.list_display]
    labels = [_label(name, cl.model, cl.model_admin) for name in cl.list_display]
    found = []
    for header, label, number in zip(result_headers(cl), labels, numbers, strict=True):
        turned = "ascending" if header.get("ascending") else "descending"
        sort = turned if header.get("sorted") else ""
        href = header["url_primary"] if header["sortable"] else ""
        found.append({"text": label, "href": href, "sort": sort, "number": number})
    return found


@register.simple_tag
def list_rows(cl: ChangeList) -> Iterator[Row]:
    for row in cl.result_list:
        yield Row(cl.url_for_result(row), [cell(name, row, cl.model_admin) for name in cl.list_display])


@register.simple_tag
def form_cells(adminform: Any) -> list[Cell]:
    """Every field of a row, as a page of its own shows them."""
    fields = [field for fieldset in adminform for line in fieldset for field in line]
    return [cell(each.field["field"], each.form.instance, each.model_admin) for each in fields]


@register.simple_tag
def inline_rows(formset: Any) -> list[Row]:
    """The rows that stand under a row."""
    rows = [form.original for form in formset if form.original is not None]
    shown = formset.opts
    return [
        Row(
            address(row, shown) if shown.show_change_link else "",
            [cell(name, row, shown) for name in shown.readonly_fields],
        )
        for row in rows
    ]


def cell(name: Any, row: models.Model, admin: Any) -> Cell:
    """The value a column has for a row; nothing where the row it would come from is not there."""
    label = _label(name, type(row), admin)
    try:
        field, column, value = lookup_field(name, row, admin)
    except (AttributeError, ValueError, ObjectDoesNotExist):
        return Cell(label, "")
    number = _is_number(name, type(row), admin)
    if isinstance(value, models.Model):
        return Cell(label, str(value), address(value, admin))
    return Cell(label, text(value, field), number=number, band=getattr(column, "band", False))


def text(value: Any, field: Any = None) -> str:
    """A value as people read it: yes and no, instants in UTC to the second, amounts exact."""
    if getattr(field, "flatchoices", None):
        return str(dict(field.flatchoices).get(value, value) or "")
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, date):
        return figures.when(value, "seconds")
    if isinstance(value, Decimal):
        return figures.plain(value) if value.is_finite() else str(value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    if isinstance(value, list | tuple):
        return ", ".join(text(each) for each in value)
    return value if isinstance(value, str) else str(value)


def address(row: models.Model, admin: Any) -> str:
    """The page of a row in the console; "" when its table is not shown there."""
    if not admin.admin_site.is_registered(type(row)):
        return ""
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return reverse(name, args=[quote(row.pk)])


def _label(name: Any, model: type[models.Model], admin: Any) -> str:
    label = str(label_for_field(name, model, model_admin=admin))
    return label[:1].upper() + label[1:]


def _is_number(name: Any, model: type[models.Model], admin: Any) -> bool:
    column = getattr(admin, str(name), None)
    if column is not None:
        return getattr(column, "number", False)
    try:
        field = model._meta.get_field(str(name))
    except FieldDoesNotExist:
        return False
    return isinstance(field, NUMBERS) and not field.choices and not field.primary_key


@register.filter
def age(value: timedelta) -> str:
    """A lag: seconds below two minutes, else hours and minutes."""
    if value < timedelta(minutes=2):
        return f"{int(value.total_seconds())}{figures.NBSP}s"
    return figures.duration(value)


@register.simple_tag
def pages(cl: ChangeList) -> dict[str, Any]:
    """The way through a list; where the table is not counted, only whether it goes on is known."""
    number, counted = cl.page_num, not hasattr(cl.paginator, "goes_on")
    last = cl.paginator.num_pages if counted else None
    goes_on = number < last if last is not None else cl.paginator.goes_on
    before = cl.get_query_string({PAGE_VAR: number - 1}) if number > 1 else ""
    after = cl.get_query_string({PAGE_VAR: number + 1}) if goes_on else ""
    return {"number": number, "last": last, "before": before, "after": after}
