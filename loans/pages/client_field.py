"""A client in a form: found by number or by name, since a list of every client is no list anybody reads."""

from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.db.models import QuerySet

from accounts.models import Customer
from accounts.words import joined, tell

MOST_NAMED: Final = 5
LONGEST_NUMBER: Final = 18  # digits; the database has no larger one


if TYPE_CHECKING:
    _Choice = forms.ModelChoiceField[Customer]
else:
    _Choice = forms.ModelChoiceField


class ClientField(_Choice):
    """Takes a client's number, or enough of the name that only one has it; of `queryset`, and of nobody else."""

    widget = forms.TextInput

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **({"help_text": tell("Name, part of it, or number")} | kwargs))

    def to_python(self, value: Any) -> Customer | None:
        text = "" if value is None else str(value).replace("\0", "").strip()
        if not text:
            return None
        if text.isascii() and text.isdecimal():
            found = [] if len(text) > LONGEST_NUMBER else list(self._rows().filter(pk=int(text)))
        else:
            found = list(self._rows().filter(name__iexact=text)[: MOST_NAMED + 1])
            found = found or list(
                self._rows().filter(name__icontains=text).order_by("name", "pk")[: MOST_NAMED + 1]
            )
        if not found:
            raise forms.ValidationError(tell("There is no such client; type another part of the name."))
        if len(found) > 1:
            named = joined(
                "; ", (tell("{row} {row2}", row=row.pk, row2=row.name) for row in found[:MOST_NAMED])
            )
            more = tell(", and more") if len(found) > MOST_NAMED else ""
            raise forms.ValidationError(
                tell("Several clients are called so: {named}{more}. Type the number.", named=named, more=more)
            )
        return found[0]

    def _rows(self) -> "QuerySet[Customer]":
        assert self.queryset is not None, "a form says whose clients it asks for"
        return self.queryset
