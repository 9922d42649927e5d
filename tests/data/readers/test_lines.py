import pytest

from seqattn import DataError, Example
from seqattn.data import LabelledLines, Lines


@pytest.fixture
def write(tmp_path):
    def write_file(text, encoding="utf-8"):
        path = tmp_path / "a.txt"
        path.write_text(text, encoding=encoding)
        return str(path)

    return write_file


def test_lines_are_kept_as_they_are_and_blank_ones_skipped_when_read(write):
    assert list(Lines(write("  one \n\n \t\nfour")).read()) == [
        Example("  one ", None, "a.txt:1"),
        Example("four", None, "a.txt:4"),
    ]


@pytest.mark.parametrize("reader", [Lines, LabelledLines])
@pytest.mark.parametrize("text", ["", "\n \n"])
def test_file_is_refused_when_it_holds_no_text(write, reader, text):
    with pytest.raises(DataError, match=r"a\.txt: .*at least one example"):
        list(reader(write(text)).read())


def test_label_is_what_stands_before_the_first_space_when_by_default(write):
    assert list(LabelledLines(write("4 a fine film .\n\n0 no .\n")).read()) == [
        Example("a fine film .", "4", "a.txt:1"),
        Example("no .", "0", "a.txt:3"),
    ]


def test_label_is_cut_when_label_separator_is_given(write):
    path = write("DESC:manner How : why ?\nNUM When ?\n")
    reader = LabelledLines(path, label_separator=":")
    assert [(e.target, e.source) for e in reader.read()] == [
        ("DESC", "How : why ?"),
        ("NUM", "When ?"),
    ]


def test_label_may_hold_spaces_when_the_separator_is_a_tab(write):
    reader = LabelledLines(write("very good\ta film\tto see\n"), separator="\t")
    assert next(reader.read()) == Example("a film\tto see", "very good", "a.txt:1")


def test_text_is_decoded_when_the_encoding_is_given(write):
    reader = LabelledLines(write("LOC Où est Évian ?\n", "latin-1"), encoding="latin-1")
    assert next(reader.read()).source == "Où est Évian ?"


@pytest.mark.parametrize("line", ["alone", "4 ", " text"])
def test_line_is_refused_when_label_or_text_is_missing(write, line):
    with pytest.raises(DataError, match=rf"a\.txt:2: a line must be a label, .* got '{line}'"):
        list(LabelledLines(write(f"4 fine\n{line}\n")).read())


@pytest.mark.parametrize("option", ["separator", "label_separator"])
def test_separator_is_refused_when_empty(option):
    with pytest.raises(ValueError, match=f"{option} must hold a character"):
        LabelledLines("a.txt", **{option: ""})
