from textwrap import dedent

from seqattn.commands.parser_message import read_complaint

NESTED = dedent("""\
    Parser key "model":
      Does not validate against any of the Union subtypes
      Subtypes: [<class 'Head'>, <class 'NoneType'>]
      Errors:
        - Problem with given class_path 'x.Head':
            Parser key "encoder":
              Problem with given class_path 'x.Encoder':
                Parser key "pattern":
                  Does not validate against any of the Union subtypes
                  Subtypes: [typing.Literal['a, b', 'c'], dict[str, int]]
                  Given value: d
        - Expected a <class 'NoneType'>
      Given value: NestedArg(key='encoder.pattern', val='d')""")


def test_the_innermost_complaint_has_the_whole_key_and_its_own_value() -> None:
    complaint = read_complaint(NESTED)
    assert complaint.key == ("model", "encoder", "pattern")
    assert complaint.value == "d"
    assert complaint.expected == ["typing.Literal['a, b', 'c']", "dict[str, int]"]
    assert complaint.class_path == ""


def test_a_complaint_about_a_class_names_it() -> None:
    complaint = read_complaint(
        "Parser key \"data\":\n  Problem with given class_path 'x.Data':\n"
        "    Option 'pth' is not accepted"
    )
    assert (complaint.key, complaint.class_path) == (("data",), "x.Data")
    assert complaint.body == "Option 'pth' is not accepted"


def test_a_key_that_is_said_twice_counts_once() -> None:
    message = 'Parser key "wandb":\nUnable\n  - Parser key "wandb":\n      Unable'
    assert read_complaint(message).key == ("wandb",)


def test_a_message_without_a_key_is_its_own_body() -> None:
    complaint = read_complaint("invalid choice")
    assert (complaint.key, complaint.last_line) == ((), "invalid choice")
