import gzip

import pytest

from seqattn import DataError, Example
from seqattn.data import Conllu
from seqattn.recorded import build

# A multiword token (1-2), an empty node (3.1), a form with a space, and no blank line at the end.
SENTENCES = """\
# newdoc id = letter
# sent_id = letter-1
# text = Aux mille
1-2	Aux	_	_	_	_	_	_	_	_
1	A	à	ADP	P	_	3	case	_	_
2	les	le	DET	D	Definite=Def|Number=Plur	3	det	_	_
3	10 000	10000	NUM	C	_	0	root	_	SpaceAfter=No
3.1	sont	être	VERB	V	_	_	_	0:root	_

1	Oui	oui	INTJ	I	_	0	root	_	_"""


def write(tmp_path, text):
    path = tmp_path / "a.conllu"
    path.write_text(text, encoding="utf-8", newline="")
    return str(path)


def word(word_id, form="w"):
    return f"{word_id}\t{form}" + "\t_" * 8


def test_words_and_tags_are_read_when_there_are_ranges_and_empty_nodes(tmp_path):
    assert list(Conllu(write(tmp_path, SENTENCES)).read()) == [
        Example(["A", "les", "10 000"], ["ADP", "DET", "NUM"], "letter-1"),
        Example(["Oui"], ["INTJ"], "a.conllu:10"),
    ]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("id", ["1", "2", "3"]),
        ("form", ["A", "les", "10 000"]),
        ("lemma", ["à", "le", "10000"]),
        ("upos", ["ADP", "DET", "NUM"]),
        ("xpos", ["P", "D", "C"]),
        ("feats", ["_", "Definite=Def|Number=Plur", "_"]),
        ("head", ["3", "3", "0"]),
        ("deprel", ["case", "det", "root"]),
        ("deps", ["_", "_", "_"]),
        ("misc", ["_", "_", "SpaceAfter=No"]),
    ],
)
def test_target_is_the_column_when_named(tmp_path, column, values):
    first = next(Conllu(write(tmp_path, SENTENCES), column).read())
    assert first.target == values


def test_examples_are_the_same_when_lines_end_as_on_windows(tmp_path):
    unix = list(Conllu(write(tmp_path, SENTENCES)).read())
    windows = write(tmp_path, SENTENCES.replace("\n", "\r\n"))
    assert list(Conllu(windows).read()) == unix


def test_examples_are_read_when_the_file_is_gzip(tmp_path):
    path = tmp_path / "a.conllu.gz"
    path.write_bytes(gzip.compress(SENTENCES.encode()))
    assert [len(example.source) for example in Conllu(str(path)).read()] == [3, 1]


def test_comments_alone_give_no_sentence_when_between_blank_lines(tmp_path):
    path = write(tmp_path, "# global.columns = ID FORM\n\n" + SENTENCES)
    assert len(list(Conllu(path).read())) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2\tw\t_", "a word must have 10 columns with tabs between them, got 3"),
        (word("2").replace("\t", " "), "a word must have 10 columns .* got 1"),
        (word("b"), "id must be an integer, a range .* got 'b'"),
        (word("3"), "2 comes here, got '3'"),
        (word("1"), "2 comes here, got '1': a blank line ends a sentence"),
        (word("3-4"), "2 comes here, got '3-4'"),
        (word("2.1"), "1 comes here, got '2.1'"),
    ],
)
def test_line_is_refused_when_broken(tmp_path, line, message):
    path = write(tmp_path, f"# text = w\n{word('1')}\n{line}\n\n")
    with pytest.raises(DataError, match=rf"a\.conllu:3: .*{message}") as caught:
        list(Conllu(path).read())
    assert caught.value.line == 3


def test_column_is_refused_when_there_is_none_of_that_name():
    with pytest.raises(ValueError, match="column must be one of id, form, .* got 'pos'"):
        Conllu("a.conllu", "pos")


@pytest.mark.parametrize("text", ["", "\n\n", "# sent_id = 1\n"])
def test_file_is_refused_when_it_holds_no_sentence(tmp_path, text):
    with pytest.raises(DataError, match=r"a\.conllu: .*at least one example"):
        list(Conllu(write(tmp_path, text)).read())


def test_nothing_is_opened_when_made_and_the_file_when_read():
    reader = Conllu("missing.conllu")
    with pytest.raises(DataError, match=r"missing\.conllu: the file must exist"):
        next(reader.read())


def test_reader_is_made_again_when_built_from_its_spec():
    reader = Conllu("a.conllu", "xpos", encoding="latin-1")
    assert reader.spec == {
        "class_path": "seqattn.data.Conllu",
        "init_args": {"path": "a.conllu", "column": "xpos", "encoding": "latin-1"},
    }
    assert build(reader.spec).spec == reader.spec
