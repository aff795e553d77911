"""How the dialect describes itself: OpenAPI 3.1, written from the same entries that requests are served from.

Clients of the exchange have their own idea of the dialect; this is for people who write a new one, and for the tests
that send it what it does not expect.
"""

from typing import Any, Final

from accounts.sapi.params import Param
from accounts.sapi.registry import Endpoint, Security, endpoints
from accounts.sapi.transport import LONGEST_WINDOW

Schema = dict[str, Any]

VERSION: Final = "3.1.0"
KEY: Final = "key"
_PERMISSIONS: Final = {
    "can_read": "read",
    "can_borrow": "borrow and repay",
    "can_transfer": "transfer",
    "can_withdraw": "withdraw",
}
_SECURITY: Final = {
    Security.PUBLIC: "Public.",
    Security.MARKET: "Needs a key.",
    Security.SIGNED: "Needs a key, a timestamp and a signature.",
}
_OF_TRANSPORT: Final[tuple[Schema, ...]] = (
    {
        "name": "timestamp",
        "in": "query",
        "required": True,
        "description": "When the request was made: milliseconds since 1970 (16 digits: microseconds).",
        "schema": {"type": "integer", "format": "int64", "minimum": 1},
    },
    {
        "name": "recvWindow",
        "in": "query",
        "required": False,
        "description": "For how many milliseconds after its timestamp the request may be served.",
        "schema": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": int(LONGEST_WINDOW),
            "default": 5000,
        },
    },
    {
        "name": "signature",
        "in": "query",
        "required": True,
        "description": (
            "Of the raw query and the raw body without this pair: HMAC-SHA256 in hexadecimal, or RSA (PKCS #1 v1.5,"
            " SHA-256) or Ed25519 in base64, percent-encoded."
        ),
        "schema": {"type": "string", "minLength": 64, "maxLength": 1100},
    },
)
_ERROR: Final[Schema] = {
    "type": "object",
    "required": ["code", "msg"],
    "additionalProperties": False,
    "properties": {
        "code": {"type": "integer", "maximum": -1},
        "msg": {"type": "string", "minLength": 1, "maxLength": 1000},
    },
}


def describe() -> Schema:
    """The whole dialect, as it is registered now."""
    paths: dict[str, Schema] = {}
    for (method, path), endpoint in sorted(endpoints.items(), key=lambda item: item[0][::-1]):
        paths.setdefault(path, {})[method.lower()] = _operation(endpoint)
    return {
        "openapi": VERSION,
        "info": {
            "title": "The exchange's dialect",
            "version": "1",
            "description": (
                "Existing clients of the exchange work by changing the base URL. Parameters go in the query, or in a"
                " form body; every success is 200, every refusal {code, msg}."
            ),
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {KEY: {"type": "apiKey", "in": "header", "name": "X-MBX-APIKEY"}},
        },
    }


def shape_of(example: Any) -> Schema:
    """The JSON types of an example. Which keys only some answers have is not told by one."""
    if isinstance(example, bool):
        return {"type": "boolean"}
    if isinstance(example, int):
        return {"type": "integer"}
    if isinstance(example, float):
        return {"type": "number"}
    if isinstance(example, str):
        return {"type": "string"}
    if isinstance(example, list):
        return {"type": "array", "items": shape_of(example[0]) if example else {}}
    properties = {name: shape_of(value) for name, value in example.items()}
    return {"type": "object", "properties": properties}


def _operation(endpoint: Endpoint) -> Schema:
    is_signed = endpoint.security is Security.SIGNED
    parameters = [_parameter(param) for param in endpoint.params]
    found: Schema = {
        "operationId": f"{endpoint.method.lower()}{endpoint.path.replace('/', '_').replace('-', '_')}",
        "description": " ".join(_told(endpoint)),
        "parameters": [*parameters, *(_OF_TRANSPORT if is_signed else ())],
        "responses": {
            "200": {"description": "Done.", "content": _json(_shape(endpoint))},
            "4XX": {"description": "Refused.", "content": _json({"$ref": "#/components/schemas/Error"})},
            "503": {
                "description": "Busy; nothing was changed.",
                "content": _json({"$ref": "#/components/schemas/Error"}),
            },
        },
        "security": [] if endpoint.security is Security.PUBLIC else [{KEY: []}],
        "x-weight": endpoint.weight,
        "x-weight-of": "account" if endpoint.uid else "address",
    }
    if endpoint.permission:
        found["x-permission"] = _PERMISSIONS[endpoint.permission]
    return found


def _told(endpoint: Endpoint) -> list[str]:
    told = [_SECURITY[endpoint.security]]
    if endpoint.permission:
        told.append(f"The key may {_PERMISSIONS[endpoint.permission]}.")
    told.append(f"Weight {endpoint.weight}, counted for the {'account' if endpoint.uid else 'address'}.")
    return told


def _parameter(param: Param) -> Schema:
    schema = dict(param.schema)
    if isinstance(param.default, (bool, int, str)):
        schema["default"] = param.default
    found: Schema = {"name": param.name, "in": "query", "required": param.required, "schema": schema}
    return found | ({"description": param.about} if param.about else {})


def _shape(endpoint: Endpoint) -> Schema:
    return {} if endpoint.example is None else shape_of(endpoint.example)


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}
