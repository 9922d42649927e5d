"""The one exception type of seqattn."""


class DataError(ValueError):
    """A file or an example breaks a rule.

    Args:
        message: what must hold, and the value got.
        path: the file, when one is known.
        line: the 1-based line in that file.
        key: the example's key, when the fault is in an example and not in a line.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        line: int | None = None,
        key: str | None = None,
    ) -> None:
        self.message = message
        self.path = path
        self.line = line
        self.key = key
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        if self.path is not None:
            place = self.path if self.line is None else f"{self.path}:{self.line}"
            return f"{place}: {self.message}"
        if self.key is not None:
            return f"example {self.key!r}: {self.message}"
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the keyword arguments when a loader's worker sends the error to its parent."""
        return _rebuild, (self.message, self.path, self.line, self.key)


def _rebuild(message: str, path: str | None, line: int | None, key: str | None) -> DataError:
    return DataError(message, path=path, line=line, key=key)
