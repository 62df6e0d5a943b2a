"""What may not leave with a bundle: places of files, names of users and machines, addresses, and ids where it is asked.

A pseudonym is a keyed hash (HMAC-SHA-256) of an id: the same under the same key in every bundle, and nobody without the key can
compute it. A case's pseudonym begins with its patient's. Dates are moved by a number of days that is the patient's own.
"""

import hashlib
import hmac
import os
import re
import secrets
import socket
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from glioflow.console import UserError
from glioflow.files import write_text

# An absolute path of two parts or more, on POSIX or Windows, or one below a home folder; no address of the web, no </tag>.
ABSOLUTE = re.compile(r"(?<![\w.:/<>~$}\-])/(?:[^\s/\"'<>|:;,()\[\]{}=]+/)+[^\s/\"'<>|:;,()\[\]{}=]*")
WINDOWS = re.compile(r"(?<![A-Za-z])[A-Za-z]:\\[^\s\"'<>|:;,()\[\]]+|\\\\[^\s\"'<>|:;,()\[\]]+")
HOME = re.compile(r"(?<![\w/])~[\w.-]*/[^\s\"'<>|:;,()\[\]]+")
CLIMBING = re.compile(r"(?<![\w./])(?:\.\./)+[^\s\"'<>|:;,()\[\]]*")
ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)*")
HOME_OF = re.compile(r"/(?:home|Users)/([^/\s\"']+)")
NOBODY = frozenset({"root", "user", "users", "localhost", "admin", "shared", "public", "data", "home", "runner", "ubuntu"})
WORD = re.compile(r"[^\W_]+")
RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ISO_DATE = re.compile(r"(?<!\d)(\d{4})([-/.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)")
OTHER_DATE = re.compile(r"(?<![\d.])\d{1,2}([-/.])\d{1,2}\1(?:\d{4}|\d{2})(?![\d.])")  # day and month cannot be told apart
LARGEST_SHIFT_DAYS = 365
DIGITS = 12  # hexadecimal digits of a pseudonym: 48 bits, so that a million patients share none (birthday bound 2e-3)


def known_names(texts: Iterable[str] = ()) -> set[str]:
    """Return the names of this user and this machine, and of the owners of home folders that ``texts`` name."""
    host = socket.gethostname()
    names = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER", "USERNAME")}
    names |= {host, host.partition(".")[0], os.environ.get("HOSTNAME", ""), Path.home().name}
    names |= {owner for text in texts for owner in HOME_OF.findall(text)}
    return {name for name in names if len(name) > 2 and name.lower() not in NOBODY}


def read_key(path: Path) -> bytes:
    """Return the key of the pseudonyms in a file; it is made, readable to its owner alone, where there is none."""
    try:
        if not path.exists():
            write_text(path, secrets.token_hex(32) + "\n")
            path.chmod(0o600)
        key = path.read_text(encoding="utf-8").strip().encode()
    except OSError as error:
        raise UserError(f"bundle.pseudonym_key: {path} cannot be read or made ({error.strerror})") from None
    if len(key) < 32:
        raise UserError(
            f"bundle.pseudonym_key: {path} holds {len(key)} characters; a key has 32 or more. Delete it for a new one"
        )
    return key


class Pseudonyms:
    """Ids and what is written for them."""

    def __init__(self, patients: Mapping[str, str], key: bytes) -> None:
        """Take case to patient."""
        self.key = key
        self.patient_of = dict(patients)
        self.names = {patient: f"P{self._hash('patient', patient)}" for patient in set(patients.values())}
        for case, patient in patients.items():
            self.names.setdefault(case, f"{self.names[patient]}_{self._hash('case', case)[:6]}")
        # A short number is an id only where ids stand; elsewhere it is a number, and names nobody.
        self.telling = {name for name in self.names if len(name) > 4 or re.search("[A-Za-z]", name)}
        self._lengths = sorted({len(name) for name in self.telling}, reverse=True)

    def id(self, text: str) -> str:
        """Return the pseudonym of a text that is an id, else the text without ids."""
        return self.names.get(text) or self.text(text)

    def _hash(self, kind: str, text: str) -> str:
        return hmac.new(self.key, f"{kind}\0{text}".encode(), hashlib.sha256).hexdigest()[:DIGITS]

    def text(self, text: str) -> str:
        """Return a text in which no id stands as a word or as a part of a word between signs; the longest id counts."""
        return RUN.sub(lambda match: self._run(match[0]), text)

    def _run(self, run: str) -> str:
        parts, place, whole = [], 0, True
        while place < len(run):
            named = (run[place : place + size] for size in self._lengths) if whole else ()
            if found := next((name for name in named if self._stands(run, place, name)), None):
                parts.append(self.names[found])
                place += len(found)
            else:
                parts.append(run[place])
                place += 1
            whole = place < len(run) and not (run[place - 1].isalnum() and run[place].isalnum())
        return "".join(parts)

    def _stands(self, run: str, place: int, name: str) -> bool:
        return name in self.telling and not run[place + len(name) : place + len(name) + 1].isalnum()

    def shift(self, text: str, patient: str) -> str:
        """Return a text with its dates moved by the patient's own number of days, from 1 to 365 back or forth.

        A date whose day and month cannot be told apart is left out.
        """
        number = int(self._hash("days", patient), 16)
        days = (number % LARGEST_SHIFT_DAYS + 1) * (1 if number % 2 else -1)

        def moved(match: re.Match[str]) -> str:
            try:
                day = date(int(match[1]), int(match[3]), int(match[4])) + timedelta(days=days)
            except (ValueError, OverflowError):
                return match[0]
            return match[2].join([f"{day.year:04d}", f"{day.month:02d}", f"{day.day:02d}"])

        return ISO_DATE.sub(moved, OTHER_DATE.sub("[date]", text))


class Identifiers:
    """What is written in place of what may not leave."""

    def __init__(
        self, roots: Mapping[str, str], names: Iterable[str], pseudonyms: Pseudonyms | None, withheld: Iterable[str] = ()
    ) -> None:
        """Take absolute folders and files with what is written for them, names, and values that free text may not show."""
        self.roots = dict(sorted(roots.items(), key=lambda item: -len(item[0])))
        self.pseudonyms = pseudonyms
        self._roots = _any_of(self.roots, r"(?<![\w.~/\-])", r"(?![\w.\-])")
        self._names, self._withheld = Words(names), Words(withheld)

    def place(self, path: str) -> str:
        """Return what is written for an absolute path: below a known root the rest of it, else its last part alone."""
        for root, name in self.roots.items():
            if path == root or path.startswith(f"{root.rstrip('/')}/"):
                return name + path[len(root.rstrip("/")) :]
        return path.rstrip("/").rpartition("/")[2]

    def text(self, text: str, free: bool = False) -> str:
        """Return a text without places, names and, where asked, ids; of ``free`` text also without withheld values."""
        if "/" in text or "\\" in text:
            if self._roots:
                text = self._roots.sub(lambda match: self.roots[match[0]], text)
            text = ABSOLUTE.sub(lambda match: match[0].rstrip("/").rpartition("/")[2], text)
            text = WINDOWS.sub(lambda match: match[0].rstrip("\\").rpartition("\\")[2], text)
            text = HOME.sub(lambda match: match[0].rpartition("/")[2], text)
        if "@" in text:
            text = ADDRESS.sub("[address]", text)
        text = self._names.replace(text, "[name]")
        if free:
            text = self._withheld.replace(text, "[withheld]")
        return self.pseudonyms.text(text) if self.pseudonyms else text

    def free(self, text: str) -> str:
        """Return the text of a log or a message: no path that climbs, either."""
        return self.text(CLIMBING.sub(lambda match: match[0].rpartition("/")[2], text), free=True)

    def value(self, value: Any) -> Any:
        """Return a value of JSON, its keys as well, without what may not leave."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(each) for each in value]
        return {self.value(key): self.value(each) for key, each in value.items()} if isinstance(value, dict) else value


class Words:
    """Words and groups of words, found where they stand alone, in large letters or small; however many there are."""

    def __init__(self, words: Iterable[str]) -> None:
        self.by_first: dict[str, list[str]] = {}
        for word in sorted({word.strip().lower() for word in words}, key=lambda word: (-len(word), word)):
            if first := WORD.match(word):
                self.by_first.setdefault(first[0], []).append(word)

    def replace(self, text: str, other: str) -> str:
        """Return the text with ``other`` in the place of each of the words; the longest one counts."""
        if not self.by_first:
            return text
        lower, parts, done = text.lower(), [], 0
        for match in WORD.finditer(lower):
            start = match.start()
            if start < done:
                continue
            for word in self.by_first.get(match[0], ()):
                end = start + len(word)
                if lower.startswith(word, start) and not lower[end : end + 1].isalnum():
                    parts += [text[done:start], other]
                    done = end
                    break
        return "".join([*parts, text[done:]])


def _any_of(words: Iterable[str], before: str, after: str) -> re.Pattern[str] | None:
    found = sorted(filter(None, set(words)), key=lambda word: (-len(word), word))
    return re.compile(f"{before}(?:{'|'.join(map(re.escape, found))}){after}") if found else None
