"""From `server:` as it is written to what the daemon runs on."""

from collections.abc import Mapping
from pathlib import Path

from proxycore import ServiceId
from proxyserver.access import Key

from ._model import ServerEntry
from ._profiles import profiles_of
from ._schedules import schedules_of
from ._settings import ServerSettings, Tls, usual_state_dir


def server_settings(
    entry: ServerEntry, keys: tuple[Key, ...], tls: Tls | None, environ: Mapping[str, str]
) -> ServerSettings:
    """Return what concerns the daemon itself, its keys and its TLS being read already."""
    state_dir = Path(entry.state_dir or usual_state_dir(environ))
    return ServerSettings(
        state_dir=state_dir,
        host=entry.host,
        port=entry.port,
        tls=tls,
        socket=None if entry.socket is None else Path(entry.socket),
        socket_mode=entry.socket_mode,
        keys=keys,
        allow_without_keys=entry.allow_without_keys,
        hosts=entry.hosts,
        cors=entry.cors,
        log_level=entry.log.level,
        log_format=entry.log.format,
        log_file=None if entry.log.file is None else Path(entry.log.file),
        log_file_max=entry.log.file_max,
        log_files_kept=entry.log.files_kept,
        log_services=entry.log.services,
        on_shutdown=entry.on_shutdown,
        shutdown_s=entry.shutdown_s,
        docker_host=entry.docker.host or environ.get("DOCKER_HOST") or None,
        runtime=entry.runtime,
        default_model=entry.default_model,
        preload=tuple(map(ServiceId, entry.preload)),
        profiles=profiles_of(entry),
        schedules=schedules_of(entry),
        body_max=entry.body_max,
        spill_max=entry.spill_max,
        spill_total=entry.spill_total,
        forwarded=entry.forwarded,
        via=entry.via,
        spill_dir=state_dir if entry.spill_dir is None else Path(entry.spill_dir),
        first_byte_s=entry.first_byte_s,
        stall_s=entry.stall_s,
        total_s=entry.total_s,
        stream_after_s=entry.stream_after_s,
        stream_every_s=entry.stream_every_s,
        journal=entry.journal,
        usage_days=entry.usage_days,
        policy=entry.policy,
    )
