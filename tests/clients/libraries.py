"""Python's client libraries, and curl: `python -m tests.clients.libraries NAME URL`."""

import json
import subprocess
import sys
from collections.abc import Callable, Generator
from importlib.metadata import version
from typing import Any

from tests.clients.told import QUESTION, SCHEMA, TOOL, Client, serve

MESSAGES: Any = [{"role": "user", "content": QUESTION}]
TOOLS: Any = [TOOL]
ANTHROPICS_TOOL: Any = {"name": "weather", "description": "Tell it.", "input_schema": SCHEMA}
TOKENS = 16
MANY = 1900
"""For a stream that is left: it would take half a minute."""


def tokens(model: str) -> int:
    return MANY if model == "endless" else TOKENS


class OpenAI:
    def __init__(self, url: str) -> None:
        import openai

        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key="any")

    def chat(self, model: str) -> str:
        told = self.client.chat.completions.create(
            model=model, messages=MESSAGES, max_tokens=TOKENS
        )
        return told.choices[0].message.content or ""

    def stream(self, model: str) -> Generator[str]:
        with self.client.chat.completions.create(
            model=model, messages=MESSAGES, stream=True, max_tokens=tokens(model)
        ) as stream:
            for chunk in stream:
                yield chunk.choices[0].delta.content or ""

    def embed(self, model: str) -> list[float]:
        return self.client.embeddings.create(model=model, input=QUESTION).data[0].embedding

    def tools(self, model: str) -> str:
        told = self.client.chat.completions.create(
            model=model, messages=MESSAGES, tools=TOOLS, tool_choice="required"
        )
        assert told.choices[0].message.tool_calls
        call = told.choices[0].message.tool_calls[0]
        assert call.type == "function"
        assert isinstance(json.loads(call.function.arguments)["city"], str)
        return call.function.name


class Anthropic:
    embed = None

    def __init__(self, url: str) -> None:
        import anthropic

        self.client = anthropic.Anthropic(base_url=url, api_key="any")

    def chat(self, model: str) -> str:
        told = self.client.messages.create(model=model, messages=MESSAGES, max_tokens=TOKENS)
        (block,) = told.content
        return block.text if block.type == "text" else ""

    def stream(self, model: str) -> Generator[str]:
        with self.client.messages.stream(
            model=model, messages=MESSAGES, max_tokens=tokens(model)
        ) as stream:
            yield from stream.text_stream

    def tools(self, model: str) -> str:
        told = self.client.messages.create(
            model=model,
            messages=MESSAGES,
            max_tokens=512,
            tools=[ANTHROPICS_TOOL],
            tool_choice={"type": "any"},
        )
        (block,) = (block for block in told.content if block.type == "tool_use")
        assert isinstance(block.input["city"], str)
        return block.name


class Ollama:
    def __init__(self, url: str) -> None:
        import ollama

        self.client = ollama.Client(host=url)

    def chat(self, model: str) -> str:
        told = self.client.chat(model, MESSAGES, options={"num_predict": TOKENS})
        return told.message.content or ""

    def stream(self, model: str) -> Generator[str]:
        options = {"num_predict": tokens(model)}
        for part in self.client.chat(model, MESSAGES, stream=True, options=options):
            yield part.message.content or ""

    def embed(self, model: str) -> list[float]:
        return [*self.client.embed(model, QUESTION).embeddings[0]]

    def tools(self, model: str) -> str:
        told = self.client.chat(model, MESSAGES, tools=TOOLS)
        (call, *_) = told.message.tool_calls or ()
        assert isinstance(call.function.arguments["city"], str)
        return call.function.name


class LangChain:
    """Its parts for one kind of API each."""

    embed: Callable[[str], list[float]] | None = None
    choice: str | None = "any"

    def llm(self, model: str) -> Any:
        raise NotImplementedError

    def chat(self, model: str) -> str:
        return str(self.llm(model).invoke(QUESTION).text)

    def stream(self, model: str) -> Generator[str]:
        stream = self.llm(model).stream(QUESTION)
        try:
            for part in stream:
                yield str(part.text)
        finally:
            stream.close()

    def tools(self, model: str) -> str:
        more = {} if self.choice is None else {"tool_choice": self.choice}
        told = self.llm(model).bind_tools([TOOL], **more).invoke(QUESTION)
        (call, *_) = told.tool_calls
        assert isinstance(call["args"]["city"], str)
        return str(call["name"])


class LangChainOpenAI(LangChain):
    def __init__(self, url: str) -> None:
        import langchain_openai

        self.module, self.url = langchain_openai, f"{url}/v1"

    def llm(self, model: str) -> Any:
        return self.module.ChatOpenAI(
            model=model, base_url=self.url, api_key="any", max_tokens=tokens(model)
        )

    def embed(self, model: str) -> list[float]:
        embeddings: Any = self.module.OpenAIEmbeddings(
            model=model, base_url=self.url, api_key="any", check_embedding_ctx_length=False
        )
        return list(embeddings.embed_query(QUESTION))


class LangChainAnthropic(LangChain):
    def __init__(self, url: str) -> None:
        import langchain_anthropic

        self.module, self.url = langchain_anthropic, url

    def llm(self, model: str) -> Any:
        return self.module.ChatAnthropic(
            model=model, base_url=self.url, api_key="any", max_tokens=tokens(model)
        )


class LangChainOllama(LangChain):
    choice = None  # Ollama's API has none.

    def __init__(self, url: str) -> None:
        import langchain_ollama

        self.module, self.url = langchain_ollama, url

    def llm(self, model: str) -> Any:
        return self.module.ChatOllama(model=model, base_url=self.url, num_predict=tokens(model))

    def embed(self, model: str) -> list[float]:
        embeddings = self.module.OllamaEmbeddings(model=model, base_url=self.url)
        return list(embeddings.embed_query(QUESTION))


class LiteLLM:
    embed: Callable[[str], list[float]] | None = None

    def __init__(self, url: str, kind: str) -> None:
        import litellm

        self.module, self.kind = litellm, kind
        self.more: Any = {"api_base": f"{url}/v1" if kind == "openai" else url, "api_key": "any"}
        if kind != "anthropic":
            self.embed = self._embed

    def ask(self, model: str, **more: Any) -> Any:
        return self.module.completion(
            model=f"{self.kind}/{model}", messages=MESSAGES, **{**self.more, **more}
        )

    def chat(self, model: str) -> str:
        return str(self.ask(model, max_tokens=TOKENS).choices[0].message.content)

    def stream(self, model: str) -> Generator[str]:
        stream = self.ask(model, stream=True, max_tokens=tokens(model))
        try:
            for part in stream:
                yield part.choices[0].delta.content or ""
        finally:
            stream.close()

    def _embed(self, model: str) -> list[float]:
        kind = self.kind.removesuffix("_chat")
        told = self.module.embedding(model=f"{kind}/{model}", input=[QUESTION], **self.more)
        return list(told.data[0]["embedding"])

    def tools(self, model: str) -> str:
        told = self.ask(model, tools=TOOLS, max_tokens=512)
        (call, *_) = told.choices[0].message.tool_calls
        assert isinstance(json.loads(call.function.arguments)["city"], str)
        return str(call.function.name)


class Curl:
    def __init__(self, url: str) -> None:
        self.url = url

    def words(self, path: str, **body: Any) -> list[str]:
        return [
            *("curl", "-sSN", "--max-time", "120", f"{self.url}/v1{path}"),
            *("-H", "Content-Type: application/json", "-d", json.dumps(body)),
        ]

    def ask(self, path: str, **body: Any) -> Any:
        done = subprocess.run(
            self.words(path, **body), capture_output=True, check=True, text=True, timeout=150
        )
        said = json.loads(done.stdout)
        if "error" in said:
            raise RuntimeError(said["error"]["message"])
        return said

    def chat(self, model: str) -> str:
        said = self.ask("/chat/completions", model=model, messages=MESSAGES, max_tokens=TOKENS)
        return str(said["choices"][0]["message"]["content"])

    def stream(self, model: str) -> Generator[str]:
        asked = {"messages": MESSAGES, "stream": True, "max_tokens": tokens(model)}
        words = self.words("/chat/completions", model=model, **asked)
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            try:
                for line in running.stdout:
                    if line.startswith("data: {"):
                        said = json.loads(line.removeprefix("data: "))
                        if "error" in said:
                            raise RuntimeError(said["error"]["message"])
                        yield said["choices"][0]["delta"].get("content") or ""
            finally:
                running.terminate()

    def embed(self, model: str) -> list[float]:
        return list(self.ask("/embeddings", model=model, input=QUESTION)["data"][0]["embedding"])

    def tools(self, model: str) -> str:
        asked = {"messages": MESSAGES, "tools": TOOLS, "tool_choice": "required"}
        said = self.ask("/chat/completions", model=model, **asked)
        return str(said["choices"][0]["message"]["tool_calls"][0]["function"]["name"])


CLIENTS: dict[str, Callable[[str], Client]] = {
    "openai": OpenAI,
    "anthropic": Anthropic,
    "ollama": Ollama,
    "langchain-openai": LangChainOpenAI,
    "langchain-anthropic": LangChainAnthropic,
    "langchain-ollama": LangChainOllama,
    "litellm openai": lambda url: LiteLLM(url, "openai"),
    "litellm anthropic": lambda url: LiteLLM(url, "anthropic"),
    "litellm ollama_chat": lambda url: LiteLLM(url, "ollama_chat"),
    "curl": Curl,
}


def _version(name: str) -> str:
    if name != "curl":
        return version(name.split()[0])
    told = subprocess.run(["curl", "--version"], capture_output=True, check=True, text=True)
    return told.stdout.split()[1]


if __name__ == "__main__":
    _, name, url = sys.argv
    serve(CLIENTS[name](url), _version(name))
