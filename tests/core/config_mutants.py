"""Planted faults of configurations that are replaced while services live."""

from .mutant import Mutant

CONFIG_MUTANTS = (
    Mutant(
        18,
        "who is started in another way lives on as he was",
        "_diff.py",
        "            self._leave(book, ALTERED)",
        "            pass",
    ),
    Mutant(
        18,
        "who was taken out lives on",
        "_diff.py",
        "            self._leave(book, REMOVED)",
        "            pass",
    ),
    Mutant(
        18,
        "who was taken out and is gone is never forgotten",
        "_core.py",
        "if self._is_forgetting and forget_gone(self.books):",
        "if False:",
    ),
    Mutant(
        18,
        "who did not change starts anew as well",
        "_diff.py",
        "            elif before != spec:\n                self._adjust(book, before)\n",
        "            else:\n                self._alter(book)\n",
    ),
    Mutant(
        1,
        "a run of an earlier configuration teaches what the next will take",
        "_measured.py",
        "if declared is None or book.outdated or",
        "if declared is None or",
    ),
    Mutant(
        1,
        "what was promised by other claims is still good",
        "_diff.py",
        "if book.state is State.RESERVED and book.promised not in verbs.placements(book):",
        "if book.state is State.RESERVED and book.promised is None:",
    ),
    Mutant(
        4,
        "who leaves because he changed may be called back",
        "_diff.py",
        "self._verbs.leave(book, why, for_good=True)",
        "self._verbs.leave(book, why)",
    ),
    Mutant(
        9,
        "who waits for what fits nowhere any more waits on",
        "_core.py",
        "            if book.waiting:\n                self._refuse_hopeless(book)\n",
        "            pass\n",
    ),
)
