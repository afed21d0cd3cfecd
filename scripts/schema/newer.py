"""What Envoy 1.40 has and the released xds-protos does not have yet, read from the program's own descriptors. An entry
goes when xds-protos has caught up: `patch` then fails."""

from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from validate import validate_pb2

ROUTE_COMPONENTS = "envoy/config/route/v3/route_components.proto"


def patch(file):
    """Adds to the descriptor of a file what is missing in it."""
    if file.name != ROUTE_COMPONENTS:
        return
    messages = {message.name: message for message in file.message_type}
    cookie = file.message_type.add(name="CookieMatcher")
    name = _add(cookie, "name", 1, Field.TYPE_STRING)
    name.options.Extensions[validate_pb2.rules].string.min_len = 1
    name.options.Extensions[validate_pb2.rules].string.max_bytes = 1024
    match = _add(cookie, "string_match", 2, Field.TYPE_MESSAGE, ".envoy.type.matcher.v3.StringMatcher")
    match.options.Extensions[validate_pb2.rules].message.required = True
    _add(cookie, "invert_match", 3, Field.TYPE_BOOL)
    cookies = _add(messages["RouteMatch"], "cookies", 17, Field.TYPE_MESSAGE, ".envoy.config.route.v3.CookieMatcher")
    cookies.label = Field.LABEL_REPEATED
    rewrite = _add(messages["RedirectAction"], "path_rewrite", 10, Field.TYPE_STRING)
    oneofs = [oneof.name for oneof in messages["RedirectAction"].oneof_decl]
    rewrite.oneof_index = oneofs.index("path_rewrite_specifier")


def _add(message, name, number, kind, type_name=None):
    if any(field.number == number for field in message.field):
        raise SystemExit(f"xds-protos has {message.name}.{name} by now: take it out of scripts/schema/newer.py")
    return message.field.add(name=name, number=number, type=kind, type_name=type_name, label=Field.LABEL_OPTIONAL)
