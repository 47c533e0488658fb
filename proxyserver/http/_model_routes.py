"""The routes that tell of models: OpenAI's, llama.cpp's router's, LM Studio's, Ollama's."""

from ._entries import Entry, Sent

_LIST = (
    '`{"object": "list", "data": [{"id", "object", "created", "owned_by", "status",'
    ' "max_model_len", "meta"}]}`.'
)
_NAME = Sent("application/json", "The name of a model.", '-d \'{"model": "NAME"}\'')
_UNKNOWN = ("invalid_json", "missing_model", "model_not_found", "request_too_large")

MODELS = (
    Entry(
        "GET",
        "/v1/models",
        "List every name that `model` may have, from the configuration; starts nothing.",
        _LIST,
        who="key",
    ),
    Entry(
        "GET",
        "/v1/models/{id}",
        "Show one of these names.",
        "What the list says of it.",
        ("model_not_found",),
        who="key",
    ),
    Entry(
        "GET",
        "/models",
        "The same list, as llama.cpp's router has it.",
        _LIST,
        who="key",
    ),
    Entry(
        "POST",
        "/models/load",
        "Begin to load a model, by the API of llama.cpp's router.",
        '`{"success": true}`, at once.',
        _UNKNOWN,
        who="inference",
        sent=_NAME,
    ),
    Entry(
        "POST",
        "/models/unload",
        "Begin to stop the service of a model, by the API of llama.cpp's router.",
        '`{"success": true}`, at once.',
        _UNKNOWN,
        sent=_NAME,
    ),
    Entry(
        "GET",
        "/models/sse",
        "Tell the status of all models, and then whenever one is another.",
        'Events `{"model", "event": "status_change", "data": {"status", "progress"}}`.',
        media="text/event-stream",
        who="key",
    ),
    Entry(
        "GET",
        "/api/v0/models",
        "List the models, by LM Studio's API.",
        '`{"object": "list", "data": [{"id", "type", "state", "max_context_length", ...}]}`.',
        who="key",
    ),
    Entry(
        "GET",
        "/api/version",
        "Tell which version of Ollama's API is spoken.",
        '`{"version"}`.',
        who="key",
    ),
    Entry(
        "GET",
        "/api/tags",
        "List the models, by Ollama's API.",
        '`{"models": [{"name", "model", "size", "digest", "details", ...}]}`.',
        who="key",
    ),
    Entry(
        "GET",
        "/api/ps",
        "List the models that are loaded, by Ollama's API.",
        '`{"models": [{"name", "size", "size_vram", "expires_at", ...}]}`.',
        who="key",
    ),
    Entry(
        "POST",
        "/api/show",
        "Show what is known of a model, by Ollama's API.",
        '`{"details", "model_info", "capabilities", ...}`.',
        _UNKNOWN,
        who="key",
        sent=_NAME,
    ),
)
