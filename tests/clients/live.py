"""The site as it is served, with what only these runs need around it: a clock that is moved, and a record of it all.

Served by gunicorn in a process of its own. Before each request it looks at the file that says how far its clock is
from the real one; after each it writes down what was answered, for the harness to check against the dialect's shapes.
"""

import json
import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

import time_machine

from config.wsgi import application as desk

CLOCK, RECORD = Path(os.environ["CLIENTS_CLOCK"]), Path(os.environ["CLIENTS_RECORD"])
_moving, _writing = Lock(), Lock()
_traveller = time_machine.travel(datetime.now(UTC), tick=True).start()
_offset = ""


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    _set_the_clock()
    began = time.perf_counter()
    said: dict[str, Any] = {}

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        said.update(status=int(status.split()[0]), type=dict(headers).get("Content-Type", ""))
        return start_response(status, headers, exc_info)

    answer = desk(environ, start)
    try:
        body = b"".join(answer)
    finally:
        if hasattr(answer, "close"):
            answer.close()
    took = round((time.perf_counter() - began) * 1000, 1)
    _write({"endpoint": f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}", "ms": took} | said, body)
    return [body]


def _set_the_clock() -> None:
    global _offset
    with _moving:
        told = CLOCK.read_text()
        if told != _offset:
            real = time_machine.escape_hatch.time.time()
            _traveller.move_to(datetime.fromtimestamp(real + float(told), tz=UTC))
            time.time()  # it runs from the first look at it
            _offset = told


def _write(line: dict[str, Any], body: bytes) -> None:
    with _writing, RECORD.open("a") as record:
        record.write(json.dumps(line | {"body": body.decode("utf-8", "replace")}) + "\n")
