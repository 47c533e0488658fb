"""The table of the paths that lead to whoever has a model: one row each, for all who need them.

Routing, `/openapi.json`, the shape of errors and the test of the reference go by it.  What a row
does not tell is the same for all: the model is the one that the body names (JSON or a form), else
the one in the query (`?model=`), else the configuration's default.
"""

from collections.abc import Iterator

import attrs

from ._errors import Shape

ANY = "*"
"""Every method."""
_TAKEN = {
    "GET": (b"GET", b"HEAD"),
    "POST": (b"POST",),
    ANY: (b"POST", b"GET", b"HEAD", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"),
}


@attrs.frozen
class Surface:
    """One path."""

    path: str
    """With `{path}` at its end: all that is below."""
    operation: str
    """What is asked of the model: `chat`, `text_completion` and `embeddings` are OpenTelemetry's
    words, the others ours; empty: a question to the server."""
    summary: str
    sent: str
    """Further keys of a body, or fields of a form as curl takes them, that make an example."""
    method: str = "POST"
    """`GET` is `HEAD` too."""
    is_form: bool = False
    errors: Shape = Shape.OPENAI

    @property
    def example(self) -> str:
        """What a request sends, as options of curl."""
        if self.is_form:
            return f"-F model=NAME -F {self.sent}"
        return f'-d \'{{"model": "NAME", {self.sent}}}\''

    def takes(self, method: bytes) -> bool:
        """Tell whether the path has this method."""
        return method in _TAKEN[self.method]

    @property
    def allow(self) -> str:
        """The methods, as `Allow` lists them."""
        return ", ".join(method.decode() for method in _TAKEN[self.method])

    @property
    def streams_events(self) -> bool:
        """Whether `stream: true` in the body means an answer of server-sent events."""
        is_text = self.operation in ("chat", "text_completion")
        return is_text and self.errors is not Shape.OLLAMA

    @property
    def is_open(self) -> bool:
        """Whether the path is not all known, so that it may be one that administers a service."""
        return self.path.endswith("{path}")


_CHAT = '"messages": [{"role": "user", "content": "Hello"}]'
_RANK = '"query": "fruit", "documents": ["apple", "stone"]'
_PAIRS = '"text_1": "fruit", "text_2": ["apple", "stone"]'
_FILL = '"input_prefix": "def add(a, b):", "input_suffix": "print(add(1, 2))"'
_TEXT = '"content": "Hello"'
_WORDS = '"input": "Hello"'
_DRAWN = '"prompt": "a fox"'


def _rows() -> Iterator[Surface]:
    for path, operation, summary, sent in (
        ("/v1/chat/completions", "chat", "Answer a conversation.", _CHAT),
        ("/v1/completions", "text_completion", "Go on with a text.", '"prompt": "Once"'),
        ("/v1/responses", "chat", "Answer a conversation, by OpenAI's Responses API.", _WORDS),
        ("/v1/embeddings", "embeddings", "Turn texts into vectors.", _WORDS),
        ("/v1/rerank", "rerank", "Order documents by a question.", _RANK),
        ("/v1/moderations", "classify", "Judge a text.", _WORDS),
        ("/v1/audio/speech", "speech", "Speak a text.", _WORDS + ', "voice": "alloy"'),
        ("/v1/images/generations", "image", "Draw an image.", _DRAWN),
    ):
        yield Surface(path, operation, summary, sent)
    for path, operation, summary, file in (
        (
            "/v1/audio/transcriptions",
            "transcription",
            "Write down what is said.",
            "file=@speech.wav",
        ),
        (
            "/v1/audio/translations",
            "transcription",
            "Write down in English what is said.",
            "file=@speech.wav",
        ),
        ("/v1/images/edits", "image", "Change an image.", "prompt=snow -F image=@fox.png"),
        ("/v1/images/variations", "image", "Draw an image anew.", "image=@fox.png"),
    ):
        yield Surface(path, operation, summary, file, is_form=True)
    for path, operation, summary in (
        ("/v1/messages", "chat", "Answer a conversation, by Anthropic's API."),
        (
            "/v1/messages/count_tokens",
            "tokens",
            "Count the tokens of a conversation, by Anthropic's API.",
        ),
    ):
        sent = '"max_tokens": 64, ' + _CHAT
        yield Surface(path, operation, summary, sent, errors=Shape.ANTHROPIC)
    for path, operation, summary, sent in (
        ("/v1/reranking", "rerank", "Order documents by a question, as llama.cpp calls it.", _RANK),
        ("/v1/score", "rerank", "Compare texts, by vLLM's API.", _PAIRS),
        ("/v2/rerank", "rerank", "Order documents by a question, by Cohere's API.", _RANK),
        (
            "/rerank",
            "rerank",
            "Order documents by a question, as llama.cpp, TEI and vLLM do.",
            _RANK,
        ),
        ("/reranking", "rerank", "Order documents by a question, by llama.cpp's API.", _RANK),
        ("/score", "rerank", "Compare texts, by vLLM's API.", _PAIRS),
        ("/classify", "classify", "Sort texts into classes, as infinity and vLLM do.", _WORDS),
        (
            "/pooling",
            "embeddings",
            "Turn texts into what the model makes of them, by vLLM's API.",
            _WORDS,
        ),
        ("/chat/completions", "chat", "As below `/v1`, for clients that leave that out.", _CHAT),
        ("/responses", "chat", "As below `/v1`, for clients that leave that out.", _WORDS),
        (
            "/completions",
            "text_completion",
            "Go on with a text, by llama.cpp's API.",
            '"prompt": "Once"',
        ),
        (
            "/completion",
            "text_completion",
            "Go on with a text, by llama.cpp's API.",
            '"prompt": "Once"',
        ),
        ("/embeddings", "embeddings", "Turn texts into vectors, by llama.cpp's API.", _TEXT),
        ("/embedding", "embeddings", "Turn texts into vectors, by llama.cpp's API.", _TEXT),
        ("/infill", "text_completion", "Fill in the middle of a text, by llama.cpp's API.", _FILL),
        ("/tokenize", "tokens", "Turn a text into tokens, as llama.cpp, TEI and vLLM do.", _TEXT),
        (
            "/detokenize",
            "tokens",
            "Turn tokens into a text, as llama.cpp and vLLM do.",
            '"tokens": [1]',
        ),
        (
            "/apply-template",
            "tokens",
            "Show the prompt of a conversation, by llama.cpp's API.",
            _CHAT,
        ),
    ):
        yield Surface(path, operation, summary, sent)
    for path, summary in (
        ("/props", "Show the properties of a server, by llama.cpp's API."),
        ("/slots", "Show what a server works on, by llama.cpp's API."),
        ("/lora-adapters", "Show the adapters of a server, by llama.cpp's API."),
    ):
        yield Surface(path, "", summary, "", "GET")
    for path, operation, summary, sent in (
        ("/api/chat", "chat", "Answer a conversation, by Ollama's API.", _CHAT),
        (
            "/api/generate",
            "text_completion",
            "Answer a prompt, by Ollama's API.",
            '"prompt": "Hello"',
        ),
        ("/api/embed", "embeddings", "Turn texts into vectors, by Ollama's API.", _WORDS),
        (
            "/api/embeddings",
            "embeddings",
            "Turn a text into a vector, by Ollama's old API.",
            '"prompt": "Hello"',
        ),
    ):
        yield Surface(path, operation, summary, sent, errors=Shape.OLLAMA)
    summary = "Draw images, by the API of stable-diffusion-webui."
    yield Surface("/sdapi/v1/{path}", "image", summary, _DRAWN, ANY)


SURFACES = tuple(_rows())
PATHS = {row.path.encode(): row for row in SURFACES if not row.is_open}
_BELOW = tuple((row.path.removesuffix("{path}").encode(), row) for row in SURFACES if row.is_open)
_OLLAMA = frozenset({b"/api/version", b"/api/tags", b"/api/ps", b"/api/show"})
"""What the proxy itself answers to Ollama's clients."""
_SERVICE = b"/service/"


def surface_of(path: bytes) -> Surface | None:
    """Return the row of a path, without its query; None: it is none of these.

    >>> surface_of(b"/v1/messages").errors
    <Shape.ANTHROPIC: 'anthropic'>
    >>> surface_of(b"/v1/models")
    """
    row = PATHS.get(path)
    if row is None:
        for start, below in _BELOW:
            if path.startswith(start) and len(path) > len(start):
                return below
    return row


def shape_of(target: bytes) -> Shape:
    """Return the shape that errors have for whoever asks for this target.

    >>> shape_of(b"/service/coder/v1/messages?beta=true")
    <Shape.ANTHROPIC: 'anthropic'>
    """
    path = _below_service(target)
    row = PATHS.get(path)
    if row is None:
        return Shape.OLLAMA if path in _OLLAMA else Shape.OPENAI
    return row.errors


def operation_of(target: bytes) -> str:
    """Return what a target asks of a model; empty: nothing that is known.

    >>> operation_of(b"/service/coder/v1/chat/completions")
    'chat'
    """
    row = surface_of(_below_service(target))
    return "" if row is None else row.operation


def streams_events(target: bytes) -> bool:
    """Tell whether `stream: true` in the body means server-sent events for this target.

    >>> streams_events(b"/v1/messages?beta=true"), streams_events(b"/api/chat")
    (True, False)
    """
    row = PATHS.get(_below_service(target))
    return row is not None and row.streams_events


def _below_service(target: bytes) -> bytes:
    """Return the path, as a service sees it if it is for one."""
    path = target.partition(b"?")[0]
    if path.startswith(_SERVICE):
        return b"/" + path.removeprefix(_SERVICE).partition(b"/")[2]
    return path
