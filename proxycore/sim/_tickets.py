"""The promises to those who wait: one answer, in order, and a true one."""

from typing import NoReturn, assert_never

from .. import effects as fx
from .. import events as ev
from .._ids import ServiceId
from ._books import Books, Client, Stage

_IN_VAIN = (fx.Reason.NEVER_FITS, fx.Reason.STOPPED, fx.Reason.REMOVED)
"""No other try does better until somebody changes something."""


class Broken(AssertionError):
    """The core broke a promise."""


def broken(number: int, words: str) -> NoReturn:
    raise Broken(f"promise {number}: {words}")


class Tickets:
    """Checks the answers to tickets."""

    def __init__(self, books: Books) -> None:
        self.books = books

    def _admit(self, effect: fx.Admit | fx.Started) -> None:
        books = self.books
        client = self._answered(effect)
        run = books.current.get(effect.service)
        if run is None or run.id != effect.run or not run.awake:
            broken(4, f"ticket {client.ticket} is sent to run {effect.run}, which is not ready")
        if run.stop_at is not None or run.draining:
            broken(4, f"ticket {client.ticket} is sent to run {run.id}, which is leaving")
        host = books.host_of(run)
        if host is not None and not host.serving:
            broken(4, f"ticket {client.ticket} is sent to run {host.id}, which is leaving")
        if client.by_hand != isinstance(effect, fx.Started):
            broken(3, f"ticket {client.ticket} gets the wrong kind of answer: {effect}")
        if client.by_hand:
            client.stage = Stage.OVER
            del books.clients[client.ticket]
            return
        limit = books.specs[run.service].concurrent_max
        if limit is not None and len(run.in_flight) >= limit:
            broken(4, f"run {run.id} of {run.service} serves more than {limit} at once")
        for other in books.waiting(run.service):
            if other.ticket < client.ticket and not other.by_hand:
                broken(4, f"ticket {client.ticket} overtakes {other.ticket}")
        client.stage, client.run = Stage.SERVED, run.id
        run.in_flight[client.ticket] = None

    def _touch_host(self, service: ServiceId) -> bool:
        """Let a host not rest when something happens to a model of it; tell if it is one."""
        host = self.books.specs[service].host
        if host is not None and (run := self.books.current.get(host)) is not None:
            run.rested_at = self.books.now
        return host is not None

    def _refuse(self, effect: fx.Refuse, event: ev.Event) -> None:
        client = self._answered(effect)
        if not self._true(effect.reason, client, event):
            broken(3, f"ticket {client.ticket} is told what is not so: {effect}")
        known = effect.reason is not fx.Reason.SERVICE_FAILED  # There it depends on the cause.
        if known and (effect.reason in _IN_VAIN) != (effect.retry_after_s is None):
            broken(3, f"ticket {client.ticket} is not told whether to come again: {effect}")
        run = self.books.current.get(client.service)
        if run is not None and run.asleep and not _brings(event, client):
            run.rested_at = self.books.now
        client.stage = Stage.OVER
        del self.books.clients[client.ticket]

    def _answered(self, effect: fx.Admit | fx.Started | fx.Refuse) -> Client:
        client = self.books.clients.get(effect.ticket)
        if client is None or client.stage is not Stage.WAITING:
            broken(3, f"ticket {effect.ticket} is over or was answered before: {effect}")
        if client.service != effect.service:
            broken(3, f"ticket {effect.ticket} is for {client.service}: {effect}")
        run = self.books.current.get(client.service)
        if self._touch_host(client.service) and run is not None:
            # Who waits for a model may do so because its host drains: it rests from then on.
            run.rested_at = self.books.now
        return client

    def _true(self, reason: fx.Reason, client: Client, event: ev.Event) -> bool:
        """Tell whether the reason for a refusal is so, as far as the World knows."""
        books, service = self.books, client.service
        spec, run = books.specs[service], books.current.get(service)
        if spec.host is not None and self._is_true_of_host(reason, spec.host, event):
            return True
        match reason:
            case fx.Reason.QUEUE_FULL:
                return not client.by_hand and len(books.waiting(service)) > spec.queue_max
            case fx.Reason.QUEUE_TIMEOUT:
                return client.deadline_at <= books.now
            case fx.Reason.NEVER_FITS:
                return books.hopeless(service)
            case fx.Reason.START_TIMEOUT:
                return run is not None and run.blamed
            case fx.Reason.SERVICE_FAILED:
                return run is None and books.last_failed.get(service, False)
            case fx.Reason.RUNTIME_LOST:
                return service in books.lost
            case fx.Reason.STOPPED:
                return isinstance(event, ev.StopRequested) and event.service == service
            case fx.Reason.REMOVED:
                return isinstance(event, ev.ConfigReplaced) and service in books.removed
            case fx.Reason.SHUTTING_DOWN:
                return books.closing
            case _:
                assert_never(reason)

    def _is_true_of_host(self, reason: fx.Reason, host: ServiceId, event: ev.Event) -> bool:
        """Tell whether who wants a model is refused for what became of its host."""
        run = self.books.current.get(host)
        match reason:
            case fx.Reason.START_TIMEOUT:
                return run is not None and run.blamed
            case fx.Reason.SERVICE_FAILED:
                return run is None and self.books.last_failed.get(host, False)
            case fx.Reason.STOPPED:
                return isinstance(event, ev.StopRequested) and event.service == host
            case _:
                return False


def _brings(event: ev.Event, client: Client) -> bool:
    """Tell whether a client has only just come: who is refused at once has not waited."""
    match event:
        case ev.RequestArrived() | ev.StartRequested() | ev.RestartRequested():
            return event.ticket == client.ticket
        case _:
            return False
