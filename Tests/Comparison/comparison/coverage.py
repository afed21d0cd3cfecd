"""Which fields of the schema no case has."""

import re
from pathlib import Path

FIELD = re.compile(r"\s*(?:repeated |optional )?(?:map<[^>]*>|[\w.]+) (\w+) = \d+[;\s\[]")
# Messages that are no configuration: what services are asked and answer. Cases have them as bytes.
MESSAGES = {"envoy/service/ratelimit/v3/rls.proto"}
ENUMERATION = re.compile(r"\s*enum \w+ \{")


def fields(protos):
    """{name: the file that has it first} of every field of Envoy's messages."""
    found = {}
    for path in sorted((protos / "envoy").rglob("*.proto")):
        if str(path.relative_to(protos)) in MESSAGES:
            continue
        in_enumeration = False
        for line in path.read_text(encoding="utf-8").splitlines():
            if ENUMERATION.match(line):
                in_enumeration = True
            elif line.strip() == "}":
                in_enumeration = False
            match = FIELD.match(line)
            if match and not in_enumeration:
                found.setdefault(match[1], path.relative_to(protos))
    return found


def missing(protos, cases: Path, configuration: Path, exceptions: Path):
    """Lines about fields that neither a case nor the common configuration has, and about exceptions that are none."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(cases.glob("*.case"))]
    # What is said of a case is no configuration.
    words = set(re.findall(r"\w+", re.sub(r"^(field|says|#).*$", "", "\n".join(texts), flags=re.MULTILINE)))
    words |= set(re.findall(r"\w+", configuration.read_text(encoding="utf-8")))
    excepted = {line.split()[0] for line in exceptions.read_text(encoding="utf-8").splitlines()
                if line.strip() and not line.startswith("#")}
    known = fields(protos)
    lines = [f"no case has the field {name} ({path})" for name, path in known.items()
             if name not in words and name not in excepted]
    for name in sorted(excepted):
        if name not in known:
            lines.append(f"{exceptions.name}: the schema has no field {name}")
        elif name in words:
            lines.append(f"{exceptions.name}: {name} is in a case now: take it off the list")
    return lines
