import pytest

from seqattn import DataError, Example
from seqattn.data import Table

pytest.importorskip("datasets")


@pytest.fixture
def write(tmp_path):
    def write_file(text, name="a.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write_file


def targets(reader):
    return [example.target for example in reader.read()]


def test_source_target_and_key_come_from_columns_when_named(write):
    path = write("id,text,label\n7,a,x\n9,b,y\n")
    assert list(Table(path, "text", "label", key="id").read()) == [
        Example("a", "x", "7"),
        Example("b", "y", "9"),
    ]


def test_key_is_file_and_line_and_target_none_when_not_named(write):
    assert list(Table(write("text\na\nb\n"), "text").read()) == [
        Example("a", None, "a.csv:2"),
        Example("b", None, "a.csv:3"),
    ]


def test_source_is_a_pair_when_two_columns_are_named(write):
    path = write('"3","Title","Text, long"\n')
    reader = Table(path, ["title", "text"], "class", columns=["class", "title", "text"])
    assert list(reader.read()) == [Example(("Title", "Text, long"), "3", "a.csv:1")]


def test_lists_pass_through_when_json_holds_tokens_and_tags(write):
    path = write('{"tokens": ["a", "b"], "tags": ["O", "B"]}\n', "a.jsonl")
    assert list(Table(path, "tokens", "tags").read()) == [
        Example(["a", "b"], ["O", "B"], "a.jsonl:1")
    ]


def test_format_decides_when_the_path_tells_another_or_none(write):
    path = write("lemma\tform\tV;PST\n", "german-dev")
    reader = Table(path, ["l", "t"], "f", columns=["l", "f", "t"], format="tsv")
    assert list(reader.read()) == [Example(("lemma", "V;PST"), "form", "german-dev:1")]


def test_targets_are_lists_when_label_separator_is_given(write):
    path = write("text,labels\na,x; y\nb,\nc,z;\n")
    assert targets(Table(path, "text", "labels", label_separator=";")) == [["x", "y"], [], ["z"]]


def test_targets_are_the_filled_cells_when_several_columns_are_named(write):
    path = write("text,one,two\na,x,y\nb,,z\nc,,\n")
    assert targets(Table(path, "text", ["one", "two"])) == [["x", "y"], ["z"], []]


def test_targets_are_floats_when_number_is_true(write):
    path = write("text,y,z\na,-1.5,2\nb,3,1e-2\n")
    assert targets(Table(path, "text", "y", number=True)) == [-1.5, 3.0]
    assert targets(Table(path, "text", ["y", "z"], number=True)) == [[-1.5, 2.0], [3.0, 0.01]]


def test_targets_are_lists_of_floats_when_number_meets_a_list(write):
    path = write('{"text": "a", "y": [1, 2]}\n', "a.jsonl")
    assert targets(Table(path, "text", "y", number=True)) == [[1.0, 2.0]]


@pytest.mark.parametrize("cell", ["", " "])
def test_target_is_refused_when_its_cell_is_empty(write, cell):
    path = write(f"text,label\na,x\nb,{cell}\n")
    rule = f"a.csv:3: column 'label' must hold a target, got '{cell}'"
    with pytest.raises(DataError, match=rule):
        targets(Table(path, "text", "label"))


@pytest.mark.parametrize("cell", ["high", "", "nan", "inf"])
def test_target_is_refused_when_it_is_no_finite_number(write, cell):
    path = write(f"text,y\na,1\nb,{cell}\n")
    with pytest.raises(DataError, match=rf"a\.csv:3: column 'y' must be a finite .*'{cell}'"):
        targets(Table(path, "text", "y", number=True))


@pytest.mark.parametrize("column", ["text", "label", "id"])
def test_value_is_required_when_json_has_null_or_lacks_it(write, column):
    row = {"text": '"a"', "label": '"x"', "id": '"1"'}
    whole = ", ".join(f'"{name}": {value}' for name, value in row.items())
    rest = ", ".join(f'"{name}": {value}' for name, value in row.items() if name != column)
    path = write(f"{{{whole}}}\n{{{rest}}}\n", "a.jsonl")
    with pytest.raises(DataError, match=rf"a\.jsonl:2: column '{column}' must have a value"):
        targets(Table(path, "text", "label", key="id"))


def test_label_separator_is_refused_when_targets_are_no_strings(write):
    path = write('{"text": "a", "label": ["x"]}\n', "a.jsonl")
    with pytest.raises(DataError, match=r"a\.jsonl:1: column 'label' must be a string"):
        targets(Table(path, "text", "label", label_separator=";"))


def test_row_is_named_when_parquet_lacks_a_value(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", None]}), path)
    reader = Table(str(path), "text").read()
    assert next(reader) == Example("a", None, "a.parquet:1")
    with pytest.raises(DataError, match=r"a\.parquet: column 'text' must have .* in row 2"):
        next(reader)


def test_missing_column_is_refused_when_read(write):
    with pytest.raises(DataError, match=r"a\.csv: .*one of 'text', 'label', got 'class'"):
        targets(Table(write("text,label\na,1\n"), "text", "class"))


def test_file_is_refused_when_json_holds_no_line(write):
    with pytest.raises(DataError, match=r"a\.jsonl: .*at least one example"):
        targets(Table(write("\n", "a.jsonl"), "text"))


@pytest.mark.parametrize("name", ["none.csv", "none.tsv.gz", "none.jsonl", "none.parquet"])
def test_missing_file_is_refused_only_when_read(name):
    reader = Table(name, "text")
    with pytest.raises(DataError, match=f"^{name}: the file must exist"):
        next(reader.read())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": ["a", "b", "c"]}, r"source must be one column or two, got \['a', 'b', 'c'\]"),
        ({"number": True}, "number and label_separator need a target"),
        ({"label_separator": ";"}, "number and label_separator need a target"),
        ({"target": "y", "label_separator": ""}, "label_separator must hold a character"),
        ({"target": ["y", "z"], "label_separator": ";"}, "label_separator must be None where"),
        ({"path": "a.jsonl", "columns": ["x"]}, "columns must be None for the format 'json'"),
        ({"split": "test"}, "split needs the format 'hub', got 'test' for a.csv"),
        ({"path": "nyu-mll/glue"}, "format must be given where the path ends in none of .csv"),
    ],
)
def test_options_are_refused_when_they_do_not_go_together(options, message):
    with pytest.raises(ValueError, match=message):
        Table(**{"path": "a.csv", "source": "x", **options})
