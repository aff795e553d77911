"""The description of /api/v1 as people read it: made of the OpenAPI document and of nothing else.

Pure: the document goes in, what the page shows comes out. A shape is shown once; whoever uses it links to it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from shlex import quote
from typing import Any

SHAPES = "#/components/schemas/"
DEPTH = 6  # of an example; deeper than any shape of ours goes
REFUSALS = {
    "400": "The request cannot be read: a missing field, a wrong type, an unknown name.",
    "401": "No token, or one that opens nothing.",
    "403": "You are known, and may not do this.",
    "404": "Not there, or not yours.",
    "409": "A rule says no; nothing was changed.",
    "415": "The body is not JSON.",
    "429": "Too many requests: wait as long as Retry-After says.",
    "503": "Not now; the same request may be sent again.",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter or one field of a shape: what is in it, and the shape it has when that has a name."""

    name: str
    kind: str
    shape: str
    required: bool
    says: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, the shape of its body, and what it means."""

    status: str
    shape: str
    says: str


@dataclass(frozen=True, slots=True)
class Operation:
    name: str
    method: str
    path: str
    says: str
    parameters: list[Field]
    body: str
    body_fields: list[Field]
    answers: list[Answer]
    refusals: list[Answer]
    curl: str


@dataclass(frozen=True, slots=True)
class Part:
    """The operations on one kind of thing."""

    name: str
    operations: list[Operation]


@dataclass(frozen=True, slots=True)
class Shape:
    name: str
    says: str
    fields: list[Field]


def parts(document: dict[str, Any], *, base: str) -> list[Part]:
    """Every operation, by the tag it has; `base` is where the desk answers, for the examples."""
    found: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            made = _operation(document, path, method.upper(), operation, base)
            found.setdefault(operation["tags"][0], []).append(made)
    return [Part(name, found[name]) for name in sorted(found)]


def shapes(document: dict[str, Any]) -> list[Shape]:
    """Every shape that has a name, with its fields."""
    named = document["components"]["schemas"]
    return [Shape(name, named[name].get("description", ""), _fields(named[name])) for name in sorted(named)]


def _operation(
    document: dict[str, Any], path: str, method: str, operation: dict[str, Any], base: str
) -> Operation:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    body = _shape(content.get("schema", {}))
    answers = list(_answers(operation["responses"]))
    return Operation(
        name=operation["operationId"],
        method=method,
        path=path,
        says=operation.get("description", ""),
        parameters=[_parameter(each) for each in operation.get("parameters", [])],
        body=body,
        body_fields=_fields(document["components"]["schemas"][body]) if body else [],
        answers=[answer for answer in answers if answer.status < "400"],
        refusals=[answer for answer in answers if answer.status >= "400"],
        curl=_curl(document, path, method, content, base),
    )


def _answers(responses: dict[str, Any]) -> Iterator[Answer]:
    for status, response in sorted(responses.items()):
        content = response.get("content") or {}
        kind = next(iter(content), "")
        schema = content[kind].get("schema", {}) if kind else {}
        says = response.get("description") or REFUSALS.get(status, "")
        yield Answer(status, _shape(schema), says or ("" if _shape(schema) else kind or "Nothing more."))


def _parameter(each: dict[str, Any]) -> Field:
    schema = each["schema"]
    says = each.get("description") or _says(schema)
    return Field(
        each["name"], _kind(schema), _shape(schema), each.get("required", False), says, place=each["in"]
    )


def _fields(schema: dict[str, Any]) -> list[Field]:
    required = schema.get("required", ())
    return [
        Field(name, _kind(each), _shape(each), name in required, _says(each))
        for name, each in schema.get("properties", {}).items()
    ]


def _shape(schema: dict[str, Any]) -> str:
    """The name of the shape a schema is, holds a list of, or is one of; "" when it has none."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(SHAPES)
    inside = [schema["items"]] if "items" in schema else [*schema.get("oneOf", ()), *schema.get("allOf", ())]
    return next(filter(None, map(_shape, inside)), "")


def _kind(schema: dict[str, Any]) -> str:
    """What is in it, in words: "text", "list of numbers", "yes or no, or nothing"."""
    if "$ref" in schema or "allOf" in schema:
        return "an object"
    if "oneOf" in schema:
        return " or ".join(dict.fromkeys(map(_kind, schema["oneOf"])))
    if "enum" in schema:
        return "one of " + ", ".join(str(each) for each in schema["enum"] if each not in ("", None))
    types = schema.get("type", "object")
    names = [types] if isinstance(types, str) else types
    return " or ".join(_word(name, schema) for name in names)


def _word(name: str, schema: dict[str, Any]) -> str:
    if name == "array":
        inner = schema.get("items", {})
        return "a list" if "$ref" in inner else f"a list: {_kind(inner)}"
    if name == "string":
        return {"date-time": "a time (ISO 8601, UTC)", "date": "a day"}.get(schema.get("format", ""), "text")
    words = {"integer": "a whole number", "boolean": "true or false", "null": "nothing", "number": "a number"}
    return words.get(name, "an object")


def _says(schema: dict[str, Any]) -> str:
    """The schema's own words, then its bounds."""
    words = "" if "enum" in schema else schema.get("description", "")
    return " ".join(filter(None, [words, *_bounds(schema)]))


def _bounds(schema: dict[str, Any]) -> Iterator[str]:
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    if lowest is not None and highest is not None:
        yield f"{lowest} to {highest}."
    elif lowest is not None:
        yield f"At least {lowest}."
    for key, unit in (("maxLength", "characters"), ("maxItems", "rows")):
        if key in schema:
            yield f"At most {schema[key]} {unit}."
    if schema.get("default") not in (None, ""):
        yield f"Left out: {json.dumps(schema['default']).strip(chr(34))}."
    if "example" in schema:
        yield f"Such as {schema['example']}."


# --- An example to copy -------------------------------------------------------------------------------------


def _curl(document: dict[str, Any], path: str, method: str, content: dict[str, Any], base: str) -> str:
    lines = [f"curl {quote(base + path)}", '-H "Authorization: Bearer $TOKEN"']
    if method != "GET":
        lines[0] = f"curl -X {method} {quote(base + path)}"
        lines.append('-H "Idempotency-Key: $(uuidgen)"')
    if content:
        body = next((each["value"] for each in content.get("examples", {}).values()), None)
        given = example(document, content["schema"]) if body is None else body
        lines += ["-H 'Content-Type: application/json'", f"-d {quote(json.dumps(given, ensure_ascii=False))}"]
    return " \\\n  ".join(lines)


def example(document: dict[str, Any], schema: dict[str, Any], depth: int = 0) -> Any:
    """A value of a schema: its own example, else the plainest one of its kind; of an object only what is required."""
    if "$ref" in schema:
        return example(document, document["components"]["schemas"][_shape(schema)], depth + 1)
    if "example" in schema:
        return schema["example"]
    if "oneOf" in schema:
        return example(document, schema["oneOf"][0], depth)
    if "enum" in schema:
        return schema["enum"][0]
    types = schema.get("type", "object")
    kind = types if isinstance(types, str) else types[0]
    if kind == "object":
        return _object(document, schema, depth)
    if kind == "array":
        return [example(document, schema["items"], depth + 1)] if depth < DEPTH else []
    plain = {"integer": schema.get("minimum", 1), "boolean": True, "number": 1}
    return plain.get(kind, schema.get("default") or "text")


def _object(document: dict[str, Any], schema: dict[str, Any], depth: int) -> dict[str, Any]:
    if depth >= DEPTH:
        return {}
    required = schema.get("required", ())
    inside = schema.get("properties", {})
    return {name: example(document, inside[name], depth + 1) for name in inside if name in required}
