"""What is asked on the stress page: one scenario of three kinds, and a waiting proposal to compare with. R-FTR-27"""

import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from accounts import inbox
from accounts.errors import Refused
from accounts.models import Approval, User
from accounts.pages.forms import key_field
from accounts.words import tell
from risk import regimes, shocks, stress_runs
from risk.feeds.file import BadPriceFile, read_bars

MOST_UPLOADED = 2 * 1024 * 1024  # bytes
MOST_UNPACKED = 12 * 1024 * 1024  # of text: about 200,000 rows
MOST_STEPS = 300
GZIP = b"\x1f\x8b"
KINDS = (("day", tell("A known day")), ("shock", tell("Own shocks")), ("file", tell("A price file")))


class StressForm(forms.Form):
    kind = forms.ChoiceField(label=tell("Scenario"), choices=KINDS, widget=forms.RadioSelect, initial="day")
    day = forms.ChoiceField(
        label=tell("Known day"),
        required=False,
        choices=[(day.key, day.title) for day in shocks.KNOWN_DAYS],
        help_text=tell(
            "The whole fall at once. Coins of that time by their own fall, others by a common one."
        ),
    )
    moves = forms.CharField(
        label=tell("Own shocks, a coin to the line"),
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=tell("Such as BTC=-40%. Pegged coins stay unless they are named."),
    )
    others = forms.CharField(
        label=tell("Every other coin"),
        required=False,
        max_length=20,
        help_text=tell("Such as -30%; they stay when empty."),
    )
    steps = forms.IntegerField(
        label=tell("In steps"),
        required=False,
        min_value=1,
        max_value=MOST_STEPS,
        help_text=tell("1 is at once."),
    )
    file = forms.FileField(
        label=tell("Price file"),
        required=False,
        help_text=tell("CSV or CSV.gz with time_utc, asset, open, high, low, close in USD; at most 2 MB."),
    )
    late = forms.BooleanField(
        label=tell("Sell one step later, once a second reading confirms the breach"), required=False
    )
    proposal = forms.ChoiceField(label=tell("Compare with a waiting proposal"), required=False)
    key = key_field()

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        waiting = inbox.visible_to(user).filter(
            command__in=regimes.PROPOSALS, status=Approval.Status.PENDING, customer__isnull=True
        )
        rows = [
            (str(one.pk), tell("{one}: {one2}", one=one, one2=one.title))
            for one in waiting.order_by("-pk")[:50]
        ]
        asked: Any = self.fields["proposal"]
        asked.choices = [("", tell("Nothing; only what is in force")), *rows]

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        if not self.errors:
            try:
                found["scenario"] = self._scenario(found)
            except (Refused, ValueError) as refusal:
                self.add_error(self._at(found["kind"]), str(refusal))
        return found

    def _scenario(self, found: dict[str, Any]) -> dict[str, Any]:
        change = {"proposal": int(found["proposal"])} if found["proposal"] else None
        return stress_runs.scenario_of(self._path(found), late=found["late"], change=change)

    def _path(self, found: dict[str, Any]) -> shocks.Path:
        if found["kind"] == "day":
            return shocks.known(found["day"])
        if found["kind"] == "file":
            return _recorded(found["file"])
        moves = shocks.read_moves(found["moves"].splitlines())
        stress_runs.refuse_unknown(moves)
        others = shocks.read_percent(found["others"]) if found["others"] else None
        return shocks.joint(moves, others=others, steps=found["steps"] or 1)

    @staticmethod
    def _at(kind: str) -> str:
        return {"day": "day", "file": "file"}.get(kind, "moves")


def _recorded(file: "UploadedFile[bytes] | None") -> shocks.Path:
    if file is None:
        raise BadPriceFile(tell("Choose a price file."))
    if file.size is None or file.size > MOST_UPLOADED:
        raise BadPriceFile(tell("The file has more than 2 MB; pack it with gzip, or send fewer days."))
    name = Path(file.name or "prices.csv").name[:80]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "prices.csv"
        path.write_bytes(_unpacked(file.read()))
        bars = read_bars(path)
    return shocks.recorded(((bar.closes_at, bar.asset, bar.close) for bar in bars), title=name)


def _unpacked(content: bytes) -> bytes:
    """The text itself; a small file that unpacks to a huge one is refused before it does."""
    if not content.startswith(GZIP):
        return content
    text = b""
    while content:  # a gzip file may be several, one after the other, and each is part of the text
        packer = zlib.decompressobj(wbits=31)
        try:
            text += packer.decompress(content, MOST_UNPACKED - len(text) + 1)
        except zlib.error as error:
            raise BadPriceFile(tell("This is not a whole gzip file: {error}.", error=error)) from error
        if len(text) > MOST_UNPACKED:
            raise BadPriceFile(tell("Unpacked, the file has more than 12 MB; send fewer days."))
        if not packer.eof:
            raise BadPriceFile(tell("This is not a whole gzip file."))
        content = packer.unused_data.lstrip(b"\0")
    return text
