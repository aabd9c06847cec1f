"""What a source counts, by named reason, and says in the log once."""

from __future__ import annotations

import logging
from collections import Counter

_MOST_SAID = 1000


class Tally:
    """`counters` are totals since start. A reason is logged once a subject (a topic, a rule, a value's name)."""

    def __init__(self, source: str, log: logging.Logger) -> None:
        self.source = source
        self.counters: Counter[str] = Counter()
        self._log = log
        self._said: set[tuple[str, str]] = set()

    def add(self, reason: str, count: int = 1) -> None:
        self.counters[reason] += count

    def reject(self, reason: str, subject: str, sentence: str, count: int = 1) -> None:
        """Counts bad input; the first of its kind is logged."""
        self.counters[reason] += count
        key = (reason, subject)
        if key not in self._said and len(self._said) < _MOST_SAID:
            self._said.add(key)
            self._log.warning("source %s: %s (%s; counted from now on)", self.source, sentence, reason)
