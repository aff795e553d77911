"""The half of a driver that is the same for every client: runs in the client's own environment, told by the harness.

Lines of JSON over stdin and stdout. The harness says which endpoint of the dialect is wanted, with which values and
which key; a driver knows by which of its client's calls that is done. Only the standard library and time-machine
here, for every environment has those.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import time_machine

Told = dict[str, Any]
Call = Callable[[Any, Told], Any]


def serve(
    *,
    connect: Callable[[str, Told], Any],
    calls: Mapping[str, Call],
    failed: Callable[[Exception], Told | None],
    packages: list[str],
    by_hand: Iterable[str] = (),
) -> None:
    """Answer the harness until it hangs up.

    `connect` makes a client from the site's address and a key. `by_hand` are calls that the client has no method of its
    own for, sent by its general one. `failed` reads the client's own exceptions; what it
    answers None to is the driver's own mistake, and is raised.
    """
    clients: dict[str, Any] = {}
    clock: time_machine.Traveller | None = None
    versions = {name: version(name) for name in packages}
    _say({"calls": sorted(calls), "by_hand": sorted(by_hand), "versions": versions})
    for line in sys.stdin:
        told = json.loads(line)
        if "offset" in told:
            clock = _move(clock, told["offset"])
            _say({})
            continue
        who = json.dumps(told["who"], sort_keys=True)
        if who not in clients:
            clients[who] = connect(told["base"], told["who"])
        began = time.perf_counter()
        answer = _answered(calls[told["call"]], clients[who], told["args"], failed)
        _say(answer | {"ms": round((time.perf_counter() - began) * 1000, 1)})


def snake(name: str) -> str:
    """`loanCoin` as `loan_coin`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _answered(call: Call, client: Any, args: Told, failed: Callable[[Exception], Told | None]) -> Told:
    try:
        return {"got": call(client, args)}
    except Exception as error:
        said = failed(error)
        if said is None:
            raise
        return {"raised": {"type": type(error).__name__} | said}


def _move(clock: "time_machine.Traveller | None", offset: float) -> "time_machine.Traveller":
    """The client's clock goes with the site's, so that what it signs stays in the window."""
    real = time.time() if clock is None else time_machine.escape_hatch.time.time()
    target = datetime.fromtimestamp(real + offset, tz=UTC)
    if clock is None:
        clock = time_machine.travel(target, tick=True).start()
    else:
        clock.move_to(target)
    time.time()  # it runs from the first look at it
    return clock


def _say(what: Told) -> None:
    sys.stdout.write(json.dumps(what, default=str) + "\n")
    sys.stdout.flush()
