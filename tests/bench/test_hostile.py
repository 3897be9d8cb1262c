"""Hostile input: a part of `tests/hostile.py`, and an example of each fault that it has found."""

from __future__ import annotations

import gzip
import io
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_model import FRAME, altered, model_of, npz, problem_of, refused_file, written

from bench import arrays, cli, csv_files, memory, view
from bench import model as models
from bench.errors import InputError
from bench.experiments import Block, run_block, store
from bench.experiments.progress import Bar
from bench.model import load_model, save_model, write_predictions
from bench.options import Options
from bench.plain import write_text
from bench.problems import load_problem, with_options
from bench.problems.table import TableOptions, load_table, read, text_file
from bench.problems.table.load import study_name
from bench.report import words

ROOT = Path(__file__).resolve().parents[2]
ROWS = b"".join(b"%d,%d,%s\n" % (k, k % 7, b"yes" if k % 3 else b"no") for k in range(40))
GOOD = b"x,y,label\n" + ROWS
FORMULAS = ("=1+1", "+cmd", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1", "-", "＝1")


def test_a_part_of_the_hostile_cases() -> None:
    """Malformed files and absurd options of every quick kind give a result or one line."""
    kinds = "table,file,options,predict,command"
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile", "--cases", "100", "--only", kinds],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def refusal(path: Path, **options: Any) -> str:
    """Return the line in which a table is refused."""
    with pytest.raises(InputError) as refused:
        load_table(path, TableOptions(**{"target": "label", **options}))
    message = str(refused.value)
    assert message.isprintable()
    assert len(message) <= 600
    return message


# ---------------------------------------------------------------- files


def test_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A packed file that unpacks to a hundred times its size is not read to its end."""
    monkeypatch.setattr(text_file, "FEW_UNPACKED", 1 << 16)
    path = tmp_path / "data.csv.gz"
    for line in (b"1,2,yes\n1,3,no\n", b"\n", b"\0", b"x"):
        path.write_bytes(gzip.compress(GOOD + line * (1 << 20)))
        assert "unpacks to more than 100 times" in refusal(path)
    path.write_bytes(gzip.compress(GOOD))
    load_table(path, TableOptions(target="label"))


def test_parquet_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Very many rows, or a long text in each row, are refused before there is room for them."""
    monkeypatch.setattr(read, "FEW_BYTES", 1 << 20)
    path = tmp_path / "data.parquet"
    labels = pa.array(["yes", "no"] * 50_000).dictionary_encode()
    numbers = np.random.default_rng(0).normal(size=100_000)
    pq.write_table(pa.table({"x": numbers, "label": labels}), path)
    load_table(path, TableOptions(target="label"))
    pq.write_table(
        pa.table({"x": pa.nulls(1 << 22, pa.int8()), "label": pa.nulls(1 << 22, pa.string())}), path
    )
    assert "unpacks to more than 100 times" in refusal(path)
    text = pa.DictionaryArray.from_arrays(np.zeros(10_000, np.int8), pa.array(["x" * 10_000]))
    pq.write_table(pa.table({"x": text, "label": labels[:10_000]}), path)
    assert "unpacks to more than 100 times" in refusal(path)


def test_rows_and_headers_have_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line without an end, a header of too many columns or behind blank lines is refused."""
    monkeypatch.setattr(text_file, "LONGEST_ROW", 4000)
    monkeypatch.setattr(text_file, "MOST_BLANK", 100)
    path = tmp_path / "data.csv"
    for filler in (b",", b"x", b'"', b"1,"):
        path.write_bytes(filler * 5000)
        assert "row 1: longer than 4,000 characters" in refusal(path)
    path.write_bytes(b"\n" * 1000 + GOOD)
    assert "blank lines only" in refusal(path)
    monkeypatch.setattr(text_file, "MOST_COLUMNS", 100)
    path.write_bytes(b",".join(b"c%d" % k for k in range(101)) + b"\n")
    assert "101 columns, more than 100" in refusal(path)


def test_many_columns_are_read_in_few_chunks(tmp_path: Path) -> None:
    """A chunk grows with the columns, each of which costs its time in each chunk."""
    path = tmp_path / "data.csv"
    lines = [",".join(f"c{k}" for k in range(3000)), *[",".join(["0.12345"] * 3000)] * 60]
    path.write_text("\n".join(lines))
    file = text_file.TextFile(path, "data.csv", "utf-8", packed=False)
    file.header(",")
    assert path.stat().st_size > text_file.CHUNK_BYTES
    assert len(list(file.chunks([0]))) == 1


def test_a_dead_link_is_not_itself_suggested(tmp_path: Path) -> None:
    """Of a link to nowhere its own name is no help."""
    (tmp_path / "data.csv").symlink_to(tmp_path / "nowhere")
    assert "is a link to what does not exist" in refusal(tmp_path / "data.csv")


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text here")
def test_a_parquet_file_whose_name_is_no_text(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 in a name are no crash of the library that reads the file."""
    path = tmp_path / os.fsdecode(b"\xff.parquet")
    path.write_bytes(b"PAR1")
    assert "not UTF-8" in refusal(path)


# ---------------------------------------------------------------- models


def big(shape: tuple[int, ...], packed: bool, content: int, kind: str = "<f4") -> bytes:
    """Return an npz whose parameters are declared to have a shape, with as many bytes."""
    header, file = io.BytesIO(), io.BytesIO()
    about = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, about)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as z:
        z.writestr("params.npy", header.getvalue() + bytes(content))
    return file.getvalue()


def test_an_array_is_as_long_as_its_header_says() -> None:
    """Terabytes that a header tells of are not asked for; a bomb is not unpacked."""
    for content, word in (
        (big((1 << 40,), False, 100), "100 bytes for an array of shape"),
        (big((-1,), False, 100), "100 bytes for an array of shape"),
        (big((1 << 20,), True, 1 << 22), "unpacks to"),
        (npz(params=np.array([{}], dtype=object)), "objects"),
    ):
        with pytest.raises(arrays.DAMAGE, match=word):
            arrays.read_npz(io.BytesIO(content), most=1 << 20)


def test_arrays_come_back_as_numpy_reads_them() -> None:
    """Types, shapes, orders and values are those of `numpy.load`, and they can be changed."""
    given = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "c": np.array("text"),
        "d": np.zeros((0, 3), bool),
    }
    found = arrays.read_npz(io.BytesIO(npz(**given)))
    for name, array in given.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
        assert found[name].flags.writeable


def changed(path: Path, part: str, **fields: Any) -> bytes:
    """Return a model's file with other fields in a part of its table."""
    table = load_model(path).table.to_json()
    inner = table if part == "" else table[part]
    (inner[0] if isinstance(inner, list) else inner).update(fields)
    return altered(path, table=table)


def test_models_with_other_types_inside_are_refused(tmp_path: Path) -> None:
    """What would fail in the middle of a prediction is refused when the model is read."""
    path = tmp_path / "birds.npz"
    save_model(model_of(problem_of(written(tmp_path, FRAME), "sex")), path)
    scale = load_model(path).table.scale.tolist()
    contents = [
        changed(path, "columns", **{name: value})
        for name, value in (
            ("name", 1.5), ("kind", "odd"), ("levels", "x"), ("fill", None), ("features", []),
            ("indicator", 1), ("offset", True), ("offset", float("nan")), ("further", 1),
            ("name", "depth"),
        )
    ]  # fmt: skip
    contents += [
        changed(path, "reading", decimal="x"),
        changed(path, "reading", na_values=[1]),
        changed(path, "options", sep=3),
        changed(path, "target", classes=["male"]),
        changed(path, "target", classes=[]),
        changed(path, "target", task="regression"),
        changed(path, "", mean="x"),
        changed(path, "", scale=[0.0] * len(scale)),
        changed(path, "", scale=[10**400, *scale[1:]]),
        changed(path, "", n_rows="x"),
        altered(path, about=3),
        npz(**np.load(path), further=np.zeros(3)),
    ]
    for content in contents:
        other = tmp_path / "other.npz"
        other.write_bytes(content)
        refused_file(other)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_no_model(tmp_path: Path) -> None:
    """A pipe in place of a model is refused, and not waited for."""
    os.mkfifo(tmp_path / "pipe.npz")
    refused_file(tmp_path / "pipe.npz")


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"workers": 10**9}, "workers"),
        ({"out": ""}, "out"),
        ({"out": "a\0b"}, "out"),
        ({"save_model": "."}, "save_model"),
        ({"save_model": ""}, "save_model"),
        *(
            ({"name": name}, "name")
            for name in ("\u202e", "a\nb", "\x1b[1m", "\udcff", "CON", "nul.txt", "COM1", "..")
        ),
        ({"name": "é" * 150}, "name"),
    ],
)  # fmt: skip
def test_option_is_refused(options: dict[str, Any], word: str) -> None:
    """What no system can write to, or no terminal should see, is refused by its option."""
    with pytest.raises(InputError, match=word):
        Options.of(options)


def test_what_no_memory_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks and numbers of seeds are held against the memory, by an estimate."""
    iris = load_problem("iris")
    memory.check(iris, 48, 8, 16, 2)
    with pytest.raises(InputError, match=r"seeds: 1,000,000,000 of them make .* GiB"):
        memory.check(iris, 10**9, 8, 16, 2)
    with pytest.raises(InputError, match=r"hidden: 8,\d+,\d+,\d+ parameters, 16 networks"):
        memory.check(with_options(iris, hidden=(10**9,)), 48, 8, 16, 2)
    monkeypatch.setattr(memory, "available", lambda: 1 << 30)
    memory.check(load_problem("xor"), 60, 3, 16, 2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["study", "notes", "--seeds=1000000000"],
        ["study", "mistakes", "--seeds=1000000000"],
        ["study", "iris", "--hidden=1000000000", "--dry-run"],
        ["study", "--\x1b[1m"],
        ["study", "iris", "--seeds=" + "9" * 5000],
        ["study", "iris", "--learning-rates=x" + "9" * 5000],
        ["compare", "a\0b"],
        ["peers", "--batch-sizes=1000000000", "--case=digits"],
        ["peers", "--rounds=1000000000000"],
        ["roofline", "--rounds=1000000000000"],
        ["calibrate", "--simulations=1000000000000"],
        ["history", "--out="],
    ],
)
def test_command_is_refused_in_one_short_line(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The line has an end, holds nothing that a terminal obeys, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    assert cli.run(arguments) == 2
    printed, told = capsys.readouterr()
    assert printed == ""
    assert told.endswith("\n")
    assert told[:-1].isprintable()
    assert len(told) < 800
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("con.csv", "con_table"),
        ("COM1.csv", "COM1_table"),
        ("../../x.csv", "x"),
        ("..csv", "table"),
    ],
)
def test_a_files_name_makes_a_folders(file: str, expected: str) -> None:
    """A study's folder has a name that any system takes, within the folder of results."""
    assert study_name(file) == expected


def test_a_folders_name_is_short_in_bytes() -> None:
    """Letters of three bytes each do not make a name that no disk takes."""
    assert len(study_name("\u4e00" * 100 + ".csv").encode()) <= 100


# ---------------------------------------------------------------- names


def test_no_cell_starts_a_formula_and_all_come_back(tmp_path: Path) -> None:
    """Texts and names are marked and read back; numbers, in texts too, stay what they are."""
    texts = [*FORMULAS, "'=1", "'plain", "a", "-1", "+2.5", "-1e5", "1"]
    frame = pd.DataFrame({"=name": texts, "value": np.arange(len(texts)) - 1.5, "@": True})
    path = tmp_path / "data.csv"
    csv_files.write(frame, path)
    for row in pd.read_csv(path, header=None, dtype=str, keep_default_na=False).to_numpy():
        assert not [c for c in row if re.match(r"[\s=+@＝-]", c) and not _is_number(c)]
    again = csv_files.read(path)
    assert again["=name"].tolist() == texts
    pd.testing.assert_frame_equal(again.iloc[:, 1:], frame.iloc[:, 1:])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_all_csv_files_are_written_by_one_function() -> None:
    """No other module writes CSV in its own way."""
    others = [
        path.name
        for path in (ROOT / "bench").rglob("*.py")
        if ".to_csv(" in path.read_text(encoding="utf-8") and path.name != "csv_files.py"
    ]
    assert others == []


def test_predicted_classes_are_no_formulas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Classes and a target of formulas are marked; a terminal is not told to move its cursor."""
    classes = {"male": "=1+1", "female": "\x1b[2J"}
    frame = FRAME.rename(columns={"sex": "=sex"}).replace({"=sex": classes})
    path = written(tmp_path, frame)
    model = model_of(problem_of(path, "=sex"))
    write_predictions(model, path, tmp_path / "out.csv")
    header, *lines = (tmp_path / "out.csv").read_text().splitlines()
    assert header == "row,'=sex,P(\x1b[2J),P(=1+1)"
    assert {line.split(",")[1] for line in lines} <= {"'=1+1", "\x1b[2J"}
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    write_predictions(model, path, None)
    assert capsys.readouterr().out.replace("\n", "").isprintable()


def test_half_of_a_surrogate_pair_is_kept(tmp_path: Path) -> None:
    """Names that are no text, as of files, come back from a study's JSON, and stand on its page."""
    view.write_json(tmp_path / "study.json", {"source": "\udcff.csv"})
    assert view.read_json(tmp_path / "study.json") == {"source": "\udcff.csv"}
    write_text(tmp_path / "report.html", "\udcff.csv")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == r"\udcff.csv"
    unsafe = [
        path.name
        for path in (ROOT / "bench" / "report").glob("*.py")
        if ".write_text(" in path.read_text(encoding="utf-8")
    ]
    assert unsafe == []


def test_a_progress_bar_shows_names_as_they_are() -> None:
    """Brackets in a study's name are no markup of the bar's, and control characters do nothing."""
    stream = io.StringIO()
    bar = Bar(stream)
    bar.start("[/b]: pilot", 3, 1.0)
    bar.say("[/i] \x1b[2J")
    bar.finish()
    assert "[/i] \\x1b[2J" in stream.getvalue()


def test_markdown_shows_names_as_they_are() -> None:
    """Markup, tables, mathematics and line ends in a name do nothing in a pull request."""
    assert words.in_markdown("<b>|$x$\n# y`") == r"&lt;b>\|\$x\$ # y\`"


def test_what_is_read_is_not_run() -> None:
    """Objects are unpickled in the pipe between our own processes alone; nothing is evaluated."""
    unpickling, running = set(), set()
    for path in [*(ROOT / "bench").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")]:
        source = path.read_text(encoding="utf-8")
        if re.search(r"^\s*(import|from) (pickle|cloudpickle|joblib|marshal|shelve)", source, re.M):
            unpickling.add(path.name)
        if re.search(r"(?<![\w.])(eval|exec)\(|allow_pickle=True|yaml", source):
            running.add(path.name)
    assert unpickling == {"process.py"}
    assert running == set()


def test_a_block_of_many_networks_is_read_whatever_its_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a block's own networks take is no bomb, where the file must hold them."""
    problem = load_problem("notes")
    block = Block("sgd", 4, (0.5,), seed=0, epochs=2, population=problem.population)
    result = run_block(problem, block)
    assert result.params is not None
    data = store.encode("key", result)
    unpacked = sum(one.file_size for one in zipfile.ZipFile(io.BytesIO(data)).infolist())
    monkeypatch.setattr(store, "MOST_BYTES", unpacked - result.params.nbytes // 2)
    again = store.decode(data, "key", problem, block)
    np.testing.assert_array_equal(again.params, result.params)


def test_a_model_is_not_saved_that_could_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters or names that `load_model` would refuse are refused by `save_model`."""
    model = model_of(problem_of(written(tmp_path, FRAME), "sex"))
    for owner, name in ((arrays, "MOST_BYTES"), (models, "MOST_TEXT")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, 100)
            with pytest.raises(InputError, match="save_model"):
                save_model(model, tmp_path / "birds.npz")
    assert not (tmp_path / "birds.npz").exists()
