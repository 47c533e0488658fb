"""What a request asks of a model, by its path: in OpenTelemetry's words where it has one."""

from ._store import OTHER

_OPERATIONS = {
    "chat/completions": "chat",
    "responses": "chat",
    "messages": "chat",
    "completions": "text_completion",
    "completion": "text_completion",
    "embeddings": "embeddings",
    "embedding": "embeddings",
    "rerank": "rerank",
    "audio/speech": "speech",
    "audio/transcriptions": "transcription",
    "audio/translations": "transcription",
    "images/generations": "image",
    "images/edits": "image",
}
"""By the end of the path; the words that are not chat, text_completion or embeddings are ours."""


def operation_of(path: str) -> str:
    """Return the operation of a request's path."""
    _, _, last = path.rpartition("/")
    found = _OPERATIONS.get(last)
    if found is None or last == "completions":
        last_two = "/".join(path.rsplit("/", 2)[-2:])
        found = _OPERATIONS.get(last_two, found)
    return found or OTHER
