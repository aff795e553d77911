"""What went wrong with a job, for people: what happened and what to do. The error's own text stays in the log.

A job's row keeps "Name: text" of the error it ended with (accounts/jobs.py). Only errors that the house wrote for
people are told in their own words.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from accounts.errors import Refused
from accounts.words import tell

AGAIN: Final = tell("It is tried again at its next run.")
DATABASE: Final = frozenset({"OperationalError", "InterfaceError", "DatabaseError", "InternalError"})
OUTSIDE: Final = frozenset(
    {
        "ConnectionError",
        "ConnectionRefusedError",
        "ConnectionResetError",
        "TimeoutError",
        "OSError",
        "gaierror",
    }
    | {"BusyLoadingError", "RequestException", "SSLError", "SMTPException", "HTTPError", "URLError"}
)
TOO_LONG: Final = frozenset({"SoftTimeLimitExceeded", "TimeLimitExceeded"})
CONFLICT: Final = frozenset({"DeadlockDetected", "SerializationFailure", "LockNotAvailable", "QueryCanceled"})


@dataclass(frozen=True, slots=True)
class Trouble:
    happened: str
    todo: str


def trouble(failure: str) -> Trouble:
    """In plain words, by the error that the row names."""
    name, _, text = failure.partition(": ")
    if name == "BooksBroken":
        return Trouble(
            tell("The books do not prove themselves: {text}", text=text),
            tell(
                "Close no month. Open the accounts named here and find the entry; the check changes nothing."
            ),
        )
    if name in _refusals():
        return Trouble(text, AGAIN)
    if name in DATABASE:
        return Trouble(
            tell("The database did not answer, or broke off."),
            tell("See that it runs and that its connections suffice. {again}", again=AGAIN),
        )
    if name in OUTSIDE:
        return Trouble(
            tell("Something it asks outside did not answer."),
            tell("See that the prices', mail's and message servers can be reached. {again}", again=AGAIN),
        )
    if name in TOO_LONG:
        return Trouble(
            tell("It took longer than a job may and was stopped."),
            tell("It goes on at its next run. If that is stopped too, more workers are needed."),
        )
    if name in CONFLICT:
        return Trouble(tell("Others held what it needed."), AGAIN)
    return Trouble(
        tell("Something happened that it was not made for."),
        tell("{again} If it fails again, somebody has to read the log.", again=AGAIN),
    )


def _refusals() -> set[str]:
    """Every way in which the house says no in words; also those of apps that came later."""
    return {one.__name__ for one in _below(Refused)}


def _below(kind: type[Refused]) -> Iterator[type[Refused]]:
    yield kind
    for one in kind.__subclasses__():
        yield from _below(one)
