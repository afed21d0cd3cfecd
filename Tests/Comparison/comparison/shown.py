"""How values are told."""

import json


def shape(value, values, path=""):
    """(path, type or value) of everything in a JSON value. The members of a list are told apart by their names, not by their
    places."""
    if isinstance(value, dict):
        yield path or ".", "object"
        for name, member in value.items():
            yield from shape(member, values, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        yield path or ".", "list"
        for member in value:
            name = member.get("name", "") if values and isinstance(member, dict) else ""
            yield from shape(member, values, f"{path}[{name}]")
    elif values:
        yield path, json.dumps(value)
    else:
        yield path, {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null"}[type(value)]


def show(value):
    return "absent" if value is None else repr(value if len(value) < 400 else value[:400] + "…")
