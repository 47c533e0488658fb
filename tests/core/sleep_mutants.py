"""Planted faults in what has to do with sleep."""

from .mutant import Mutant

SLEEP_MUTANTS = (
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
        "who sleeps claims half of what it holds",
        "_verbs.py",
        "        self.move(book, Step.SLEPT, book.why)\n",
        "        self.move(book, Step.SLEPT, book.why)\n"
        "        halves = [(one, (n + 1) // 2) for one, n in placement_of(book).amounts]\n"
        "        book.placement = Placement.of(halves)\n",
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
        9,
        "who sleeps need not wake for those who wait",
        "_settle.py",
        "return book.state is State.ASLEEP or (book",
        "return bool(book.state is State.ASLEEP and book.starts_waiting) or (book",
    ),
    Mutant(
        12,
        "who does not fall asleep is waited for for ever",
        "_verbs.py",
        "        self.arm(book, self.books.now + SLEEP_S)\n",
        "",
    ),
    Mutant(
        13,
        "who sleeps makes no room for others though it cannot wake",
        "_leavers.py",
        "may_leave = book.unused or (seeker is not None and book is not seeker)",
        "may_leave = book.unused",
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
