"""Mail kept in a folder instead of being sent, and read by whom it is addressed to: how a demo shows its letters.

A file for each message, named after the moment, written whole and renamed, so a reader never sees half of one.
"""

import email
import email.policy
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage as Parsed
from pathlib import Path
from typing import Final

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from accounts.tongue import ENGLISH

NAME: Final = re.compile(r"\d{8}T\d{12}-[0-9a-z_]{8}\.eml")
MOST_READ: Final = 2_000  # of the newest; a folder that grew beyond is not a mailbox


@dataclass(frozen=True, slots=True)
class Kept:
    """One letter as it lies there. `name` is its file's, without the folder."""

    name: str
    at: datetime
    subject: str
    to: tuple[str, ...]
    text: str
    language: str
    raw: bytes


class Folder(BaseEmailBackend):
    """Writes each message into EMAIL_FOLDER, readable by this user only."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        folder = Path(settings.EMAIL_FOLDER)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for message in email_messages:
            content = message.message().as_bytes()
            handle, part = tempfile.mkstemp(dir=folder, suffix=".part")
            with os.fdopen(handle, "wb") as out:
                out.write(content)
            mark = Path(part).stem.removeprefix("tmp")[:8].ljust(8, "0").lower()
            Path(part).rename(folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{mark}.eml")
        return len(email_messages)


def addressed_to(address: str) -> list[Kept]:
    """The letters to this address, newest first."""
    return [kept for kept in _newest() if _is_to(kept, address)]


def read(name: str, *, address: str) -> Kept | None:
    """One letter, to whom it is addressed; None to everybody else, and where there is none."""
    path = Path(settings.EMAIL_FOLDER) / name
    if not NAME.fullmatch(name) or not path.is_file():
        return None
    kept = _parsed(path)
    return kept if _is_to(kept, address) else None


# --- Private ----------------------------------------------------------------------------------------


def _newest() -> Iterator[Kept]:
    folder = Path(settings.EMAIL_FOLDER)
    found = sorted((path for path in folder.glob("*.eml") if NAME.fullmatch(path.name)), reverse=True)
    return (_parsed(path) for path in found[:MOST_READ])


def _parsed(path: Path) -> Kept:
    raw = path.read_bytes()
    message = email.message_from_bytes(raw, policy=email.policy.default)
    return Kept(
        name=path.name,
        at=datetime.strptime(path.name.partition("-")[0], "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC),
        subject=str(message["subject"] or ""),
        to=tuple(address.addr_spec for address in message["to"].addresses) if message["to"] else (),
        text=_text(message),
        language=str(message["content-language"] or ENGLISH),
        raw=raw,
    )


def _text(message: Parsed) -> str:
    part = message.get_body(("plain",))
    return str(part.get_content()) if part is not None else ""


def _is_to(kept: Kept, address: str) -> bool:
    """Only ASCII is folded: a long s or a Kelvin sign would make another person's address the same."""
    return address.isascii() and address.lower() in {one.lower() for one in kept.to if one.isascii()}
