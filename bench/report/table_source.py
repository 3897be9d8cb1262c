"""Source that reads a user's own table and prepares it as the study did, with scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from bench.report.source import assign, call, listing, literal, mapping

if TYPE_CHECKING:
    from bench.problems.table import Column, Table


class Source(NamedTuple):
    """Imports and blocks of source, as `bench.report.source.program` takes them."""

    imports: list[str]
    blocks: list[str]


def read_and_split(table: Table) -> Source:
    """Source that leaves X_train, X_test, y_train, y_test, and `prepare` for the features."""
    imports, steps = list(IMPORTS), []
    if table.valued:
        imports.append("sklearn.impute:SimpleImputer")
        steps.append(_imputer(table))
    if table.categories:
        imports.append("sklearn.preprocessing:OneHotEncoder")
        steps.append(_ENCODER)
    transformer = call("make_column_transformer", *steps)
    prepare = assign("prepare", call("make_pipeline", transformer, "StandardScaler()"))
    reading = f"{_READERS[table.reading.format](table)}\n{_conversions(table)}".strip()
    return Source(imports, [_constants(table), reading, _split(table), prepare])


def _imputer(table: Table) -> str:
    """Step that fills the gaps of what became one number a column, and tells where they were."""
    filled = "most_frequent" if table.options.missing == "most_frequent" else "median"
    columns = _union([name for name in _groups(table) if name != "CATEGORIES"])
    return f'(SimpleImputer(strategy="{filled}", add_indicator=True), {columns})'


_ENCODER = '(OneHotEncoder(handle_unknown="ignore", sparse_output=False), CATEGORIES)'


IMPORTS = (
    "pandas as pd",
    "sklearn.compose:make_column_transformer",
    "sklearn.model_selection:train_test_split",
    "sklearn.pipeline:make_pipeline",
    "sklearn.preprocessing:StandardScaler",
)


def _groups(table: Table) -> dict[str, list[Column]]:
    """Columns that become features, by the constant that names them; no empty groups."""
    kinds = {"NUMBERS": "number", "DATES": "date", "FLAGS": "boolean", "CATEGORIES": "category"}
    found = {
        name: [column for column in table.columns if column.kind == kind]
        for name, kind in kinds.items()
    }
    return {name: columns for name, columns in found.items() if columns}


def _constants(table: Table) -> str:
    """Names of the columns by kind, and what their cells mean."""
    groups = _groups(table)
    lines = [assign("TARGET", literal(table.target.name))]
    for name, columns in groups.items():
        names = listing(column.name for column in columns)
        formats = mapping({c.name: literal(c.date_format) for c in columns})
        lines.append(assign(name, formats if name == "DATES" else names))
    lines.append(assign("FEATURES", f"[{', '.join(f'*{name}' for name in groups)}]"))
    if _has_gaps(table):
        lines.append(assign("GAPS", listing(table.reading.na_values)))
    fills = {c.name: literal(c.fill) for c in table.categories if c.n_missing}
    if fills and table.options.missing in FILLED:
        lines.append(assign("FILLS", mapping(fills)))
    pooled = {c.name: listing(c.levels) for c in table.categories if c.pooled}
    if pooled:
        lines.append("# levels with a feature of their own; all others share one")
        lines.append(assign("LEVELS", mapping(pooled)))
    return "\n".join(lines)


def _has_gaps(table: Table) -> bool:
    """Whether anything that is read as numbers, dates or levels has gaps."""
    gaps = [column.n_missing for column in (*table.valued, *table.categories)]
    return any(gaps) or (table.target.task == "regression" and table.target.n_missing > 0)


FILLED = ("median", "most_frequent")
"""Values of the option `missing` that fill gaps."""


def _union(names: Sequence[str]) -> str:
    """Source of one list of all columns in these constants."""
    alone = len(names) == 1 and names[0] != "DATES"  # a dictionary
    return names[0] if alone else f"[{', '.join(f'*{name}' for name in names)}]"


def _csv(table: Table) -> str:
    """Read a CSV file: labels and levels as texts, gaps as missing values."""
    own, groups = table.reading, _groups(table)
    labels = ["TARGET"] if table.target.task == "classification" else []
    texts = [*([] if _has_numbers(table) else labels), *(f"*{k}" for k in groups if k != "NUMBERS")]
    arguments = [
        literal(own.source),
        "usecols=[TARGET, *FEATURES]",
        f"dtype=dict.fromkeys([{', '.join(texts)}], str)" if texts else "",
        _na_values(table),
        "keep_default_na=False",
        "skipinitialspace=True",
        *(
            f"{name}={literal(getattr(own, name))}"
            for name, usual in _USUAL.items()
            if getattr(own, name) != usual
        ),
    ]
    return assign("table", call("pd.read_csv", *filter(None, arguments)))


def _na_values(table: Table) -> str:
    """Argument that tells which texts mark gaps; of labels, nothing but an empty cell does."""
    labels = table.target.task == "classification"
    marked = "FEATURES" if labels else "[TARGET, *FEATURES]"
    parts = [f"dict.fromkeys({marked}, GAPS)"] if _has_gaps(table) else []
    parts += ['{TARGET: [""]}'] if labels and table.target.n_missing else []
    return f"na_values={' | '.join(parts)}" if parts else ""


_USUAL = {"sep": ",", "decimal": ".", "thousands": None, "encoding": "utf-8"}
"""What pandas takes for granted."""


def _has_numbers(table: Table) -> bool:
    """Whether the classes are different numbers: they are in order as numbers, not as texts."""
    try:
        numbers = {float(label) for label in table.target.classes}
    except ValueError:
        return False
    return len(numbers) == len(table.target.classes) and all(map(math.isfinite, numbers))


def _parquet(table: Table) -> str:
    """Read a Parquet file."""
    arguments = literal(table.reading.source), "columns=[TARGET, *FEATURES]"
    return f"{assign('table', call('pd.read_parquet', *arguments))}\n{_marked(table)}".strip()


def _frame(table: Table) -> str:
    """Take the columns of a data frame."""
    line = "table = frame.rename(columns=str)[[TARGET, *FEATURES]]"
    start = "# frame is the data frame that you gave to the study"
    return f"{start}\n{line}\n{_marked(table)}".strip()


def _marked(table: Table) -> str:
    """Make missing values of texts that mark gaps."""
    if not _has_gaps(table):
        return ""
    return "table[FEATURES] = table[FEATURES].astype(object).mask(table[FEATURES].isin(GAPS))"


_READERS: dict[str, Callable[[Table], str]] = {"csv": _csv, "parquet": _parquet, "frame": _frame}


def _conversions(table: Table) -> str:
    """Leave out rows, and make numbers of what is none; gaps of categories take their level."""
    groups, own = _groups(table), table.options.missing
    lines = []
    if own not in FILLED and table.n_rows_dropped:
        lines.append("table = table.dropna()")
    elif table.target.n_missing:
        lines.append("table = table.dropna(subset=[TARGET])")
    if table.target.task == "classification" and table.n_rows_dropped > table.target.n_missing:
        lines.append("table = table[table[TARGET].map(table[TARGET].value_counts()) > 1]")
    if "NUMBERS" in groups and table.reading.format != "csv":
        lines.append("table[NUMBERS] = table[NUMBERS].astype(float)")
    lines += [_LOOPS[name] for name in groups if name in _LOOPS]
    if own in FILLED and any(column.n_missing for column in table.categories):
        lines.append("table = table.fillna(FILLS)")
    if any(column.pooled for column in table.categories):
        lines.append(_pooling(table))
    return "\n".join(lines)


_LOOPS = {
    "DATES": """\
for name, form in DATES.items():
    since = pd.to_datetime(table[name], format=form, utc=True) - pd.Timestamp(0, tz="UTC")
    table[name] = since / pd.Timedelta(days=1)""",
    "FLAGS": """\
for name in FLAGS:
    table[name] = table[name].astype(str).str.lower().map({"false": 0.0, "true": 1.0})""",
}
"""Source that makes numbers of columns."""


def _pooling(table: Table) -> str:
    """Give rare levels a name that no level has."""
    levels = {level for column in table.categories for level in column.levels}
    other = "other"
    while other in levels:
        other += "_"
    return (
        "for name, levels in LEVELS.items():\n"
        f"    table[name] = table[name].where(table[name].isin(levels), {literal(other)})"
    )


def _split(table: Table) -> str:
    """Hold out the same rows as the study did."""
    size = f"test_size={table.options.test_size!r}"
    arguments = ["table[FEATURES]", "table[TARGET]", size, "random_state=0"]
    if table.target.task == "classification":
        arguments.append("stratify=table[TARGET]")
    return assign("X_train, X_test, y_train, y_test", call("train_test_split", *arguments))
