"""Envoy's validation rules (the `validate.rules` options of its fields) in the reader's short form."""

WRAPPERS = {
    "google.protobuf.BoolValue",
    "google.protobuf.UInt32Value",
    "google.protobuf.UInt64Value",
    "google.protobuf.Int32Value",
    "google.protobuf.Int64Value",
    "google.protobuf.DoubleValue",
    "google.protobuf.FloatValue",
    "google.protobuf.StringValue",
    "google.protobuf.BytesValue",
}
WELL_KNOWN = {1: "header_name", 2: "header_value"}
PATTERNS = {"^[^?#]+[^?#/]$": "path_separated_prefix"}


def of(message, field, envoy):
    """The rules of one field, such as ["min_len=1", "header_name"]. A rule of a repeated field's items is given as the
    item's; the reader applies it to each. Fails on a rule that the reader does not know."""
    rules = envoy.rules(envoy.message(message.full_name).fields_by_number[field.number])
    out = []
    for kind, value in rules.ListFields():
        if kind.name == "repeated":
            for rule, bound in value.ListFields():
                if rule.name == "items":
                    for _, items in bound.ListFields():
                        out += _scalar(items, message, field)
                elif rule.name in ("min_items", "max_items"):
                    out.append(f"{rule.name}={bound}")
                elif rule.name == "unique":
                    pass  # Checked where the list is compiled.
                else:
                    raise SystemExit(f"{message.full_name}.{field.name}: unknown rule {rule.name}")
        elif kind.name == "message":
            pass  # `required`: see must_be_present.
        elif kind.name == "map":
            pass  # Rules of keys and values are MessageRules' business.
        else:
            out += _scalar(value, message, field)
    return out


def _scalar(value, message, field):
    out = []
    for rule, bound in value.ListFields():
        if rule.name in ("min_len", "max_bytes", "gte", "gt", "lte", "lt"):
            if rule.message_type is not None:
                bound = bound.seconds * 1_000_000_000 + bound.nanos
            elif isinstance(bound, float) and not bound.is_integer():
                raise SystemExit(f"{message.full_name}.{field.name}: the reader knows whole bounds only, not {bound}")
            else:
                bound = int(bound)
            out.append(f"{rule.name}={bound}")
        elif rule.name == "const":
            out.append(f"const={str(bound).lower()}")
        elif rule.name == "well_known_regex":
            out.append(WELL_KNOWN[bound])
        elif rule.name == "pattern" and bound in PATTERNS:
            out.append(PATTERNS[bound])
        elif rule.name in ("strict", "defined_only", "required", "ignore_empty"):
            # Only fields that are there are looked at, so that an empty one is ignored anyway. `required`: see
            # must_be_present. The reader is strict about header names, and never takes a number that an enum does not
            # have.
            pass
        elif rule.name in ("in", "not_in", "prefix", "suffix"):
            pass  # Words, or a shape of them, that the proxy knows itself.
        else:
            raise SystemExit(f"{message.full_name}.{field.name}: unknown rule {rule.name}")
    return out


def must_be_present(message, field, envoy):
    """Whether Envoy refuses a message without this field (and the field is no member of a oneof with a choice)."""
    rules = envoy.rules(envoy.message(message.full_name).fields_by_number[field.number])
    if field.oneof is not None:
        oneof = envoy.message(message.full_name).oneofs_by_name[field.oneof]
        members = [other for other in message.fields if other.oneof == field.oneof]
        return len(members) == 1 and envoy.oneof_required(oneof)
    if rules.message.required or rules.any.required or rules.duration.required:
        return True
    type_name = field.proto.type_name.lstrip(".")
    if type_name in WRAPPERS or type_name == "google.protobuf.Duration":
        return False
    given = dict(rule.split("=") for rule in of(message, field, envoy) if "=" in rule)
    if field.repeated:
        return int(given.get("min_items", 0)) > 0
    return any(int(given.get(rule, 0)) > 0 for rule in ("min_len", "gte")) or int(given.get("gt", -1)) >= 0
