"""Who is first in line for room, and how long one lets others pass."""

from ._books import ServiceBook
from ._ids import TicketId
from ._verbs import Verbs
from .config import patience_s


class Line:
    """Those who wait for room, in the order in which they are helped."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._hosts = verbs.hosts

    def patient_until(self, book: ServiceBook) -> float:
        """Return until when those who wait for a service let others pass; somebody must wait."""
        patient_from = max(self._hosts.first_in_line(book).arrived_at, book.patient_from)
        return patient_from + patience_s(self._verbs.load_s(book))

    def is_patient(self, book: ServiceBook) -> bool:
        """Tell whether those who wait for a service still let others pass."""
        return self._verbs.books.now < self.patient_until(book)

    def place(self, book: ServiceBook) -> tuple[bool, int, TicketId]:
        """Return what to sort by: the impatient first, and priority among the others only."""
        patient = self.is_patient(book)
        first = self._hosts.first_in_line(book)
        return (patient, -self._hosts.priority(book) * patient, first.id)
