"""What nobody should send, by the classes of the trust model, and whether a parameter's description allows it.

A payload is raw percent-encoded text, as it stands in a query after the `=`.
"""

import re
import unicodedata
from decimal import Decimal
from typing import Any
from urllib.parse import quote, unquote_to_bytes

FAR = 2**63
UUID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
SIZE = [
    *["9" * length for length in (18, 19, 28, 31, 60, 78, 100, 309, 310, 1000, 1999, 2000)],
    *[f"1e{power}" for power in (18, 19, 30, 38, 99, 308, 309, -9, -12, -19, -99)],
    "1e999",
    "1e-999",
    "1e1000000",
    "9" * 5000,
    "1" + "0" * 40,
    "1e99",
    "9" * 27,
    "a" * 2001,
]
SPECIAL = [
    *["NaN", "sNaN", "Infinity", "-Infinity", "inf", "-inf", "null", "None", "undefined"],
    *["true", "yes", "on", "[]", "{}", "%5B1%5D", "%7B%22a%22%3A1%7D", "0x10", "1e", "1e+", "e5"],
]
SIGN = ["0", "-0", "-1", "%2B1", "--1", "0.0", "-0.0", "0e0", "00", "-5e-1", "+1"]
SCALE = [
    *["0." + "1" * 19, "1e-18", "1e17", "1.", ".5", "0001", "1.000000001", "5e-19", "1.5.5", "1%2C5"],
    *["123456789012345678", "99999999999999999.999999999", "1e-9", "1E400"],
]
BLANKS = "\t\n\v\f\r \x1c\x85\xa0\u1680\u2002\u2007\u2009\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
UNICODE = [
    quote(text)
    for text in (
        *["１２３", "٣", "१", "²", "5\u00a0", "\u200f5", "1_000", "1,000", " 1", "1 ", "1\n", "1\r\n", "1\t"],
        *["\u2212" + "5", "1\u200b", "⑤", "Ⅴ", "ＵＳＤＴ", "UЅDT", "ＴＲＵＥ", "3\u0660"],
    )
] + ["1%00", "%001"]
UNICODE += [quote(f"{before}5{after}") for before, after in zip(BLANKS, reversed(BLANKS), strict=True)]
UNICODE += [quote(chr(code)) for code in range(0x660, 0x11_000) if unicodedata.decimal(chr(code), -1) == 5]
TEXT = [
    *["", "%20", "%00", "%ED%A0%80", "%F0%9F%92%B8", "e%CC%81", "%C3%A9", "%FF%FE", "%80", "%C0%AF"],
    *["a%0D%0Ainjected%3A%20line", "%1B%5B31mred%1B%5B0m", "%E2%80%AE", "%EF%BB%BFUSDT", "%7F", "%08"],
    "x" * 60_000,
]
IDS = [
    "-1",
    str(FAR),
    str(FAR - 1),
    str(2**53),
    str(2**64),
    UUID,
    "1%2C2%2C",
    "%2C",
    "1%2C%2C2",
    "%5B%5D",
    "1.5",
]
SORTING = [
    f"{sign}{field}"
    for sign in ("", "-", "order+by+", "%24", "%28select+", "..%2F", "%27%20or%20", "%3B--%20")
    for field in ("created_at", "password", "user__password", "secret", "pk", "?", "account.id")
]
TIME = [
    "-60000",
    "0",
    "1767225600000.5",
    "17672256000000000",
    "4102444800001",
    "yesterday",
    "2026-01-01T00%3A00",
]
INJECTION = [
    *["%27%20OR%201%3D1--", "%22%3B%20DROP%20TABLE%20loans_loan%3B--", "%27", "%22", "%5C", "%3B"],
    *["USDT%27", "%25", "%5F%25", "..%2F..%2Fetc%2Fpasswd", "%24where", "-created_at", "__class__", "a__b"],
    *["%0D%0ASet-Cookie%3A%20a%3Db", "%7B%7B7*7%7D%7D", "%3Cscript%3Ealert(1)%3C%2Fscript%3E", "$%7B7*7%7D"],
    *["%00%27", "%252500", "javascript%3Aalert(1)", "%3Dcmd()", "%27%7C%7Cpg_sleep(9)%7C%7C%27"],
]
CLASSES: dict[str, list[str]] = {
    "B-01": SIZE,
    "B-02": SPECIAL,
    "B-03": SIGN,
    "B-04": SCALE,
    "B-05": UNICODE,
    "B-06": TEXT,
    "B-07": IDS,
    "B-09": TIME,
    "B-17": INJECTION + SORTING,
}
NOT_A_TIME = [
    *["", "0", "-1", "abc", "NaN", "1e13", "1.5", "%EF%BC%91767225600000", "null", "true", "%00"],
    *["1767225600", "9" * 400, "9" * 17, "+1769947200000", "1769947200000%20"],
]
NOT_A_WINDOW = ["-1", "0", "0.0", "60001", "60000.001", "1.2345", "abc", "", "1e3", "NaN", "inf", "%2B5000"]
ASSIGNED = [
    *["status", "owner_id", "ltv_limit", "rate", "approved_by", "is_staff", "balance", "created_at", "id"],
    *["customer_id", "account_uid", "actor", "at", "key", "reason", "annual_rate", "Amount", "orderid"],
    *["amount%5B%5D", "account%5Bid%5D", "user.role", "__proto__", "%00", "%F0%9F%92%B8", "a" * 900],
]
"""Names of parameters that no endpoint has."""


def distinct() -> set[str]:
    """All that is sent as a value or a name."""
    return {one for found in CLASSES.values() for one in found} | {*NOT_A_TIME, *NOT_A_WINDOW, *ASSIGNED}


def may_be(schema: dict[str, Any], payload: str) -> bool:
    """Whether a parameter described like that may be sent this; what the reader does is not asked."""
    try:
        text = unquote_to_bytes(payload.replace("+", " ")).decode()
    except UnicodeDecodeError:
        return False
    if "\0" in text or text == "" or len(text) > 2000:
        return False
    kind = schema["type"]
    if kind == "boolean":
        return text.lower() in ("true", "false") and text.isascii()
    if kind in ("integer", "number"):
        return _is_whole(schema, text)
    if "enum" in schema:
        return text in schema["enum"]
    if "pattern" in schema:
        if "," in schema["pattern"]:  # clients print lists with a space after the comma
            text = ",".join(part.strip(" ") for part in text.split(","))
        return len(text) <= schema.get("maxLength", 2000) and _fits(schema["pattern"], text)
    return True


def _is_whole(schema: dict[str, Any], text: str) -> bool:
    """Digits within the bounds; some clients print a whole number as 5.0."""
    if not re.fullmatch(r"[1-9][0-9]{0,18}(\.0+)?|0", text, re.ASCII):
        return False
    return schema["minimum"] <= int(Decimal(text)) <= schema["maximum"]


def _fits(pattern: str, text: str) -> bool:
    """As written; an amount is also above zero."""
    if not re.fullmatch(pattern.removeprefix("^").removesuffix("$"), text, re.ASCII):
        return False
    return "0|[1-9][0-9]{0,16}" not in pattern or Decimal(text) > 0
