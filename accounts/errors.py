"""The expected "no".

A command that may not happen raises a subclass of `Refused`. Edges turn it into a form message, a 409 or
the exchange dialect's negative code, without knowing which rule said no. Everything else that is raised is
a bug. Chapters define their own refusals beside the command that raises them.
"""

from typing import ClassVar

from accounts.words import Words


class Refused(Exception):
    """A rule said no; nothing was changed.

    `code` is stable and for programs, the message is for people and names the thing and its state, `sapi` is
    the negative code of the exchange's dialect (-10016: the loan operation failed). The message is words
    (`tell("{loan} is closed.", loan=loan)`), so a page says it in its reader's language and all else in English.
    """

    code: ClassVar[str] = "refused"
    sapi: ClassVar[int] = -10016

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message: str = message if isinstance(message, Words) else Words(message)


class BadAmount(Refused):
    """What was typed is not an amount of this asset."""

    code: ClassVar[str] = "bad_amount"
    sapi: ClassVar[int] = -10002
