"""Reads case files. The format is described in README.md beside this package."""

import re
import textwrap
from dataclasses import dataclass, field

CASE_LINES = {"field", "says", "upstreams", "endpoints", "refused", "full", "unix", "format", "alone", "invalid",
              "client", "speaks", "probed", "collector"}
SECTIONS = {"routes", "virtual_host", "virtual_hosts", "route_config", "manager", "filters", "router", "listener",
            "access_log", "bootstrap", "network", "chains", "chain", "tls", "tcp", "secrets", "tracing", "provider"}
OPTIONS = {"on", "from", "to", "repeat", "share", "compare", "background", "until", "ends", "unlogged", "lines", "client",
           "proxy", "tunnel", "resets", "keeps", "receive", "takes", "spans", "export"}
ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)")
SIMPLE = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}
REPEAT = re.compile(r"\\\{((?:(?!\\\{).)*?)\*(\d+)\}")


class CaseError(Exception):
    """A case file says something that is not understood."""


@dataclass
class Expectation:
    line: int
    key: str  # of the record, without the number of the exchange; `?` stands for the only upstream
    value: str  # None: must not be there; "*": any


@dataclass
class Script:
    """What an upstream does with a request."""

    lines: list = field(default_factory=list)  # status line and fields
    body: str = None
    behaviour: str = ""  # nothing, close, reset, hold, stall
    trailers: list = field(default_factory=list)


@dataclass
class Exchange:
    """One request and what becomes of it."""

    line: int
    head: list = field(default_factory=list)  # request line and fields
    body: str = None
    trailers: list = field(default_factory=list)
    raw: str = None  # instead of all
    options: dict = field(default_factory=dict)
    shares: dict = field(default_factory=dict)  # body of the response: (least, most) percent
    scripts: dict = field(default_factory=dict)  # number of the request that the upstreams get: what is done from it on
    own_scripts: dict = field(default_factory=dict)  # of upstreams that have their own, by name
    expectations: list = field(default_factory=list)

    @property
    def behaviour(self):
        return self.scripts[1].behaviour if 1 in self.scripts else ""

    @property
    def hold(self):
        """What one of its requests waits for at an upstream, or nothing."""
        return next((script.behaviour.split()[1] for script in self.scripts.values()
                     if script.behaviour.startswith("hold ")), "")


@dataclass
class Step:
    """Something between the exchanges."""

    line: int
    verb: str
    words: list
    expectations: list = field(default_factory=list)


@dataclass
class Case:
    id: str
    area: str
    name: str  # file
    line: int
    feature: str = ""
    says: str = ""
    upstreams: list = field(default_factory=lambda: ["one"])
    endpoints: dict = field(default_factory=dict)
    refused: list = field(default_factory=list)
    probed: list = field(default_factory=list)  # all that arrives there is a health check
    full: list = field(default_factory=list)  # a queue that takes no further connection
    unix: list = field(default_factory=list)
    collector: str = ""  # the format of the collector that spans are sent to
    client: str = ""  # what the client speaks, if an exchange does not say it
    speaks: dict = field(default_factory=dict)  # upstream: what it speaks instead of HTTP/1.1, with options
    format: str = None  # of the access log, instead of the common one
    own: str = ""  # whether it wants a process of its own
    invalid: str = ""  # whether both must refuse the configuration
    sections: dict = field(default_factory=dict)
    clusters: dict = field(default_factory=dict)  # name: what is added to the default one
    files: dict = field(default_factory=dict)
    links: dict = field(default_factory=dict)
    steps: list = field(default_factory=list)

    @property
    def peers(self):
        """The upstreams and the collector: all that have a cluster."""
        return self.upstreams + (["collector"] if self.collector else [])

    def spoken(self, name):
        """What an upstream or the collector speaks instead of HTTP/1.1."""
        return self.speaks.get(name, {"h2": ""} if (name, self.collector) == ("collector", "otlp-grpc") else {})

    @property
    def chance(self):
        """Whether it is left to chance which upstream gets a request."""
        shares = [share for step in self.steps if isinstance(step, Exchange) for share in step.shares.values()]
        return any(least != most for least, most in shares)

    @property
    def repeats(self):
        """Whether there are exchanges that take as many requests as they take."""
        return any("until" in step.options for step in self.steps if isinstance(step, Exchange))

    @property
    def alone(self):
        """Whether it changes what belongs to the whole process."""
        return bool(self.own) or "bootstrap" in self.sections


# How many words follow each.
STEPS = {"stats": 0, "release": 1, "finish": 1, "await": 2, "link": 2, "write": 2, "open": 1, "closed": 1, "close": 1,
         "checks": 1, "checked": 1, "collects": 1}


def unescape(text, where=""):
    """A text with \\r \\n \\t \\0 \\xHH \\\\ and \\{text*COUNT}, in which %d is the number of the repetition."""
    while REPEAT.search(text):
        text = REPEAT.sub(lambda m: "".join(m[1].replace("%d", str(i)) for i in range(int(m[2]))), text)

    def replace(match):
        code = match[1]
        if code[0] == "x" and len(code) == 3:
            return chr(int(code[1:], 16))
        if code not in SIMPLE:
            raise CaseError(f"{where}: unknown escape \\{code}")
        return SIMPLE[code]

    return ESCAPE.sub(replace, text)


def read_all(folder):
    cases = [case for path in sorted(folder.glob("*.case")) for case in Reader(path).read()]
    seen = {}
    for case in cases:
        if case.id in seen:
            raise CaseError(f"{case.name}:{case.line}: {case.id} is also in {seen[case.id]}")
        seen[case.id] = case.name
    return cases


class Reader:
    def __init__(self, path):
        self.path = path
        self.case = None
        self.current = None  # the exchange or step that a line belongs to
        self.block = None  # (dictionary, key) that indented lines belong to

    def fail(self, number, text):
        raise CaseError(f"{self.path.name}:{number}: {text}")

    def read(self):
        cases = []
        for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines(), 1):
            if line.startswith("#"):
                continue
            if not line.strip():
                self.current = None
                if self.block:
                    self.add_to_block("")
                continue
            if line.startswith("== "):
                self.case = Case(id=line[3:].strip(), area=self.path.stem, name=self.path.name, line=number)
                cases.append(self.case)
                self.current = self.block = None
            elif self.case is None:
                self.fail(number, "something before the first '== id'")
            elif line.startswith(" ") and self.block:
                self.add_to_block(line)
            elif line.startswith(" ") and isinstance(self.current, Step) and self.current.verb == "stats":
                name, equals, value = line.strip().partition(" = ")
                self.current.expectations.append(Expectation(number, name, value if equals else "*"))
            else:
                self.block = None
                self.read_line(number, line)
        for case in cases:
            for texts in (case.sections, case.clusters, case.files):
                for key, text in texts.items():
                    texts[key] = textwrap.dedent(text).strip("\n") + "\n"
            if not (case.feature and case.says and (case.steps or case.invalid)):
                self.fail(case.line, f"{case.id} needs field:, says: and at least one exchange")
        return cases

    def add_to_block(self, line):
        texts, key = self.block
        texts[key] += line + "\n"

    def read_line(self, number, line):
        case = self.case
        name, colon, value = line.partition(":")
        value = value.strip()
        if colon and name in CASE_LINES and not (name == "client" and (case.client or case.steps or self.current)):
            self.case_line(number, name, value)
        elif colon and not value and name in SECTIONS:
            self.begin(case.sections, name)
        elif colon and not value and name.startswith("cluster "):
            self.begin(case.clusters, name.split()[1])
        elif colon and not value and name.startswith("file "):
            self.begin(case.files, name.split()[1])
        elif colon and name.startswith("link "):
            case.links[name.split()[1]] = value
        elif colon and name.split(" ")[0] in OPTIONS:
            self.option(number, name, value)
        elif line.rstrip(":").split()[0] in STEPS:
            words = line.rstrip(":").split(maxsplit=STEPS[line.rstrip(":").split()[0]])
            self.current = Step(number, words[0], [unescape(word, number) for word in words[1:]])
            if len(self.current.words) != STEPS[words[0]]:
                self.fail(number, f"{words[0]} takes {STEPS[words[0]]} words")
            case.steps.append(self.current)
        else:
            self.wire_line(number, line)

    def begin(self, texts, key):
        texts[key] = ""
        self.block = (texts, key)

    def case_line(self, number, name, value):
        case = self.case
        if name in ("upstreams", "refused", "full", "unix", "probed"):
            setattr(case, name, value.split())
        elif name == "speaks":
            case.speaks = {key: dict(how.partition(":")[::2] for how in value.split("+"))
                           for key, value in (word.split("=") for word in value.split())}
        elif name == "endpoints":
            case.endpoints = {key: int(count) for key, count in (word.split("=") for word in value.split())}
        else:
            setattr(case, {"field": "feature", "alone": "own"}.get(name, name), value)

    def exchange(self, number):
        """The exchange that the line belongs to: lines that follow each other are one."""
        if not isinstance(self.current, Exchange):
            self.current = Exchange(number)
            self.case.steps.append(self.current)
        return self.current

    def option(self, number, name, value):
        exchange = self.exchange(number)
        word, _, argument = name.partition(" ")
        if word == "share":
            least, most = value.split("..")
            exchange.shares[argument] = (float(least), float(most))
        else:
            exchange.options[word] = value or "yes"

    def wire_line(self, number, line):
        match = re.fullmatch(
            r"(>[|!t]?|s\d*<!?|u(?:\d*| [\w#-]+)(?:>[|t]?|:)|u\d*(?: [\w#-]+)?<[|!t]?|<[|!t]?|log:|tls:)(?: (.*))?", line)
        if not match:
            self.fail(number, f"not understood: {line}")
        exchange = self.exchange(number)
        mark, text = match[1], match[2] or ""
        if mark[0] == "s":
            self.expect_of_span(number, exchange, mark, unescape(text))
            return
        count = re.match(r"u?(\d*)", mark)[1]
        mark = mark.replace(count, "", 1)
        script = exchange.scripts.setdefault(int(count or 1), Script()) if re.match("u[>:]", mark) else None
        if own := re.fullmatch(r"u ([\w#-]+)(>[|t]?|:)", mark):
            script = exchange.own_scripts.setdefault(own[1], Script())
            mark = "u" + own[2]
        where = f"{self.path.name}:{number}"
        if mark == ">":
            exchange.head.append(unescape(text, where))
        elif mark == ">|":
            exchange.body = (exchange.body or "") + unescape(text, where)
        elif mark == ">t":
            exchange.trailers.append(unescape(text, where))
        elif mark == "u>t":
            script.trailers.append(unescape(text, where))
        elif mark == ">!":
            exchange.raw = (exchange.raw or "") + unescape(text, where)
        elif mark == "u>":
            script.lines.append(unescape(text, where))
        elif mark == "u>|":
            script.body = (script.body or "") + unescape(text, where)
        elif mark == "u:":
            script.behaviour = text
        elif mark == "log:" and (self.case.format or "access_log" in self.case.sections):
            exchange.expectations.append(Expectation(number, "log", text))
        elif mark in ("log:", "tls:"):
            for word in text.split():
                key, _, value = word.partition("=")
                exchange.expectations.append(Expectation(number, f"{mark[:-1]}.{key}", value))
        elif mark.startswith("u"):
            name = mark[1:].partition("<")[0].strip() or "?"
            prefix = f"upstream.{name}." + (f"{count}." if count else "")
            self.expect(number, exchange, mark[-1], prefix, unescape(text, where))
        else:
            self.expect(number, exchange, mark[-1], "", unescape(text, where))

    def expect_of_span(self, number, exchange, mark, text):
        name, _, value = (text, "", None) if mark.endswith("!") else text.partition(": ")
        exchange.expectations.append(Expectation(number, f"span.{mark.strip('s<!') or 1}.{name}", value))

    def expect(self, number, exchange, kind, prefix, text):
        expectations = exchange.expectations
        if kind == "|":
            expectations.append(Expectation(number, prefix + "body", text))
        elif kind == "t":
            name, _, value = text.partition(":")
            expectations.append(Expectation(number, f"{prefix}trailer.{name}", value.strip()))
        elif kind == "!":
            expectations.append(Expectation(number, f"{prefix}header.{text}", None))
        elif re.fullmatch(r"reset ([A-Z_]+|\*)", text):
            expectations.append(Expectation(number, prefix + "reset", text.split()[1]))
        elif re.fullmatch(r"(tls|proxied)[.=].*", text):
            key, _, value = text.partition("=")
            expectations.append(Expectation(number, prefix + key, value))
        elif re.fullmatch(r"\d\d\d|closed", text) and not prefix:
            expectations.append(Expectation(number, "status", text))
        elif prefix and text == "nothing":
            expectations.append(Expectation(number, prefix + "line", None))
        elif prefix and re.fullmatch(r"\S+ \S+( HTTP/[12](\.[01])?)?", text) and not re.match(r"[:\w-]+: ", text):
            line = text if text.endswith(("HTTP/1.1", "HTTP/1.0", "HTTP/2")) else text + " HTTP/1.1"
            expectations.append(Expectation(number, prefix + "line", line))
        else:
            name, colon, value = text[1:].partition(":")  # a pseudo-header field begins with one
            name = text[0] + name
            if not colon:
                self.fail(number, f"not a status, a request line or a field: {text}")
            expectations.append(Expectation(number, f"{prefix}header.{name}", value.strip()))
