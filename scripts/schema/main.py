"""Makes, or checks, everything that comes from Sources/MeshAPI/Protos. Run through scripts/generate-schema."""

import hashlib
import os
import shutil
import subprocess
import sys

import check
import documentation
import table
from reference import Envoy
from subset import Subset

PROTOS = "Sources/MeshAPI/Protos"
GENERATED = "Sources/MeshAPI/Generated"
CHECKSUM = "scripts/schema/generated.sha256"


def texts(subset, envoy):
    """The generated files that need no protoc-gen-swift, by path."""
    return {
        "Sources/MeshConfig/Schema/SchemaTable.swift": table.schema(subset, envoy),
        "Sources/MeshConfig/Schema/UnsupportedExtensionTypes.swift": table.extensions(subset, envoy),
        "docs/configuration.md": documentation.page(subset),
    }


def checksum():
    """Of the .proto files and of the Swift types made from them, so that neither changes without the other."""
    digest = hashlib.sha256()
    for root in (PROTOS, GENERATED):
        for folder, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    digest.update(path.encode() + b"\0" + hashlib.sha256(file.read()).digest())
    return digest.hexdigest() + "\n"


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def generate_swift(plugin, subset):
    well_known = next(
        path
        for path in (
            os.path.join(folder, "checkouts/swift-protobuf/Sources/protobuf/protobuf/src")
            for folder in (".build-protoc", ".build")
        )
        if os.path.isdir(path)
    )
    shutil.rmtree(GENERATED, ignore_errors=True)
    os.makedirs(GENERATED)
    subprocess.run(
        ["protoc", "-I" + PROTOS, "-I" + well_known, "--plugin=protoc-gen-swift=" + plugin, "--swift_out=" + GENERATED]
        + ["--swift_opt=Visibility=Public,FileNaming=PathToUnderscores"]
        + subset.files,
        check=True,
    )


def main():
    envoy = Envoy()
    subset = Subset(PROTOS)
    found = check.problems(subset, envoy)
    for problem in found:
        print("generate-schema: " + problem)
    if found:
        sys.exit(1)
    if sys.argv[1] == "generate":
        generate_swift(sys.argv[2], subset)
        for path, text in texts(subset, envoy).items():
            write(path, text)
        write(CHECKSUM, checksum())
        print("generate-schema: wrote the Swift types, the reader's tables and docs/configuration.md")
        return
    stale = [path for path, text in texts(subset, envoy).items() if read(path) != text]
    if read(CHECKSUM) != checksum():
        stale.append(GENERATED)
    for path in stale:
        print(f"generate-schema: {path} is out of date: run scripts/generate-schema")
    if stale:
        sys.exit(1)
    fields = sum(len(message.fields) for message in subset.messages.values())
    print(
        f"generate-schema: {len(subset.messages)} messages, {fields} fields and {len(subset.enums)} enums agree with"
        f" Envoy's API (xds-protos {envoy.version}); generated files are up to date"
    )


main()
