"""The runs that live, what the last ones of each service left, and how to ask them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Generic, TypeAlias

import attrs

from proxycore import RunId, ServiceId

from ._ask import NoAnswer, ask
from ._model_run import ModelRun
from ._run import C, Run
from .milestones import Milestones
from .runtime import ExitReport, RunFacts, Runtime, RuntimeFault, no_lines
from .settings import Service

AnyRun: TypeAlias = Run[C] | ModelRun[C]


@attrs.define(eq=False)
class Runs(Generic[C]):
    """Knows every run from before its task begins until that is over."""

    _services: Mapping[ServiceId, Service]
    _runtimes: Mapping[str, Runtime]
    living: dict[RunId, AnyRun[C]] = attrs.field(factory=dict, init=False)
    last: dict[ServiceId, RunId] = attrs.field(factory=dict, init=False)
    """The present run of each service, or the one before."""
    reports: dict[ServiceId, ExitReport] = attrs.field(factory=dict, init=False)
    """How the last one ended."""

    def register(self, run: AnyRun[C]) -> None:
        """Know the run before its task begins: the core may stop it sooner than that."""
        self.living[run.id] = run
        self.last[run.service.spec.id] = run.id

    def forget(self, service: ServiceId) -> None:
        """Forget a service that is gone for good."""
        self.reports.pop(service, None)
        self.last.pop(service, None)

    def lives(self, service: ServiceId) -> bool:
        return self.last.get(service) in self.living

    def progress(self, service: ServiceId) -> float | None:
        """Tell how much of a model's load is done, from 0 to 1; None: nobody knows."""
        run = self.living.get(self.last.get(service, RunId(0)))
        return run.progress if isinstance(run, ModelRun) else None

    def milestones(self, run: RunId) -> Milestones:
        """Tell how far a living run has come."""
        living = self.living.get(run)
        return Milestones() if living is None else living.milestones

    async def facts(self, service: ServiceId) -> RunFacts | None:
        """Describe the living run of a service; None: there is none, or it cannot be asked."""
        known = self._services.get(service)
        if known is None:
            return None  # Whoever asks looked at it before it was gone for good.
        service = known.spec.host or service  # A model is part of its host.
        run = self.living.get(self.last.get(service, RunId(0)))
        if run is None:
            return None
        with suppress(RuntimeFault):
            return await run.runtime.facts(service, run.id)
        return None

    async def metrics(self, service: ServiceId, authorization: str | None) -> tuple[int, bytes]:
        """Ask the present run of a service for its metrics; return status and body.

        Raises:
            NoAnswer: it does not answer.
        """
        path = self._services[service].metrics
        run = self.living.get(self.last.get(service, RunId(0)))
        endpoint = None if run is None else run.endpoint
        if path is None or endpoint is None:
            raise NoAnswer("there is nobody to ask")
        headers = () if authorization is None else (("Authorization", authorization),)
        return await ask(endpoint, "GET", path, headers=headers)

    def log_lines(
        self, service: ServiceId, number: RunId | None = None, *, tail: int, follow: bool
    ) -> AsyncIterator[str]:
        """Yield the log of a run, by default of the present run, or of the last one."""
        if service not in self._services:
            return no_lines()  # It is gone for good.
        service = self._services[service].spec.host or service
        number = number or self.last.get(service)
        if number is None:
            return no_lines()
        # The next run of the service may be run by another runtime.
        run = self.living.get(number)
        runtime = self._runtimes[self._services[service].runtime] if run is None else run.runtime
        return runtime.log_lines(service, number, tail=tail, follow=follow)
