"""Planted faults that show only between two events: what is due, what is shown, what was missed."""

from .mutant import Mutant

REST_MUTANTS = (
    Mutant(
        5,
        "who is first in line keeps nothing from others",
        "_settle.py",
        "        if self._fits_some_day(book):\n",
        "        if book.state is State.ASLEEP and self._fits_some_day(book):\n",
    ),
    Mutant(
        7,
        "that one outlived its kills is noticed with the next event",
        "_verbs.py",
        "        self.touch(book)  # Its room may be promised no longer.\n",
        "",
    ),
    Mutant(
        9,
        "nobody notes when patience ends",
        "_settle.py",
        "self._reconsider(min([self._line.patient_until(book), *spared_until.values()]))",
        "self._reconsider(min([self._line.patient_until(book) + 5.0, *spared_until.values()]))",
    ),
    Mutant(
        17,
        "a load that another slowed down teaches as any",
        "_verbs.py",
        "                other.loads_alone = book.loads_alone = False\n",
        "                book.loads_alone = False\n",
    ),
    Mutant(
        17,
        "who sleeps is shown as idle while somebody waits for it",
        "_settle.py",
        "        elif book.state is State.ASLEEP:\n",
        "        elif book.state is State.ASLEEP and not book.waiting:\n",
    ),
    Mutant(
        15,
        "one who leaves for little memory is not given the time to leave",
        "_verbs.py",
        "                measured.low_since = None\n",
        "                measured.low_since = measured.low_since\n",
    ),
)
