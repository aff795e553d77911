"""The dialect's negative codes, and the HTTP status each goes out with."""

from typing import Final

from accounts.errors import Refused

UNKNOWN: Final = -1000
DISCONNECTED: Final = -1001
TOO_MANY: Final = -1003
OVERLOADED: Final = -1008
UNSUPPORTED: Final = -1020
BAD_TIME: Final = -1021
BAD_SIGNATURE: Final = -1022
NOT_FOUND: Final = -1099
ILLEGAL: Final = -1100
TOO_MANY_PARAMETERS: Final = -1101
MISSING: Final = -1102
UNREAD: Final = -1104
EMPTY: Final = -1105
PRECISION: Final = -1111
BAD_INTERVAL: Final = -1127
BAD_COMBINATION: Final = -1128
INVALID: Final = -1130
BAD_WINDOW: Final = -1131
KEY_FORMAT: Final = -2014
NO_SUCH_KEY: Final = -2015

STATUS: Final = {KEY_FORMAT: 401, NO_SUCH_KEY: 401, -1002: 401, TOO_MANY: 429}
OUTSIDE: Final = "Timestamp for this request is outside of the recvWindow."
AHEAD: Final = "Timestamp for this request was 1000ms ahead of the server's time."
NOT_SIGNED: Final = "Signature for this request is not valid."


class Denied(Refused):
    """A no that the edge itself says: of transport and form, never of a rule."""

    code = "denied"

    def __init__(self, code: int, message: str, *, status: int | None = None, retry_after: int = 0) -> None:
        super().__init__(message)
        self.number = code
        self.status = status if status is not None else STATUS.get(code, 400)
        self.retry_after = retry_after  # seconds; 0: not told
        self.headers: dict[str, str] = {}
