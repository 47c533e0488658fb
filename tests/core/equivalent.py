"""Generated faults that nobody could see, and why."""

from collections.abc import Mapping

_BOUND = "the bound of a search: it looks at one set more or less, and costs as much"
_PILED_UP = "when deadlines that mean nothing any more are swept out: memory only"

EQUIVALENT: Mapping[str, str] = {
    "_ledger.py module: NODES_MAX = 2048  ->  NODES_MAX = 2049": _BOUND,
    "_ledger.py cheapest_victims: visited = 0  ->  visited = 1": _BOUND,
    "_ledger.py cheapest_victims: while stack and (best is None or visited < NODES_MAX):"
    "  ->  while stack and (best is None or visited <= NODES_MAX):": _BOUND,
    "_ledger.py cheapest_victims: if best is None or rank < best:"
    "  ->  if best is None or rank <= best:": "no two sets have one rank: it names their members",
    **{
        "_ledger.py cheapest_victims:"
        " if least > best[0] * ROUNDING or (value, len(taken)) >= best[:2]:"
        f"  ->  if {cut}:": _BOUND
        for cut in (
            "least >= best[0] * ROUNDING or (value, len(taken)) >= best[:2]",
            "least > best[0] * ROUNDING or (value, len(taken)) > best[:2]",
            "least > best[0] * ROUNDING or (value, len(taken)) >= best[:3]",
        )
    },
    "_ledger.py Candidate: sleeps: bool = False  ->  sleeps: bool = True": (
        "the core says it of every one"
    ),
    "_ledger.py Room.fits_all: return min(left.free.values(), default=0) >= 0"
    "  ->  return min(left.free.values(), default=1) >= 0": "where there is no device, all fits",
    "_settle.py Settler._evict_for: *_, placement, victims = min(plans, key=lambda plan: plan[:3])"
    "  ->  *_, placement, victims = min(plans, key=lambda plan: plan[:4])": (
        "no two plans have one order"
    ),
    "_settle.py Settler._make_room: fitted = any(map(promisable.fits, self._verbs.needs(book)))"
    "  ->  fitted = all(map(promisable.fits, self._verbs.needs(book)))": (
        "settling begins again where it might go on, and comes to the same"
    ),
    **{
        f"_core.py Core._first_at: if {condition} < at:  ->  if {condition} <= at:": (
            "of two points in time that are one, either is the first"
        )
        for condition in (
            "books.deadlines and books.deadlines[0][0]",
            "books.reconsider_at is not None and books.reconsider_at",
        )
    },
    "_ledger.py cheapest_victims: gains.sort("
    "key=lambda one: (*one[:3], one[3].service, not one[3].sleeps))"
    "  ->  gains.sort(key=lambda one: (*one[:3], one[3].service, +bool(one[3].sleeps)))": (
        "in which order a search looks at equals: their rank decides between them"
    ),
    "_settle.py Settler._is_moved: return True  ->  return False": (
        "it moves, so settling begins again, whatever was noted meanwhile"
    ),
    "_verbs.py Verbs.__init__: self.room_changed = False  ->  self.room_changed = True": (
        "settling looks once more, and finds what it left"
    ),
    "_verbs.py Verbs.reserve: self.books.promised_count += 1"
    "  ->  self.books.promised_count += 2": "it is an order, and no number",
    "_core.py Core.handle: self._start(self.config, self.books, self.policy)  ->  pass": (
        "who was forgotten has no run, waiter or timer: memory only"
    ),
    "_verbs.py Verbs.expire: if len(heap) > 2 * len(tickets):"
    "  ->  if len(heap) > 3 * len(tickets):": _PILED_UP,
    "_verbs.py Verbs.expire: if len(heap) > 2 * len(tickets):"
    "  ->  if len(heap) >= 2 * len(tickets):": _PILED_UP,
    **{
        f"_verbs.py Verbs.{verb}: book.batch_max = next(reversed(book.waiting), TicketId(0))"
        "  ->  book.batch_max = next(reversed(book.waiting), TicketId(1))": (
            "the first ticket was answered before, or is among those who wait"
        )
        for verb in ("ready", "woke")
    },
}
"""By the text of the change; `test_operators.py` checks that there still is such a one."""
