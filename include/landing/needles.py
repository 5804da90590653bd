"""Values looked for in text: as whole words, so that a number is not found in a longer one."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

_WORD = re.compile(r"\w+")


class Needles:
    """Values to look for in texts and in JSON.

    A value counts where no letter, digit or underscore stands right before or behind it. Cost: that of the words of the
    text, whatever the number of values.
    """

    def __init__(self, values: Iterable[str]) -> None:
        """Look for these values; those without a letter or digit are never found."""
        self.values = frozenset(values)
        self._by_word: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
        for value in self.values:
            # as it stands, and as JSON writes it
            for form in {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}:
                if first := _WORD.search(form):
                    self._by_word[first[0]].append((form, first.start(), value))

    def found(self, text: str) -> set[str]:
        """The values that stand in a text."""
        return {value for _, _, value in self._places(text)}

    def replaced(self, text: str, by: str) -> tuple[str, int]:
        """A text with something else in the place of each value, and how many there were."""
        made, at, count = [], 0, 0
        for begin, end, _ in self._places(text):
            if begin >= at:
                made += [text[at:begin], by]
                at, count = end, count + 1
        return "".join([*made, text[at:]]), count

    def wiped(self, content: bytes) -> tuple[bytes, int]:
        """UTF-8 text with asterisks for each byte of a value, as long as before, and how many values there were."""
        text = content.decode(errors="surrogateescape")
        made, at, count = [], 0, 0
        for begin, end, _ in self._places(text):
            if begin >= at:
                stars = "*" * len(text[begin:end].encode(errors="surrogateescape"))
                made += [text[at:begin], stars]
                at, count = end, count + 1
        return "".join([*made, text[at:]]).encode(errors="surrogateescape"), count

    def _places(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Beginning and end of each, in the order of the text, the longest first of those that begin alike."""
        for word in _WORD.finditer(text):
            here = []
            for form, offset, value in self._by_word.get(word[0], ()):
                begin = word.start() - offset
                end = begin + len(form)
                if begin >= 0 and text.startswith(form, begin) and _is_apart(text, begin, end):
                    here.append((begin, end, value))
            yield from sorted(here, key=lambda place: place[0] - place[1])


def _is_apart(text: str, begin: int, end: int) -> bool:
    """Whether no word goes on beyond either end."""
    before = begin > 0 and _WORD.match(text[begin - 1]) and _WORD.match(text[begin])
    behind = end < len(text) and _WORD.match(text[end]) and _WORD.match(text[end - 1])
    return not (before or behind)
