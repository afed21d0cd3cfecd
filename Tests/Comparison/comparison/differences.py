"""The list of what may differ: every entry names the place in the documentation that gives the reason."""

import fnmatch
import re
from dataclasses import dataclass


class ListError(Exception):
    """The list is wrong."""


@dataclass
class Difference:
    line: int
    case: str
    key: str
    value: str  # what Martlet has there; None: whatever it is
    reason: str
    used: bool = False

    def is_of(self, case):
        """Whether the entry is about this case: by its id, or, with `!`, by all areas but one."""
        if self.case.startswith("!"):
            return not fnmatch.fnmatchcase(case.area, self.case[1:])
        return fnmatch.fnmatchcase(case.id, self.case)

    def covers(self, case, key, value):
        return (self.is_of(case) and fnmatch.fnmatchcase(key, self.key)
                and (self.value is None or fnmatch.fnmatchcase(value or "", self.value)))


def plain(text):
    return " ".join(re.sub(r"[`*\\]|\]\([^)]*\)|\[", "", text).split()).lower()


def sections(document):
    """The text of each section, by its heading."""
    parts = re.split(r"^## +(.+)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {plain(heading): plain(text) for heading, text in zip(parts[1::2], parts[2::2])}


class Differences:
    def __init__(self, path, document):
        self.entries = []
        known = sections(document)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            words = line.split(maxsplit=2)
            where = f"{path.name}:{number}"
            if len(words) < 3 or ": " not in words[2]:
                raise ListError(f"{where}: an entry is: case, key, section: words that stand there")
            # A heading may have a colon of its own.
            section = next((heading for heading in known if plain(words[2]).startswith(heading + ": ")), None)
            if section is None:
                raise ListError(f"{where}: {document.name} has no section for \"{words[2]}\"")
            phrase = plain(words[2])[len(section) + 2:]
            if phrase not in known[section]:
                raise ListError(f"{where}: section \"{section}\" of {document.name} does not say \"{phrase}\"")
            key, equals, value = words[1].partition("=")
            self.entries.append(Difference(number, words[0], key, value if equals else None, words[2]))

    def covers(self, case, key, value=None):
        """Whether the difference is listed; it counts as one that occurs."""
        found = [entry for entry in self.entries if entry.covers(case, key, value)]
        for entry in found:
            entry.used = True
        return bool(found)

    def unused(self):
        return [entry for entry in self.entries if not entry.used]
