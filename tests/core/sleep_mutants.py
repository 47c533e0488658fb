"""Planted faults in what has to do with sleep."""

from .mutant import Mutant

SLEEP_MUTANTS = (
    Mutant(
        17,
        "what a sleeper says that it holds is not believed if it is more than was declared",
        "_learn.py",
        "gpus = ((device, min(n, self.asleep)) for device, n in home.amounts if device != RAM)",
        "gpus = ((device, min(n, self.asleep)) for device, n in declared.amounts if device != RAM)",
    ),
    Mutant(
        17,
        "what a sleeper says that it holds is not believed",
        "_measured.py",
        "        if holds is not None:\n",
        "        if holds is not None and book.run is None:\n",
    ),
    Mutant(
        1,
        "who is told to sleep claims no more at once than when it sleeps",
        "_verbs.py",
        "    def sleep(self, book: ServiceBook, why: str) -> None:\n",
        "    def sleep(self, book: ServiceBook, why: str) -> None:\n"
        "        book.placement = self.residue(book)\n",
    ),
    Mutant(
        1,
        "who wakes needs no room",
        "_claims.py",
        "return (book.home.less(self._held(book, placement_of(book))),)",
        "return (Placement(),)",
    ),
    Mutant(
        6,
        "who is put to sleep by hand need not have served",
        "_core.py",
        "if book.state is State.READY and book.in_flight:",
        "if book.state is State.READY and not book.in_flight:",
    ),
    Mutant(
        15,
        "who sleeps in vain, as what it still holds is in the way",
        "_ledger.py",
        "amounts = dict(candidate.placement.amounts)\n",
        "amounts = {one: n + candidate.sleeps for one, n in candidate.placement.amounts}\n",
    ),
    Mutant(
        15,
        "who could sleep for idleness is stopped",
        "_core.py",
        "case State.READY if self._verbs.residue(book) is not None:",
        "case State.READY if self._verbs.residue(book) is None and book.run is None:",
    ),
)
