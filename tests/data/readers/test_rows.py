import csv
import gzip

import pytest

from seqattn import DataError
from seqattn.data.readers.rows import read_csv, read_hub, read_json, read_parquet

pytest.importorskip("datasets")


@pytest.fixture
def write(tmp_path):
    def write_file(data, name="a.csv"):
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return str(path)

    return write_file


def rows_of_csv(path, wanted, *, tabs=False, columns=None, encoding="utf-8"):
    return list(read_csv(path, wanted, tabs=tabs, columns=columns, encoding=encoding))


def rows_of_json(path, wanted):
    return list(read_json(path, wanted, encoding="utf-8"))


def test_csv_rows_have_the_line_where_they_begin_when_cells_hold_line_ends(write):
    path = write('text,label\n"two\nlines",1\n\n"a, ""b""",2\n')
    assert rows_of_csv(path, ["text", "label"]) == [
        (2, {"text": "two\nlines", "label": "1"}),
        (5, {"text": 'a, "b"', "label": "2"}),
    ]


def test_csv_cells_stay_strings_when_they_look_like_something_else(write):
    cells = ["NA", "null", "007", "1e3", "True", "2019-01-01", ""]
    path = write("x,y\n" + "".join(f"{cell},\n" for cell in cells))
    assert [row["x"] for _, row in rows_of_csv(path, ["x"])] == cells


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_csv_is_the_same_when_windows_wrote_it(write, pack):
    data = pack(b'\xef\xbb\xbf"text",label\r\na,b\r\n')
    path = write(data, "a.csv.gz" if pack is gzip.compress else "a.csv")
    assert rows_of_csv(path, ["text"]) == [(2, {"text": "a"})]


def test_csv_without_header_has_the_given_columns_when_named(write):
    path = write('"3","Title, one","Text"\n')
    rows = rows_of_csv(path, ["title"], columns=["class", "title", "text"])
    assert rows == [(1, {"title": "Title, one"})]


def test_csv_with_an_unnamed_first_column_is_read_when_a_data_frame_wrote_it(write):
    assert rows_of_csv(write(",text\n0,a\n"), ["text"]) == [(2, {"text": "a"})]


def test_csv_is_read_when_the_path_holds_wildcards(write):
    write("text\nother\n", "a1.csv")
    assert rows_of_csv(write("text\nthis\n", "a[1].csv"), ["text"]) == [(2, {"text": "this"})]


def test_csv_cell_may_be_long_when_it_holds_a_document(write):
    document = "word " * 40_000  # longer than the limit of Python's csv module
    limit = csv.field_size_limit()
    assert rows_of_csv(write(f"text\n{document}\n"), ["text"]) == [(2, {"text": document})]
    assert csv.field_size_limit() == limit


def test_csv_is_decoded_when_the_encoding_is_given(write):
    path = write("text\nété\n".encode("latin-1"))
    assert rows_of_csv(path, ["text"], encoding="latin-1") == [(2, {"text": "été"})]


def test_tsv_quotes_are_characters_when_a_cell_begins_with_one(write):
    path = write('text\tlabel\n"open\t1\n5" disk\t2\n')
    assert rows_of_csv(path, ["text"], tabs=True) == [
        (2, {"text": '"open'}),
        (3, {"text": '5" disk'}),
    ]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("text,label\na,1\nb\n", 3, r"2 cells \(text, label\), got 1"),
        ('text,label\n"a\nb",1\nb,2,3\n', 4, r"2 cells \(text, label\), got 3"),
        ('text,label\na,1\n"b,2\n', 3, "the row must be CSV: unexpected end of data"),
        ('text,label\n"a" b,1\n', 2, "the row must be CSV: ',' expected after"),
        ("text,text\na,1\n", 1, "column names must differ, got 'text' twice"),
    ],
)
def test_csv_is_refused_when_broken(write, text, line, message):
    with pytest.raises(DataError, match=rf"a\.csv:{line}: .*{message}"):
        rows_of_csv(write(text), ["text"])


@pytest.mark.parametrize("text", ["", "\n", "text,label\n"])
def test_csv_is_refused_when_it_holds_no_row(write, text):
    with pytest.raises(DataError, match=r"a\.csv: .*at least one example"):
        rows_of_csv(write(text), ["text"])


def test_csv_names_line_and_option_when_bytes_are_not_in_the_encoding(write):
    with pytest.raises(DataError, match=r"a\.csv:3: .*0xf0.*encoding="):
        rows_of_csv(write(b"text\na\n\xf0\n"), ["text"])


def test_json_values_keep_their_kind_when_lists_numbers_or_dates(write):
    path = write(
        '{"tokens": ["a", "b"], "n": 1, "day": "2019-01-01"}\n\n'
        '{"tokens": [], "n": 2.5, "day": "2020-02-02"}\n'
    )
    assert rows_of_json(path, ["tokens", "n", "day"]) == [
        (1, {"tokens": ["a", "b"], "n": 1, "day": "2019-01-01"}),
        (3, {"tokens": [], "n": 2.5, "day": "2020-02-02"}),
    ]


def test_json_column_is_none_when_a_line_lacks_it(write):
    path = write('{"text": "a"}\n{"text": "b", "label": "x"}\n')
    assert [row["label"] for _, row in rows_of_json(path, ["label"])] == [None, "x"]


def test_json_column_of_another_kind_does_no_harm_when_it_is_not_wanted(write):
    path = write('{"text": "a", "id": 1}\n{"text": "b", "id": "x"}\n')
    assert [row for _, row in rows_of_json(path, ["text"])] == [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "b"', "a line must be a JSON object: Expecting ',' delimiter at column 13"),
        ('["b"]', "a line must be a JSON object, got list"),
        ('{"text": 3}', "'text' must be of one kind, got number and string"),
        ('{"text": true}', "'text' must be of one kind, got string and true or false"),
        ('{"text": {}}', "'text' must be of one kind, got object and string"),
        ('{"text": ["b"]}', "'text' must be of one kind, got list of string and string"),
    ],
)
def test_json_line_is_refused_when_broken(write, line, message):
    path = write(f'{{"text": "a"}}\n{line}\n', "a.jsonl")
    with pytest.raises(DataError, match=rf"a\.jsonl:2: .*{message}"):
        rows_of_json(path, ["text"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[" * 5000 + "]" * 5000, "a line must be a JSON object: .*recursion"),
        ("[" * 700 + "]" * 700, "column 'text' cannot be read: .*recursion"),
        ("9" * 30, "'text' cannot be read: a whole number must fit into 64 bits, got 9{30}"),
        ("9" * 5000, "a line must be a JSON object: .*4300 digits"),
        (r'["\ud800"]', r"'text' cannot be read: .* got half a character, '\\ud800'"),
    ],
)
def test_json_line_is_refused_when_no_table_can_hold_it(write, value, message):
    path = write(f'{{"text": null}}\n{{"text": {value}}}\n', "a.jsonl")
    with pytest.raises(DataError, match=rf"a\.jsonl:2: .*{message}"):
        rows_of_json(path, ["text"])


def test_json_line_is_refused_when_its_list_holds_several_kinds(write):
    path = write('{"tags": []}\n{"tags": ["a", 1]}\n', "a.jsonl")
    with pytest.raises(DataError, match=r"a\.jsonl:2: .*list of number and list of string"):
        rows_of_json(path, ["tags"])


def test_json_is_refused_when_datasets_cannot_hold_it(write):
    path = write('{"text": []}\n{"text": "a"}\n', "a.jsonl")
    with pytest.raises(DataError, match=r"a\.jsonl: Arrow\w+: "):
        rows_of_json(path, ["text"])


@pytest.mark.parametrize(
    ("name", "data", "read"),
    [
        ("a.csv", "text,label\na,1\n", rows_of_csv),
        ("a.jsonl", '{"text": "a"}\n{"label": 1}\n', rows_of_json),
    ],
)
def test_missing_column_is_named_with_those_there_are_when_wanted(write, name, data, read):
    with pytest.raises(DataError, match=rf"{name}: .*one of 'text', 'label', got 'body'"):
        read(write(data, name), ["text", "body"])


@pytest.fixture
def parquet(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"], "n": [1, 2]}), path)
    return str(path)


def test_parquet_rows_are_counted_from_one_when_read(parquet):
    assert list(read_parquet(parquet, ["n"])) == [(1, {"n": 1}), (2, {"n": 2})]


def test_parquet_is_refused_when_a_column_is_missing(parquet):
    with pytest.raises(DataError, match=r"a\.parquet: .*one of 'text', 'n', got 'x'"):
        list(read_parquet(parquet, ["x"]))


def test_parquet_is_refused_when_it_is_none(write):
    with pytest.raises(DataError, match=r"a\.parquet: ArrowInvalid: "):
        list(read_parquet(write("text", "a.parquet"), ["text"]))


def test_parquet_is_refused_when_it_is_missing(tmp_path):
    with pytest.raises(DataError, match=r"a\.parquet: the file must exist"):
        list(read_parquet(str(tmp_path / "a.parquet"), ["text"]))


def test_class_numbers_become_names_when_the_file_holds_them(tmp_path):
    from datasets import ClassLabel, Dataset, Features, Sequence, Value

    features = Features(
        {
            "text": Value("string"),
            "label": ClassLabel(names=["no", "yes"]),
            "tags": Sequence(ClassLabel(names=["O", "B"])),
        }
    )
    data = {"text": ["a b", "c"], "label": [1, None], "tags": [[0, 1], []]}
    path = str(tmp_path / "a.parquet")
    Dataset.from_dict(data, features=features).to_parquet(path)
    assert [row for _, row in read_parquet(path, ["label", "tags"])] == [
        {"label": "yes", "tags": ["O", "B"]},
        {"label": None, "tags": []},
    ]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data set in a folder, which `datasets` reads as it does one of the hub."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "pets"
    folder.mkdir()
    (folder / "train.csv").write_text("text,label\na,dog\n")
    (folder / "test.csv").write_text("text,label\nb,cat\n")
    return str(folder)


def test_hub_split_is_read_without_a_progress_bar_when_named(folder, capfd):
    assert list(read_hub(folder, ["label"], split="test")) == [(1, {"label": "cat"})]
    assert capfd.readouterr() == ("", "")


def test_hub_is_refused_when_the_split_is_missing(folder):
    with pytest.raises(DataError, match="pets: ValueError: .*dev"):
        list(read_hub(folder, ["label"], split="dev"))


def test_nothing_is_written_when_files_are_read(write, parquet, tmp_path, monkeypatch, capfd):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows_of_csv(write("text\na\n"), ["text"])
    rows_of_json(write('{"text": "a"}\n', "a.jsonl"), ["text"])
    list(read_parquet(parquet, ["text"]))
    assert not (tmp_path / "cache").exists()
    assert capfd.readouterr() == ("", "")
