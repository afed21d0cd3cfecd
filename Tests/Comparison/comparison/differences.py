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
    reason: str
    used: bool = False

    def covers(self, case, key):
        return fnmatch.fnmatchcase(case, self.case) and fnmatch.fnmatchcase(key, self.key)


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
            section, _, phrase = words[2].partition(": ")
            if plain(section) not in known:
                raise ListError(f"{where}: {document.name} has no section \"{section}\"")
            if plain(phrase) not in known[plain(section)]:
                raise ListError(f"{where}: section \"{section}\" of {document.name} does not say \"{phrase}\"")
            self.entries.append(Difference(number, words[0], words[1], words[2]))

    def covers(self, case, key):
        """Whether the difference is listed; it counts as one that occurs."""
        found = [entry for entry in self.entries if entry.covers(case, key)]
        for entry in found:
            entry.used = True
        return bool(found)

    def unused(self):
        return [entry for entry in self.entries if not entry.used]
