import pytest

from seqattn.attention.patterns import Causal, Full
from seqattn.layers.slots import require_choice


def test_require_choice_lists_the_choices():
    with pytest.raises(ValueError, match="norm must be one of 'pre', 'post', got 'mid'"):
        require_choice("norm", "mid", ("pre", "post"))


def test_patterns_say_what_they_are():
    assert Full().is_full
    assert not Full().is_causal
    assert Causal().is_causal
