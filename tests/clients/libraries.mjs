// Node's client libraries: `node libraries.mjs NAME URL`, from a folder where they are installed.
// What they are told to do, and what has to come of it, is as in told.py.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { dirname, join } from "node:path";

const here = createRequire(join(process.cwd(), "package.json"));
const use = (name) => import(pathToFileURL(here.resolve(name)).href);
const version = (name) => {
  let folder = dirname(here.resolve(name));
  for (;;) {
    try {
      const told = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
      if (told.name === name && told.version) return told.version;
    } catch {}
    folder = dirname(folder);
  }
};

const QUESTION = "Tell me a long story about a fox.";
const messages = [{ role: "user", content: QUESTION }];
const parameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
const tools = [{ type: "function", function: { name: "weather", description: "Tell the weather.", parameters } }];
const tokens = (model) => (model === "endless" ? 1900 : 16);

async function openai(url) {
  const { default: OpenAI } = await use("openai");
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any" });
  return {
    async chat(model) {
      const told = await client.chat.completions.create({ model, messages, max_tokens: 16 });
      return told.choices[0].message.content;
    },
    async *stream(model) {
      const stream = await client.chat.completions.create({ model, messages, stream: true, max_tokens: tokens(model) });
      try {
        for await (const chunk of stream) yield chunk.choices[0].delta.content ?? "";
      } finally {
        stream.controller.abort();
      }
    },
    async embed(model) {
      return (await client.embeddings.create({ model, input: QUESTION })).data[0].embedding;
    },
    async tools(model) {
      const told = await client.chat.completions.create({ model, messages, tools, tool_choice: "required" });
      return told.choices[0].message.tool_calls[0].function.name;
    },
  };
}

async function anthropic(url) {
  const { default: Anthropic } = await use("@anthropic-ai/sdk");
  const client = new Anthropic({ baseURL: url, apiKey: "any" });
  return {
    async chat(model) {
      const told = await client.messages.create({ model, messages, max_tokens: 16 });
      return told.content[0].text;
    },
    async *stream(model) {
      const stream = client.messages.stream({ model, messages, max_tokens: tokens(model) });
      try {
        for await (const event of stream)
          if (event.type === "content_block_delta") yield event.delta.text;
      } finally {
        stream.abort();
      }
    },
    async tools(model) {
      const tool = { name: "weather", description: "Tell the weather.", input_schema: parameters };
      const told = await client.messages.create({ model, messages, max_tokens: 512, tools: [tool], tool_choice: { type: "any" } });
      return told.content.find((block) => block.type === "tool_use").name;
    },
  };
}

async function ollama(url) {
  const { Ollama } = await use("ollama");
  const client = new Ollama({ host: url });
  return {
    async chat(model) {
      return (await client.chat({ model, messages, options: { num_predict: 16 } })).message.content;
    },
    async *stream(model) {
      const stream = await client.chat({ model, messages, stream: true, options: { num_predict: tokens(model) } });
      let ended = false;
      try {
        for await (const part of stream) yield part.message.content;
        ended = true;
      } finally {
        if (!ended) stream.abort();
      }
    },
    async embed(model) {
      return (await client.embed({ model, input: QUESTION })).embeddings[0];
    },
    async tools(model) {
      return (await client.chat({ model, messages, tools })).message.tool_calls[0].function.name;
    },
  };
}

async function ai(url) {
  const { generateText, streamText, embed, tool, jsonSchema } = await use("ai");
  const { createOpenAICompatible } = await use("@ai-sdk/openai-compatible");
  const provider = createOpenAICompatible({ name: "proxy", baseURL: `${url}/v1`, apiKey: "any" });
  return {
    async chat(model) {
      return (await generateText({ model: provider(model), prompt: QUESTION, maxOutputTokens: 16 })).text;
    },
    async *stream(model) {
      const leaving = new AbortController();
      const told = streamText({
        model: provider(model),
        prompt: QUESTION,
        maxOutputTokens: tokens(model),
        abortSignal: leaving.signal,
        onError() {},
      });
      try {
        for await (const part of told.fullStream) {
          if (part.type === "error") throw part.error instanceof Error ? part.error : new Error(JSON.stringify(part.error));
          if (part.type === "text-delta") yield part.text;
        }
      } finally {
        leaving.abort();
      }
    },
    async embed(model) {
      return (await embed({ model: provider.embeddingModel(model), value: QUESTION })).embedding;
    },
    async tools(model) {
      const weather = tool({ description: "Tell the weather.", inputSchema: jsonSchema(parameters) });
      const told = await generateText({ model: provider(model), prompt: QUESTION, tools: { weather }, toolChoice: "required" });
      return told.toolCalls[0].toolName;
    },
  };
}

function hold(holds, words) {
  if (!holds) throw new Error(words);
}

async function streamed(client, model) {
  const pieces = [];
  for await (const piece of client.stream(model)) pieces.push(piece);
  hold(pieces.length > 1, "it came in one piece");
  hold(pieces.join("").trim(), "no text came");
}

async function left(client) {
  const pieces = client.stream("endless");
  for (let i = 0; i < 3; i++) await pieces.next();
  await pieces.return();
}

async function refused(work, words) {
  let fault;
  try {
    await work();
  } catch (error) {
    fault = error;
  }
  hold(fault, "no error came");
  hold(`${fault.message} ${fault.responseBody ?? ""}`.includes(words), `it says only: ${fault}`);
}

const said = async (client, model) => hold((await client.chat(model)).trim(), "no text came");
const embedded = async (client, model) => hold((await client.embed(model)).length > 100, "no vector");

function scenarios(client) {
  const can = {
    chat: () => said(client, "chat"),
    stream: () => streamed(client, "chat"),
    error: () => refused(() => client.chat("chta"), "did you mean 'chat'"),
    "error-in-stream": () => refused(() => streamed(client, "dying"), "dying"),
    tools: async () => {
      const name = await client.tools("tools");
      hold(name === "weather", `called ${name}`);
    },
    cancel: () => left(client),
    load: () =>
      Promise.all([
        said(client, "slow"),
        streamed(client, "slow"),
        ...(client.embed ? [embedded(client, "slow-embed")] : []),
      ]),
  };
  if (client.embed) can.embeddings = () => embedded(client, "embed");
  return can;
}

const CLIENTS = { openai, "@anthropic-ai/sdk": anthropic, ollama, ai };
const [, , name, url] = process.argv;
const can = scenarios(await CLIENTS[name](url));
const answer = (told) => process.stdout.write(JSON.stringify(told) + "\n");
answer({ version: version(name), scenarios: Object.keys(can) });
for await (const line of createInterface({ input: process.stdin })) {
  let fault = null;
  try {
    await can[line.trim()]();
  } catch (error) {
    fault = String(error);
  }
  answer({ fault });
}
