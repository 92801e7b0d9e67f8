"""The Redis keys that common/README.md names: its tables are the list, a key that is in none has no business in Redis."""

import re
from collections import namedtuple

from .process import ROOT

# pattern: of the whole key; has_ttl: the README says that it ends by itself.
Key = namedtuple("Key", "name pattern has_ttl")

PARTNER = r"\{[a-z0-9_]+\}"


def _pattern(name):
    """`worker:{p}:EPOCH` -> a regular expression: {p} is any partner, a word in capitals or … anything."""
    parts = re.split(r"(\{p\}|\{longshore\}|[A-Z][A-Z0-9_]*|…)", name)
    known = {"{p}": PARTNER, "{longshore}": r"\{longshore\}"}
    return re.compile("".join(known.get(p) or (".+" if re.fullmatch(r"[A-Z][A-Z0-9_]*|…", p) else re.escape(p)) for p in parts))


def documented_keys():
    found = []
    for line in (ROOT / "common" / "README.md").read_text().splitlines():
        cells = [c.strip() for c in line.split("|")]
        if not line.startswith("| `") or len(cells) < 4:
            continue
        whole = None
        for name in re.findall(r"`([^`]+)`", cells[1]):
            if "}" in name:
                whole = name
            elif whole and name.startswith(":"):  # `:low` after `ready:{p}:high`
                name = whole[:whole.index("}") + 1] + name
            else:
                continue
            found.append(Key(name, _pattern(name), bool(re.search(r"TTL|PX|string, 8 s", cells[2]))))
    assert len(found) > 20, "the tables of common/README.md were not understood"
    return found
