"""Envoy's own API, from the PyPI package xds-protos, and what is configured beside it."""

import importlib
import importlib.metadata

import foreign
import newer
from google.protobuf import descriptor_pb2, descriptor_pool
from validate import validate_pb2


class _Pool:
    """The pool that the generated modules put their files into, with the files brought up to date."""

    def __init__(self, pool):
        self._pool = pool

    def AddSerializedFile(self, data):  # noqa: N802, as protobuf calls it
        file = descriptor_pb2.FileDescriptorProto.FromString(data)
        newer.patch(file)
        return self._pool.AddSerializedFile(file.SerializeToString())

    def __getattr__(self, name):
        return getattr(self._pool, name)


class Envoy:
    """The descriptors of the whole v3 API, with its validation rules."""

    def __init__(self):
        self.version = importlib.metadata.version("xds-protos")
        self.extension_types = []
        self._pool = descriptor_pool.Default()
        descriptor_pool.Default = lambda: _Pool(self._pool)
        for file in importlib.metadata.files("xds-protos"):
            path = str(file)
            if not path.endswith("_pb2.py") or not path.startswith(("envoy/", "validate/")):
                continue
            module = importlib.import_module(path[: -len(".py")].replace("/", "."))
            if path.startswith("envoy/extensions/"):
                self.extension_types += [m.full_name for m in module.DESCRIPTOR.message_types_by_name.values()]
        self.extension_types.sort()
        descriptor_pool.Default = lambda: self._pool
        for file in foreign.files():
            self._pool.AddSerializedFile(file.SerializeToString())
        self._validate = validate_pb2

    def message(self, name):
        try:
            return self._pool.FindMessageTypeByName(name)
        except KeyError:
            return None

    def enum(self, name):
        try:
            return self._pool.FindEnumTypeByName(name)
        except KeyError:
            return None

    def rules(self, field):
        return field.GetOptions().Extensions[self._validate.rules]

    def oneof_required(self, oneof):
        return oneof.GetOptions().Extensions[self._validate.required]

    @staticmethod
    def proto(descriptor):
        """The descriptor of a message as a DescriptorProto."""
        proto = descriptor_pb2.DescriptorProto()
        descriptor.CopyToProto(proto)
        return proto
