"""Compares the subset with Envoy's API, and its comments with what they must say."""

from rules import must_be_present


def problems(subset, envoy):
    """What is wrong, one line each."""
    found = []
    for message in subset.messages.values():
        found += _message(message, envoy)
    for enum in subset.enums.values():
        found += _enum(enum, envoy)
    return found


def _message(message, envoy):
    name = message.full_name
    real = envoy.message(name)
    if real is None:
        return [f"{name}: Envoy has no such message"]
    if real.file.name != message.file.name:
        return [f"{name}: is in {message.file.name}, in Envoy in {real.file.name}"]
    found = [] if message.comment else [f"{name}: has no comment"]
    real_proto = envoy.proto(real)
    for field in message.fields:
        at = f"{name}.{field.name}"
        theirs = next((f for f in real_proto.field if f.number == field.number), None)
        if theirs is None:
            found.append(f"{at}: Envoy has no field {field.number}")
            continue
        ours = field.proto
        for what in ("name", "label", "type", "type_name"):
            if getattr(ours, what) != getattr(theirs, what):
                found.append(f"{at}: {what} is {getattr(ours, what)}, in Envoy {getattr(theirs, what)}")
        their_oneof = real_proto.oneof_decl[theirs.oneof_index].name if theirs.HasField("oneof_index") else None
        if field.oneof != their_oneof:
            found.append(f"{at}: is in oneof {field.oneof}, in Envoy in {their_oneof}")
        if ours.options.deprecated != theirs.options.deprecated:
            found.append(f"{at}: deprecated is {ours.options.deprecated}, in Envoy {theirs.options.deprecated}")
        if not field.meaning:
            found.append(f"{at}: has no comment")
        if field.default is None:
            found.append(f'{at}: its comment does not end with "Default: …."')
        elif must_be_present(message, field, envoy) and not field.required:
            found.append(f'{at}: Envoy requires it, its comment says "Default: {field.default}."')
    return found


def _enum(enum, envoy):
    name = enum.full_name
    real = envoy.enum(name)
    if real is None:
        return [f"{name}: Envoy has no such enum"]
    found = [] if enum.comment else [f"{name}: has no comment"]
    ours = {value: number for value, number, _ in enum.values}
    theirs = {value.name: value.number for value in real.values}
    for value, number in ours.items():
        if theirs.get(value) != number:
            found.append(f"{name}: {value} is {number}, in Envoy {theirs.get(value)}")
    found += [f"{name}: {value} is missing" for value in theirs if value not in ours]
    found += [f"{name}: {value} has no comment" for value, _, comment in enum.values if not comment]
    return found
