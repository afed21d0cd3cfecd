"""The supported subset: Sources/MeshAPI/Protos, with its comments."""

import os
import re
import subprocess
import tempfile

from google.protobuf import any_pb2, descriptor_pb2, duration_pb2, struct_pb2, wrappers_pb2

Field = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    Field.TYPE_DOUBLE: "double",
    Field.TYPE_FLOAT: "float",
    Field.TYPE_INT32: "int32",
    Field.TYPE_INT64: "int64",
    Field.TYPE_UINT32: "uint32",
    Field.TYPE_UINT64: "uint64",
    Field.TYPE_BOOL: "bool",
    Field.TYPE_STRING: "string",
    Field.TYPE_BYTES: "bytes",
}


class SubsetField:
    def __init__(self, proto, comment, message):
        self.proto = proto
        self.name = proto.name
        self.number = proto.number
        lines = comment.strip().split("\n")
        text = " ".join(line.strip() for line in lines)
        match = re.fullmatch(r"(.*?)\s*Default: (.*)\.", text)
        self.meaning, self.default = (match.group(1), match.group(2)) if match else (text, None)
        self.required = self.default == "required"
        self.deprecated = proto.options.deprecated
        self.oneof = message.proto.oneof_decl[proto.oneof_index].name if proto.HasField("oneof_index") else None
        self.map_value = None
        for nested in message.proto.nested_type:
            if nested.options.map_entry and proto.type_name.endswith("." + message.name + "." + nested.name):
                self.map_value = nested.field[1]

    @property
    def repeated(self):
        return self.proto.label == Field.LABEL_REPEATED and self.map_value is None

    def type_of(self, proto):
        """`string`, `enum:NAME`, `message:NAME`."""
        if proto.type == Field.TYPE_ENUM:
            return "enum:" + proto.type_name.lstrip(".")
        if proto.type == Field.TYPE_MESSAGE:
            return "message:" + proto.type_name.lstrip(".")
        return SCALARS[proto.type]

    @property
    def value_type(self):
        return self.type_of(self.map_value or self.proto)


class SubsetMessage:
    def __init__(self, proto, full_name, comments, path, file):
        self.proto = proto
        self.full_name = full_name
        self.file = file
        # Nested messages keep the names of what they are nested in: Cluster.LbPolicy.
        self.name = full_name[len(file.package) + 1 :]
        self.comment = " ".join(comments.get(path, "").split())
        self.fields = [
            SubsetField(field, comments.get(path + (2, i), ""), self) for i, field in enumerate(proto.field)
        ]


class SubsetEnum:
    def __init__(self, proto, full_name, comments, path, file):
        self.proto = proto
        self.full_name = full_name
        self.file = file
        self.name = full_name[len(file.package) + 1 :]
        self.comment = " ".join(comments.get(path, "").split())
        self.values = [
            (v.name, v.number, " ".join(comments.get(path + (2, i), "").split())) for i, v in enumerate(proto.value)
        ]

    @staticmethod
    def supported(comment):
        return "Not supported yet" not in comment


class Subset:
    """All messages and enums, in the order of the files and of the declarations in them."""

    def __init__(self, root):
        self.root = root
        self.files = sorted(
            os.path.relpath(os.path.join(folder, name), root)
            for folder, _, names in os.walk(root)
            for name in names
            if name.endswith(".proto")
        )
        self.messages = {}
        self.enums = {}
        for file in self._descriptors().file:
            if not file.name.startswith("google/"):
                comments = {tuple(x.path): x.leading_comments for x in file.source_code_info.location}
                self._add(file, file, file.package, comments, (4,), (5,))

    def _descriptors(self):
        well_known = descriptor_pb2.FileDescriptorSet()
        for module in (any_pb2, duration_pb2, struct_pb2, wrappers_pb2):
            module.DESCRIPTOR.CopyToProto(well_known.file.add())
        with tempfile.TemporaryDirectory() as folder:
            known, out = os.path.join(folder, "known.pb"), os.path.join(folder, "out.pb")
            with open(known, "wb") as file:
                file.write(well_known.SerializeToString())
            subprocess.run(
                ["protoc", "--descriptor_set_in=" + known, "-I" + self.root, "--include_source_info", "-o" + out]
                + self.files,
                check=True,
            )
            with open(out, "rb") as file:
                return descriptor_pb2.FileDescriptorSet.FromString(file.read())

    def _add(self, file, scope, prefix, comments, message_path, enum_path):
        nested = scope.message_type if scope is file else scope.nested_type
        for i, proto in enumerate(nested):
            if proto.options.map_entry:
                continue
            full_name = prefix + "." + proto.name
            path = message_path + (i,)
            self.messages[full_name] = SubsetMessage(proto, full_name, comments, path, file)
            self._add(file, proto, full_name, comments, path + (3,), path + (4,))
        for i, proto in enumerate(scope.enum_type):
            full_name = prefix + "." + proto.name
            self.enums[full_name] = SubsetEnum(proto, full_name, comments, enum_path + (i,), file)
