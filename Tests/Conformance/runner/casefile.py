"""Reads case files. The format is described in README.md beside this package."""

import re
from dataclasses import dataclass, field
from pathlib import Path


class CaseError(Exception):
    """A case file says something that is not understood."""


@dataclass
class Step:
    line: int
    verb: str  # send, response, request, body, or the word of a word step
    actor: str  # "client" or "upstream"
    argument: str = ""
    head_only: bool = False
    data: bytes = b""  # for send and body
    lines: list = field(default_factory=list)  # for response and request: what follows the first line
    body: bytes = None  # for response and request: the exact body, if the case says it


@dataclass
class Case:
    id: str
    theme: str
    path: Path
    line: int
    rfc: str = ""
    says: str = ""
    options: dict = field(default_factory=dict)
    steps: list = field(default_factory=list)


WORDS = {
    "client": {"opens", "closes", "resets", "half-closes", "closed", "reusable", "pauses", "resumes", "length",
               "complete", "truncated", "trailer", "chunked", "selects", "rejected", "rejected-or", "rejected-late",
               "rejected-late-or", "skips", "flushed", "version",
               "answered-or"},
    "upstream": {"accepts", "closes", "resets", "half-closes", "closed", "pauses", "resumes", "length", "complete",
                 "truncated", "trailer", "chunked", "nothing", "reused", "fresh", "selects", "stops", "count",
                 "answers", "flushed"},
}
MARK = re.compile(r"([cu])([<>])([|~]?)(?: (.*)|())$")
REPEAT = re.compile(r"\\\{((?:(?!\\\{).)*?)\*(\d+)\}")  # one that has none within it
BEGINS = {"client": re.compile(r"(\d{3}|closed)(\|(\d{3}|closed))*( to HEAD)?"), "upstream": re.compile(r"\S+ \S+ HTTP/1\.1")}
ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)")
SIMPLE = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


def unescape(text, where):
    """Bytes of a text with \\r \\n \\t \\0 \\xHH \\\\ and \\{text*COUNT}, in which %d is the number of the repetition."""
    while REPEAT.search(text):
        text = REPEAT.sub(lambda m: "".join(m[1].replace("%d", str(i)) for i in range(int(m[2]))), text)

    def replace(match):
        code = match[1]
        if code[:1] == b"x" and len(code) == 3:
            return bytes([int(code[1:], 16)])
        if code not in SIMPLE:
            raise CaseError(f"{where}: unknown escape \\{code.decode('latin-1')}")
        return SIMPLE[code]

    return ESCAPE.sub(replace, text.encode("utf-8"))


def read(path):
    cases, case, last = [], None, None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{path.name}:{number}"
        if line.startswith("#"):
            continue
        if not line.strip():
            last = None
            continue
        if line.startswith("== "):
            case = Case(id=line[3:].strip(), theme=path.stem, path=path, line=number)
            cases.append(case)
            last = None
            continue
        if case is None:
            raise CaseError(f"{where}: a step before the first '== id'")
        name, colon, value = line.partition(": ")
        if colon and name in ("rfc", "says", "with"):
            if name == "with":
                case.options.update(option.split("=", 1) for option in value.split())
            else:
                setattr(case, name, value.strip())
            last = None
            continue
        last = add_step(case, last, line, number, where)
    for case in cases:
        if not (case.rfc and case.says and case.steps):
            raise CaseError(f"{path.name}:{case.line}: {case.id} needs rfc:, says: and at least one step")
    return cases


def add_step(case, last, line, number, where):
    """The step that this line begins or continues."""
    mark = MARK.match(line)
    if not mark:
        actor, _, rest = line.partition(" ")
        verb, _, argument = rest.partition(" ")
        if verb not in WORDS.get(actor, ()):
            raise CaseError(f"{where}: not a step: {line}")
        case.steps.append(Step(number, verb, actor, argument))
        return None
    actor = {"c": "client", "u": "upstream"}[mark[1]]
    text = mark[4] or ""
    if mark[2] == ">":
        data = unescape(text, where) + (b"" if mark[3] == "|" else b"\r\n")
        if last and last.verb == "send" and last.actor == actor:
            last.data += data
            return last
        case.steps.append(Step(number, "send", actor, data=data))
        return case.steps[-1]
    verb = "response" if actor == "client" else "request"
    if mark[3] == "|":
        data = unescape(text, where)
        if last and last.actor == actor and last.verb == verb and not last.head_only:
            last.body = (last.body or b"") + data
            return last
        if last and last.actor == actor and last.verb == "body":
            last.data += data
            return last
        case.steps.append(Step(number, "body", actor, data=data))
        return case.steps[-1]
    head_only = mark[3] == "~"
    begins = BEGINS[actor].fullmatch(text)
    if last and not begins and last.actor == actor and last.verb == verb and last.head_only == head_only:
        if text:
            last.lines.append(unescape(text, where).decode("latin-1"))
        return last
    case.steps.append(Step(number, verb, actor, argument=unescape(text, where).decode("latin-1"), head_only=head_only))
    return case.steps[-1]


def read_all(folder):
    cases = [case for path in sorted(folder.glob("*.case")) for case in read(path)]
    seen = {}
    for case in cases:
        if case.id in seen:
            raise CaseError(f"{case.path.name}:{case.line}: {case.id} is also in {seen[case.id]}")
        seen[case.id] = case.path.name
    return cases
