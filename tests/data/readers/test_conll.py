import pytest

from seqattn import DataError, Example
from seqattn.data import Conll

CONLL_2003 = """\
-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

Peter NNP B-NP B-PER
"""


def write(tmp_path, text):
    path = tmp_path / "a.conll"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_tokens_and_last_column_are_read_when_columns_are_not_given(tmp_path):
    assert list(Conll(write(tmp_path, CONLL_2003)).read()) == [
        Example(["EU", "rejects"], ["B-ORG", "O"], "a.conll:3"),
        Example(["Peter"], ["B-PER"], "a.conll:6"),
    ]


def test_columns_are_chosen_when_given(tmp_path):
    reader = Conll(write(tmp_path, "NN\t1\tdog\n"), token_column=-1, tag_column=0)
    assert list(reader.read()) == [Example(["dog"], ["NN"], "a.conll:1")]


def test_target_is_none_when_there_is_no_tag_column(tmp_path):
    reader = Conll(write(tmp_path, "a\nb\n\nc\n"), tag_column=None)
    assert [(e.source, e.target) for e in reader.read()] == [(["a", "b"], None), (["c"], None)]


def test_sentence_ends_when_the_line_holds_only_a_tab(tmp_path):
    reader = Conll(write(tmp_path, "@paulwalk\tO\n\t\nIt\tO\n"))
    assert [example.source for example in reader.read()] == [["@paulwalk"], ["It"]]


def test_token_keeps_its_spaces_when_the_separator_is_a_tab(tmp_path):
    reader = Conll(write(tmp_path, "New York\tB-LOC\n"), separator="\t")
    assert next(reader.read()).source == ["New York"]


def test_comment_lines_are_skipped_only_when_comment_is_given(tmp_path):
    path = write(tmp_path, "# id 1\n#tag\tO\n")
    assert [e.source for e in Conll(path, comment="# ").read()] == [["#tag"]]
    assert [e.source for e in Conll(path).read()] == [["#", "#tag"]]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("EU O\nrejects\n", {}, "a token and a tag in two columns, got 'rejects'"),
        ("EU O\nrejects O\n", {"tag_column": 3}, "the tag_column 3, got 2 columns"),
        ("a b c O\nEU O\n", {"token_column": -3}, "the token_column -3, got 2 columns"),
    ],
)
def test_line_is_refused_when_a_column_is_missing(tmp_path, text, options, message):
    line = 1 if "tag_column" in options else 2
    with pytest.raises(DataError, match=rf"a\.conll:{line}: .*{message}"):
        list(Conll(write(tmp_path, text), **options).read())


def test_file_is_refused_when_it_holds_no_sentence(tmp_path):
    with pytest.raises(DataError, match="at least one example"):
        list(Conll(write(tmp_path, "-DOCSTART- O\n\n")).read())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tag_column": 0}, "tag_column must differ from token_column, got 0 for both"),
        ({"separator": ""}, "separator must hold a character or be None"),
        ({"comment": ""}, "comment must hold a character or be None"),
    ],
)
def test_option_is_refused_when_it_makes_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        Conll("a.conll", **options)
