"""Planted faults: each breaks one promise of the core, by a small change of its source.

A mutant is found by the World alone, on walks that know nothing of it (`test_mutants.py`).
"""

from .config_mutants import CONFIG_MUTANTS
from .mutant import Mutant as Mutant
from .rest_mutants import REST_MUTANTS
from .sleep_mutants import SLEEP_MUTANTS

MUTANTS = (
    *REST_MUTANTS,
    *CONFIG_MUTANTS,
    *SLEEP_MUTANTS,
    Mutant(
        1,
        "what strangers hold is free",
        "_claims.py",
        "now_free.lose(device.id, max(0, lacks + rest.now))",
        "now_free.lose(device.id, max(0, lacks + rest.now - rest.foreign))",
    ),
    Mutant(
        1,
        "what was learnt is claimed only where it is more",
        "_learn.py",
        "            if amount < known:\n",
        "            if amount < known or (not known and amount < declared.on(device)):\n"
        "                known = known or declared.on(device)\n",
    ),
    Mutant(
        1,
        "what was seen in the middle of a load teaches",
        "_measured.py",
        "                if book.served:\n",
        "                if book.run is not None:\n",
    ),
    Mutant(
        1,
        "a claim is given back when the run is told to stop",
        "_claims.py",
        "                now_free.take(book.placement)\n",
        "                if book.state is not State.STOPPING:\n"
        "                    now_free.take(book.placement)\n",
    ),
    Mutant(
        1,
        "the headroom is forgotten",
        "config.py",
        "return max(0, self.capacity - self.headroom)",
        "return self.capacity",
    ),
    Mutant(
        1,
        "only the first device of a placement is looked at",
        "_ledger.py",
        "return all(amount <= self.free.get(device, 0) for device, amount in placement.amounts)",
        "return all(amount <= self.free.get(one, 0) for one, amount in placement.amounts[:1])",
    ),
    Mutant(
        17,
        "what was found running claims nothing",
        "_verbs.py",
        "book.run, book.home, book.placement = found.run, found.placement, found.placement",
        "book.run, book.home, book.placement = found.run, found.placement, Placement()",
    ),
    Mutant(
        1,
        "what a run takes beyond its claim is free",
        "_memory.py",
        "over_now, over_later = min(over_now, rest), min(over_later, rest)",
        "rest, over_now, over_later = max(0, rest - over_now), 0, 0",
    ),
    Mutant(
        2,
        "a run number is given twice",
        "_verbs.py",
        "self.books.run_max = RunId(self.books.run_max + 1)",
        "self.books.run_max = RunId(max(self.books.run_max, 1))",
    ),
    Mutant(
        2,
        "a restart does not wait for the old run",
        "_core.py",
        'self._verbs.leave(book, "restarted by hand", for_good=True)',
        'self._verbs.leave(book, "restarted by hand", for_good=True)\n'
        "                if book.state is State.STOPPING:\n"
        '                    self._measured.verified(book, "restarted by hand")',
    ),
    Mutant(
        17,
        "who left the queue is served all the same",
        "_verbs.py",
        "        if ticket in book.waiting:\n            self._unqueue(book, ticket)\n",
        "        if ticket in book.waiting:\n            pass\n",
    ),
    Mutant(
        3,
        "a start by hand is answered like a request",
        "_verbs.py",
        "        if ticket.by_hand:\n",
        "        if ticket.by_hand and book.kept:\n",
    ),
    Mutant(
        3,
        "a full queue is full for those who already wait",
        "_core.py",
        "ahead >= spec.queue_max and",
        "ahead >= spec.queue_max - 1 and",
    ),
    Mutant(
        4,
        "who is served takes no place",
        "_settle.py",
        "max(0, limit - len(book.in_flight))",
        "limit",
    ),
    Mutant(
        4,
        "who came last is served first",
        "_settle.py",
        "for ticket in list(itertools.islice(book.waiting.values(), places)):",
        "for ticket in list(itertools.islice(reversed(book.waiting.values()), places)):",
    ),
    Mutant(
        5,
        "a promise holds until somebody new comes",
        "_settle.py",
        "        for book in sorted(wanting, key=self._line.place):\n",
        "        now_free, _ = self._verbs.rooms()\n"
        "        for book in sorted(wanting, key=self._line.place):\n",
    ),
    Mutant(
        5,
        "what is promised does not count as taken",
        "_settle.py",
        "            # A later one must not take what an earlier one is still gathering.\n"
        "            now_free.take(placement)",
        "            if book.promised is None:\n                now_free.take(placement)",
    ),
    Mutant(
        6,
        "a run that serves may be stopped for room",
        "_leavers.py",
        "may_leave = self._hosts.unused(book) or (\n                seeker is not None",
        "may_leave = not book.waiting or (\n                seeker is not None",
    ),
    Mutant(
        6,
        "nobody is patient",
        "_settle.py",
        "candidates = without(spared_until, every)",
        "candidates = without(spared_until, self._leavers.candidates(seeker=book))",
    ),
    Mutant(
        6,
        "a stop by hand does not wait for those who are served",
        "_verbs.py",
        "if force or not self.hosts.is_serving(book):",
        "if force or book.state is State.READY:",
    ),
    Mutant(
        17,
        "the idle timer runs on while a request is served",
        "_verbs.py",
        "if not self.hosts.unused(book) or spec.pinned or spec.idle_s is None:",
        "if spec.pinned or spec.idle_s is None:",
    ),
    Mutant(
        7,
        "every Tick gives an idle run more time",
        "_core.py",
        "            case ev.Tick():\n                pass\n",
        "            case ev.Tick():\n"
        "                for book in books.services.values():\n"
        "                    if book.state is State.READY and book.timer_at is not None:\n"
        "                        verbs.arm(book, book.timer_at + 1.0)\n",
    ),
    Mutant(
        7,
        "what settling itself made possible waits for the next event",
        "_settle.py",
        "while verbs.touched or verbs.room_changed:",
        "if verbs.touched or verbs.room_changed:",
    ),
    Mutant(
        8,
        "nothing ends idleness",
        "_verbs.py",
        "self.arm(book, book.rested_at + spec.idle_s)",
        "self.arm(book, None)",
    ),
    Mutant(
        8,
        "a late Tick matters: what is due fires after the event",
        "_core.py",
        "        if self._first_at() <= now:\n"
        "            self._catch_up()\n"
        "        self._note(event)\n",
        "        self._note(event)\n"
        "        if self._first_at() <= now:\n"
        "            self._catch_up()\n",
    ),
    Mutant(
        8,
        "every event starts the idle time anew",
        "_verbs.py",
        "self.arm(book, book.rested_at + spec.idle_s)",
        "self.arm(book, self.books.now + spec.idle_s)",
    ),
    Mutant(
        9,
        "the end of a wait is no deadline of the core",
        "_core.py",
        "            at = books.deadlines[0][0]",
        "            pass",
    ),
    Mutant(
        9,
        "who cannot be helped blocks those behind",
        "_settle.py",
        "settling begins again.\n                continue\n",
        "settling begins again.\n                break\n",
    ),
    Mutant(
        13,
        "nothing leaves for those who wait",
        "_settle.py",
        "            if victims is not None:",
        "            if victims is not None and not victims:",
    ),
    Mutant(
        9,
        "a place that became free stays so",
        "_settle.py",
        "max(0, limit - len(book.in_flight))",
        "max(0, limit - 1 - len(book.in_flight))",
    ),
    Mutant(
        9,
        "memory is awaited for ever",
        "_measured.py",
        "            return\n        self._verbs.arm(book, self._books.now + VERIFY_S)\n"
        "        self._verbs.out.append(fx.MeasureMemory(devices))\n",
        "            return\n        self._verbs.out.append(fx.MeasureMemory(devices))\n",
    ),
    Mutant(
        10,
        "any number will do",
        "_core.py",
        "if known is not None and known.run == event.run:",
        "if known is not None and known.run is not None:",
    ),
    Mutant(
        10,
        "the end of any run is the end of the present one",
        "_core.py",
        "known.run == event.run:",
        "(known.run == event.run or (known.run and isinstance(event, ev.RunGone))):",
    ),
    Mutant(
        11,
        "the order of a set decides",
        "_settle.py",
        "for book in sorted(wanting, key=self._line.place):",
        "for book in (self._services[one] for one in {book.id for book in wanting}):",
    ),
    Mutant(
        11,
        "a counter outlives its core",
        "_verbs.py",
        "    def launch(self, book: ServiceBook) -> None:\n"
        "        self.books.run_max = RunId(self.books.run_max + 1)\n",
        "    def launch(self, book: ServiceBook, last: list[RunId] = [RunId(0)]) -> None:\n"
        "        last[0] = self.books.run_max = RunId(max(self.books.run_max, *last) + 1)\n",
    ),
    Mutant(
        12,
        "a run that does not stop is never killed",
        "_core.py",
        "                self._verbs.kill(book)",
        "                self._verbs.arm(book, None)",
    ),
    Mutant(
        12,
        "signs of life extend a start for ever",
        "_verbs.py",
        "self.arm(book, min(alive_until, book.start_max_at))",
        "self.arm(book, alive_until)",
    ),
    Mutant(
        13,
        "who serves is never drained",
        "_settle.py",
        "candidates = self._leavers.candidates(seeker=book)",
        "candidates = self._leavers.candidates()",
    ),
    Mutant(
        13,
        "patience never ends",
        "_line.py",
        "return patient_from + patience_s(self._verbs.load_s(book))",
        "return patient_from + 1e9",
    ),
    Mutant(
        14,
        "a load is given up though somebody waits for it",
        "_books.py",
        "return not self.in_flight and not self.waiting",
        "return not self.in_flight",
    ),
    Mutant(
        14,
        "a load need not serve those that it was made for",
        "_leavers.py",
        "return not book.waiting or book.first_in_line.id > book.batch_max",
        "return True",
    ),
    Mutant(
        15,
        "an idle run leaves at the first sign of scarcity",
        "_settle.py",
        "if self._verbs.books.now < measured.low_since + LOW_S:",
        "if self._verbs.books.now < measured.low_since:",
    ),
    Mutant(
        15,
        "whoever runs out of memory clears all devices",
        "_settle.py",
        "    return any(one.on(device) for device in devices)",
        "    return True",
    ),
    Mutant(
        15,
        "all that may leave does",
        "_ledger.py",
        "return tuple(sorted(_needed(chosen, short), key=lambda one: one.service))",
        "return tuple(one for one in candidates if one.placement.amounts)",
    ),
    Mutant(
        15,
        "some leave though that does not suffice",
        "_ledger.py",
        "    if any(map(gt, lacking, rest[0])):\n        return None\n",
        "    if any(map(gt, lacking, rest[0])):\n"
        "        return tuple(one for *_, one, _ in gains if not one.sleeps) or None\n",
    ),
    Mutant(
        15,
        "who is pinned leaves too",
        "_leavers.py",
        "if self._specs[book.id].pinned or book.lost is not None or",
        "if book.lost is not None or",
    ),
    Mutant(
        15,
        "who serves is not told of to those who want its room",
        "_explain.py",
        "if other is book or other.holds is None:",
        "if other is book or other.holds is None or other.in_flight:",
    ),
    Mutant(
        1,
        "a model is placed where its host is not",
        "_hosts.py",
        "        return spec.placements_in(self._specs[host.id], host.placement)",
        "        return spec.placements",
    ),
    Mutant(
        6,
        "a host rests while its models serve",
        "_hosts.py",
        "            model.unused and model.state not in _MOVING for model",
        "            model.state not in _MOVING for model",
    ),
    Mutant(
        9,
        "who wants a model does not make its host start",
        "_hosts.py",
        "return any(one.waiting for one in self.with_models(book)) and self.is_open(book)",
        "return bool(book.waiting) and self.is_open(book)",
    ),
    Mutant(
        12,
        "a host that does not unload a model is left in peace",
        "_core.py",
        '_verbs.stop_failed(host, Cause("stuck", f"it does not unload {book.id}"))',
        "_verbs.arm(book, None)",
    ),
    Mutant(
        16,
        "a model that is not unloaded is killed",
        "_core.py",
        "case State.STOPPING if (host := self._verbs.hosts.host_of(book)) is not None:",
        "case State.STOPPING if (host := self._verbs.hosts.host_of(book)) and not book.kills:\n"
        "                self._verbs.kill(book)\n"
        "            case State.STOPPING if host is not None:",
    ),
    Mutant(
        16,
        "a host that ends is told to unload its models",
        "_verbs.py",
        "            self.move(model, Step.STOP, why)",
        "            self.stop(model, why)",
    ),
    Mutant(
        16,
        "a model is loaded into no run",
        "_verbs.py",
        "inside = None if host is None else run_of(host)",
        "inside = None",
    ),
)
