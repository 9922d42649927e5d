"""Task heads: a label per position, a label per sequence, a new sequence."""
