"""The tables that people give, read in one way: tables of cases, covariates, splits, the tables of a BIDS tree.

Such a table comes from a spreadsheet, a statistics program or an editor. What has one meaning is read: commas, semicolons or
tabs between the cells, UTF-8 or UTF-16, a byte order mark, Windows line ends, quotes, separators after the last cell, empty
rows and columns. A text that is not in UTF-8 is read as Windows-1252, which spreadsheets write in Western Europe, and a note
shows the first word of it. What could shift or change a value without anyone seeing it is refused, with file, line and remedy:
a row with more or fewer fields than the header, a text in no known encoding, two columns of one name.
"""

import codecs
import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from glioflow.console import UserError, count
from glioflow.files import restore_text

# What tables write where nothing is known, spreadsheets' errors among it.
FORMULA_ERRORS = frozenset({"#value!", "#ref!", "#name?", "#num!", "#null!", "#div/0!"})
LEFTOVERS = FORMULA_ERRORS | {"#n/a", "#na", "nan", "<na>"}  # which no person would choose for an id
UNKNOWN = LEFTOVERS | {"", "na", "n/a", "none", "null", "not available", "not applicable", "unknown", "-"}

SEPARATORS = (",", ";", "\t")
SHOWN = 5
COMMA_NUMBER = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
WHOLE_NUMBER = re.compile(r"[+-]?\d+")
SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # the first bytes of .xlsx and .ods, and of .xls
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # what no table in an 8-bit encoding has
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

Line = tuple[int, list[str]]  # the number of the line where a row begins, and its cells


@dataclass(frozen=True)
class UserTable:
    """A table as it was read."""

    columns: list[str]
    rows: list[dict[str, str]]  # every cell stripped; what is unknown is kept as it is written
    notes: list[str]  # what was not written plainly, and how it was understood

    def leftovers(self, column: str) -> list[str]:
        """Return the cells of a column of ids that a spreadsheet left there and nobody chose, such as ``#N/A``."""
        return [text for row in self.rows if (text := row.get(column, "")).lower() in LEFTOVERS]


def read_user_table(path: Path, separator: str | None = None) -> UserTable:
    """Return a person's CSV or TSV table, every cell as text; numbers with decimal commas get a point.

    ``separator`` is found in the header where it is None. Raises UserError, naming file, line and remedy, where the table
    cannot be read or a cell could belong to another column.
    """
    text, notes = _decode(path)
    first, _, rest = text.partition("\n")
    if named := re.fullmatch(r'"?sep=(.)"?\r?', first):  # how Excel takes the separator
        text, separator = f"\n{rest}", separator or named[1]
    separator = separator or separator_of(text)
    lines = [line for line in _parse(path, text, separator) if any(line[1])]
    if not lines:
        return UserTable([], [], notes)
    (_, header), *body = _without_empty_columns(path, lines)
    _check_alike(path, [(name, name) for name in header])
    covariate_names(path, header, {})
    rows = [dict(zip(header, cells, strict=True)) for _, cells in body]
    broken = [
        f"{row[name]} in line {line}, column {name}"
        for (line, _), row in zip(body, rows, strict=True)
        for name in header
        if row[name].startswith("#") and row[name].lower() in FORMULA_ERRORS
    ]
    if broken:
        more = " …" if len(broken) > SHOWN else ""
        notes.append(f"errors of formulas, which count as unknown ({'; '.join(broken[:SHOWN])}{more})")
    for name in header if separator != "," else ():
        if example := _use_points(rows, name):
            notes.append(f"decimal commas in the column {name} ({example} is read as {example.replace(',', '.')})")
    return UserTable(header, rows, notes)


def _decode(path: Path) -> tuple[str, list[str]]:
    """Return the text of a table, and a note where it is not in UTF-8."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if content.startswith(SPREADSHEETS):
        raise UserError(f"{path}: is a spreadsheet's own file; save the sheet as CSV in UTF-8 and name that file")
    if content.startswith(UTF_16):
        try:
            return content.decode("utf-16"), ["the encoding UTF-16"]
        except UnicodeDecodeError:
            raise UserError(f"{path}: begins as UTF-16 and is not; save it as CSV in UTF-8") from None
    if b"\0" in content:
        raise UserError(f"{path}: has zero bytes, as no text in UTF-8 has; save it as CSV in UTF-8")
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        around = re.split(rb"[\s,;\"]", content[: error.start])[-1] + re.split(rb"[\s,;\"]", content[error.start :])[0]
        try:
            text = content.decode("cp1252")
        except UnicodeDecodeError:
            text = "\0"
        if CONTROL.search(text):
            raise UserError(
                f"{path}: line {line} is neither in UTF-8 nor in Windows-1252 (byte {content[error.start]:#x}); "
                "save it as CSV in UTF-8"
            ) from None
        return text, [
            f"the encoding Windows-1252 (line {line}: {around.decode('cp1252')!r}; if that is wrong, save it in UTF-8)"
        ]


def separator_of(text: str) -> str:
    """Return what divides the cells of a table, seen in its first line outside quotes: a comma, else a semicolon or a tab."""
    first = re.sub(r'"[^"]*"', "", re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0])
    return max(SEPARATORS, key=first.count)


def _parse(path: Path, text: str, separator: str) -> list[Line]:
    """Return the rows of a table with the lines where they begin, every cell stripped."""
    stream = io.StringIO(text, newline="")
    reader = csv.reader(stream, delimiter=separator, skipinitialspace=True, strict=True)
    lines: list[Line] = []
    begins = 1
    try:
        for cells in reader:
            lines.append((begins, [restore_text(cell) for cell in map(str.strip, cells)]))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}: the row that begins in line {begins} cannot be read ({error}); is a quote left open? "
            'A quote inside a quoted text is written twice: ""'
        ) from None
    return lines


def _without_empty_columns(path: Path, lines: list[Line]) -> list[Line]:
    """Return the rows without columns that have neither a name nor a value. Raises UserError unless all are of one length.

    Where every row is longer than the header, or shorter, by cells that are empty, only separators after the last cell differ.
    """
    (place, header), *body = lines
    lengths = {len(cells) for _, cells in body}
    if len(lengths) == 1:
        width = lengths.pop()
        if not any(header[width:]):
            header = header[:width]
        if not any(any(cells[len(header) :]) for _, cells in body):
            body = [(line, cells[: len(header)]) for line, cells in body]
    if wrong := [(line, cells) for line, cells in body if len(cells) != len(header)]:
        found = ", ".join(f"line {line} has {count(len(cells), 'field')}" for line, cells in wrong[:SHOWN])
        more = f", and {count(len(wrong) - SHOWN, 'more line')}" if len(wrong) > SHOWN else ""
        raise UserError(
            f"{path}: {found}{more}, where the header (line {place}) has {len(header)}; put a text with a separator in it into "
            "quotes, write decimals with a point, and keep the separators of empty cells"
        )
    kept = [index for index, name in enumerate(header) if name or any(cells[index] for _, cells in body)]
    return [(line, [cells[index] for index in kept]) for line, cells in [(place, header), *body]]


def covariate_names(path: Path, columns: Iterable[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the names in snake_case of a table's columns, after those that are ``given`` to some of them.

    Raises UserError where a column has no name, or two have one.
    """
    names = {column: column_name(given.get(column) or column) for column in columns}
    if nameless := [column for column, name in names.items() if not name]:
        raise UserError(f"{path}: a column is called {nameless[0]!r}; give it a name with letters from a to z, or remove it")
    _check_alike(path, [(name, column) for column, name in names.items()])
    return names


def _check_alike(path: Path, names: Iterable[tuple[str, str]]) -> None:
    """Raise UserError where two columns have one name."""
    columns = defaultdict(list)
    for name, column in names:
        columns[name].append(column)
    if alike := [f"{' and '.join(map(repr, same))} are both {name}" for name, same in columns.items() if len(same) > 1]:
        raise UserError(f"{path}: two columns have one name ({'; '.join(alike)}); rename or remove one of them")


def _use_points(rows: list[dict[str, str]], name: str) -> str | None:
    """Write a column's decimal commas as points; return the first such number, None where it has none or other texts too."""
    known = [row[name] for row in rows if row[name].lower() not in UNKNOWN]
    with_comma = [text for text in known if COMMA_NUMBER.fullmatch(text)]
    if not with_comma or not all(COMMA_NUMBER.fullmatch(text) or WHOLE_NUMBER.fullmatch(text) for text in known):
        return None
    for row in rows:
        if COMMA_NUMBER.fullmatch(row[name]):
            row[name] = row[name].replace(",", ".")
    return with_comma[0]


def column_name(text: str) -> str:
    """Return a column's name in snake_case: ``Extent of Resection`` becomes ``extent_of_resection``."""
    words = re.sub(r"([a-z0-9])([A-Z][a-z])", r"\1_\2", text.strip())
    return re.sub(r"[^0-9a-z]+", "_", words.lower()).strip("_")


def near_ids(lacking: Iterable[str], found: Iterable[str]) -> dict[str, str]:
    """Return the ids that nearly match: of a table's ids ``found``, those that are meant for one that is ``lacking``.

    They differ in what spreadsheets and people change: leading zeros, an added .0, other case, spaces, - for _, the prefix sub-
    or ses-. Where two ids could be meant, neither is.
    """
    wanted, offered = alike(lacking), alike(found)
    pairs = [(offered[core], names) for core, names in wanted.items() if core in offered]
    return {wrong[0]: right[0] for wrong, right in pairs if len(wrong) == len(right) == 1 and wrong != right}


def alike(ids: Iterable[str]) -> dict[str, list[str]]:
    """Return ids, sorted and each once, by what is left of them without what spreadsheets and people change."""
    groups = defaultdict(list)
    for name in sorted(set(ids)):
        core = re.sub(r"\.0+$", "", re.sub(r"[\s_-]+", "_", name.strip().casefold()))
        groups[re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"^(sub|ses)_", "", core))].append(name)
    return dict(groups)


def offered_ids(near: Mapping[str, str]) -> str:
    """Return, to be appended to what is expected, how to write ids as the cohort has them; empty where none nearly match."""
    said = [f"{right!r} for {wrong!r}" for wrong, right in list(near.items())[:SHOWN]]
    more = f" and {len(near) - SHOWN} more alike" if len(near) > SHOWN else ""
    return f" (write {', '.join(said)}{more})" if near else ""
