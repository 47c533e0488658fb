"""What the proxy answers for itself, as JSON Schemas; docs/reference/http-api.md tells it in words.

All keys are always there; what there is nothing to say of is null.  More may come with a version,
so a client has to leave alone what it does not know.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from proxycore import State, Unit
from proxyserver.decisions import Kind

from ._usage import BY

Schema: TypeAlias = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_WHOLE: Schema = {"type": "integer"}
_NUMBER: Schema = {"type": "number"}
_FLAG: Schema = {"type": "boolean"}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _map(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def _maybe(schema: Schema) -> Schema:
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _words(words: list[str]) -> Schema:
    return {"type": "string", "enum": words}


def _refer(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_BYTES = _map(_WHOLE)
"""By device."""
_STATE = _words([state.value for state in State])
_WORKING = _map(_object(ok=_FLAG, message=_TEXT))
_ACTED = _object(id=_TEXT, state=_STATE, run=_maybe(_WHOLE))

NAMED: Mapping[str, Schema] = {
    "Cause": _object(kind=_TEXT, message=_TEXT, heals=_FLAG, out_of_memory=_FLAG),
    "Pull": _object(
        image=_TEXT,
        state=_words(["pulling", "done", "failed", "cancelled"]),
        status=_TEXT,
        done=_COUNT,
        total=_COUNT,
        percent=_maybe(_NUMBER),
        started_at=_NUMBER,
        took_s=_NUMBER,
        cause=_maybe(_refer("Cause")),
    ),
    "Service": _object(
        id=_TEXT,
        host=_maybe(_TEXT),
        type=_TEXT,
        runtime=_TEXT,
        state=_STATE,
        run=_maybe(_WHOLE),
        why=_TEXT,
        for_s=_NUMBER,
        progress=_maybe(_NUMBER),
        waiting=_COUNT,
        in_flight=_COUNT,
        idle_in_s=_maybe(_NUMBER),
        retry_in_s=_maybe(_NUMBER),
        failures=_COUNT,
        placement=_BYTES,
        estimates=_list(_BYTES),
        load_s=_NUMBER,
        aliases=_list(_TEXT),
        pinned=_FLAG,
        cause=_maybe(_refer("Cause")),
        removed=_FLAG,
        pull=_maybe(_refer("Pull")),
    ),
    "Device": _object(
        id=_TEXT,
        capacity=_COUNT,
        headroom=_COUNT,
        claimed=_WHOLE,
        reserved=_WHOLE,
        free=_WHOLE,
        measured_free=_maybe(_WHOLE),
        foreign=_maybe(_WHOLE),
        unit=_words([unit.value for unit in Unit]),
        measured=_maybe(
            _object(
                total=_COUNT,
                used=_COUNT,
                free=_COUNT,
                services=_BYTES,
                foreign=_maybe(_WHOLE),
                age_s=_NUMBER,
                stale=_FLAG,
            )
        ),
    ),
    "Problem": _object(file=_TEXT, line=_WHOLE, column=_WHOLE, path=_TEXT, message=_TEXT),
    "Configuration": _object(
        path=_TEXT,
        loaded_at=_NUMBER,
        problems=_list(_refer("Problem")),
        needs_restart=_list(_TEXT),
        schedules=_list(_TEXT),
    ),
    "Changes": _object(
        outcome=_words(["changed", "unchanged"]),
        added=_list(_TEXT),
        removed=_list(_TEXT),
        restarts=_map(_list(_TEXT)),
        changes=_map(_list(_TEXT)),
        next_start=_map(_list(_TEXT)),
        server=_list(_TEXT),
        needs_restart=_list(_TEXT),
    ),
    "Candidate": _object(
        service=_TEXT,
        run=_maybe(_WHOLE),
        claim=_BYTES,
        fate=_TEXT,
        why=_TEXT,
        until=_maybe(_NUMBER),
        value=_maybe(_NUMBER),
        load_s=_NUMBER,
        requests=_NUMBER,
        idle_s=_NUMBER,
    ),
    "Decision": _object(
        number=_COUNT,
        at=_NUMBER,
        kind=_words([kind.value for kind in Kind]),
        service=_TEXT,
        run=_maybe(_WHOLE),
        ticket=_maybe(_WHOLE),
        request=_maybe(_TEXT),
        why=_TEXT,
        reason=_maybe(_TEXT),
        position=_maybe(_COUNT),
        waited_s=_maybe(_NUMBER),
        need=_maybe(_BYTES),
        free=_maybe(_BYTES),
        foreign=_maybe(_BYTES),
        candidates=_maybe(_list(_refer("Candidate"))),
        patient_until=_maybe(_NUMBER),
        policy=_maybe(_TEXT),
    ),
}
"""Those that several answers have."""

_MODEL = _object(
    id=_TEXT,
    object=_TEXT,
    created=_WHOLE,
    owned_by=_TEXT,
    status={
        "type": "object",
        "required": ["value"],
        "properties": {
            "value": _words(["unloaded", "loading", "loaded", "sleeping"]),
            "failed": _FLAG,
        },
    },
    max_model_len=_maybe(_COUNT),
    meta=_maybe(_object(n_ctx=_COUNT, n_ctx_train=_COUNT, n_params=_COUNT, size=_COUNT)),
)
_MODELS = _object(object=_TEXT, data=_list(_MODEL))
_TAG: dict[str, Schema] = {
    "name": _TEXT,
    "model": _TEXT,
    "size": _COUNT,
    "digest": _TEXT,
    "details": _object(
        parent_model=_TEXT,
        format=_TEXT,
        family=_TEXT,
        families=_list(_TEXT),
        parameter_size=_TEXT,
        quantization_level=_TEXT,
    ),
}
ANSWERS: Mapping[str, Schema] = {
    "/v1/models": _MODELS,
    "/models": _MODELS,
    "/v1/models/{id}": _MODEL,
    "/models/load": _object(success=_FLAG),
    "/models/unload": _object(success=_FLAG),
    "/api/v0/models": _object(
        object=_TEXT,
        data=_list(
            _object(
                id=_TEXT,
                object=_TEXT,
                type=_TEXT,
                publisher=_TEXT,
                arch=_maybe(_TEXT),
                compatibility_type=_maybe(_TEXT),
                quantization=_maybe(_TEXT),
                state=_words(["loaded", "not-loaded"]),
                max_context_length=_maybe(_COUNT),
            )
        ),
    ),
    "/api/version": _object(version=_TEXT),
    "/api/tags": _object(models=_list(_object(**_TAG, modified_at=_TEXT))),
    "/api/ps": _object(
        models=_list(_object(**_TAG, expires_at=_TEXT, size_vram=_COUNT, context_length=_COUNT))
    ),
    "/api/show": _object(
        modelfile=_TEXT,
        parameters=_TEXT,
        template=_TEXT,
        details=_TAG["details"],
        model_info={"type": "object"},
        capabilities=_list(_TEXT),
        modified_at=_TEXT,
    ),
    "/api/v1/services": _object(
        services=_list(_refer("Service")),
        devices=_list(_refer("Device")),
        configuration=_refer("Configuration"),
        version=_TEXT,
    ),
    "/api/v1/container/{id}": _object(
        id=_TEXT,
        state=_STATE,
        run=_maybe(_WHOLE),
        runtime=_TEXT,
        name=_maybe(_TEXT),
        image=_maybe(_TEXT),
        pid=_maybe(_WHOLE),
        ports=_list(_TEXT),
        started_at=_maybe(_NUMBER),
        health=_maybe(_words(["starting", "healthy", "unhealthy"])),
        exit=_maybe(
            _object(
                cause=_refer("Cause"),
                exit_code=_maybe(_WHOLE),
                oom_killed=_FLAG,
                log_tail=_list(_TEXT),
            )
        ),
        memory=_object(ram=_maybe(_COUNT), vram=_maybe(_BYTES), claimed=_BYTES),
    ),
    **{f"/api/v1/service/{{id}}/{verb}": _ACTED for verb in ("start", "stop", "restart", "sleep")},
    "/api/v1/service/{id}/pull/cancel": _object(image=_TEXT, cancelled=_FLAG),
    "/api/v1/pull/cancel": _object(image=_TEXT, cancelled=_FLAG),
    **dict.fromkeys(("/api/v1/service/{id}/pull", "/api/v1/pull"), _refer("Pull")),
    "/api/v1/pulls": _object(pulls=_list(_refer("Pull"))),
    "/api/v1/decisions": _object(decisions=_list(_refer("Decision"))),
    "/api/v1/config": _refer("Configuration"),
    "/api/v1/config/reload": _refer("Changes"),
    "/api/v1/config/diff": _refer("Changes"),
    **dict.fromkeys(
        ("/api/v1/profile", "/api/v1/profile/{id}"),
        _object(
            profile=_maybe(_TEXT),
            profiles={"type": "object", "additionalProperties": _list(_TEXT)},
        ),
    ),
    "/api/v1/usage": {
        "type": "object",
        "required": ["by", "from", "to", "rows"],
        "properties": {
            "by": _words(list(BY)),
            "from": _TEXT,
            "to": _TEXT,
            "rows": _list(
                {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
            ),
        },
    },
    "/api/v1/requests": _object(
        requests=_list(
            _object(
                id=_TEXT,
                method=_TEXT,
                path=_TEXT,
                service=_maybe(_TEXT),
                model=_maybe(_TEXT),
                run=_maybe(_WHOLE),
                key=_maybe(_TEXT),
                state=_words(["reading", "waiting", "uploading", "thinking", "streaming"]),
                for_s=_NUMBER,
                position=_maybe(_WHOLE),
                estimate_s=_maybe(_NUMBER),
                bytes_in=_COUNT,
                bytes_out=_COUNT,
            )
        )
    ),
    "/api/v1/requests/{id}": _object(id=_TEXT, cancelled=_COUNT),
    "/health": {
        "type": "object",
        "required": ["status", "version", "runtimes"],
        "properties": {
            "status": _words(["ok", "degraded"]),
            "version": _TEXT,
            "runtimes": _WORKING,
            # In detail:
            "gauges": _WORKING,
            "services": _list(_refer("Service")),
            "devices": _list(_refer("Device")),
            "configuration": _refer("Configuration"),
        },
    },
}
"""By path."""
