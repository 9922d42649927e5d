import pytest

from seqattn.commands.wanted import choices, wanted


@pytest.mark.parametrize(
    ("types", "words"),
    [
        (["<class 'int'>"], "int"),
        (["<class 'int'>", "<class 'NoneType'>"], "int or null"),
        (["typing.Literal['a', 'b']"], "'a' or 'b'"),
        (["typing.Literal[64, 32]", "<class 'NoneType'>"], "64, 32 or null"),
        (
            [
                "typing.Literal['full']",
                "<class 'seqattn.attention.patterns.Pattern'>",
                "list[typing.Union[typing.Literal['full'], seqattn.attention.patterns.Pattern]]",
            ],
            "'full', a Pattern or a list of these",
        ),
        (["list[lightning.pytorch.callbacks.callback.Callback]"], "list[Callback]"),
    ],
)
def test_types_read_as_words(types: list[str], words: str) -> None:
    assert wanted(types) == words


def test_choices_are_the_strings_of_all_literals() -> None:
    types = ["typing.Literal[64, 'a']", "<class 'int'>", "typing.Literal['b, c']"]
    assert choices(types) == ["a", "b, c"]
