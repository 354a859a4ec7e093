"""How each client is installed and run: plain, streamed and with a tool, where it has these ways."""

# ruff: noqa: E501  (programs, as they are run)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROMPT = "Say hello."
GPT, CLAUDE, GEMINI = "gpt-4o-mini", "claude-sonnet-4-5", "gemini-2.5-flash"
GROQ = "openai/gpt-oss-120b"
BEDROCK_CLAUDE, NOVA = "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "us.amazon.nova-micro-v1:0"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One client.

    Attributes:
        client: What `--for` takes; empty where `paig run` is to know the command.
        packages: What to install; the first is the client.
        commands: What to run: arguments of `program`, or the text of a program for `python` and `node`.
        program: The command; `python` and `node` run the text.
        npm: Whether the packages are npm's, else PyPI's.
        tools: Whether one of the commands has the model call a tool.
        files: Files in its home folder, such as settings that would lead it elsewhere.
        variables: Further variables.
        setup: Whether it is run by itself, after `paig setup` of `client`, if that is named.
        login: Whether it logs in at a gateway of its own, in a terminal, as `client_login` does.
        lacks: Ways of the table that the client does not have.
    """

    client: str
    packages: Sequence[str]
    commands: Sequence[Sequence[str] | str]
    program: str = "python"
    npm: bool = False
    tools: bool = False
    files: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    setup: bool = False
    login: bool = False
    lacks: Sequence[str] = ()

    def words(self, command: Sequence[str] | str, folder: Path) -> Sequence[str]:
        """The command line."""
        if self.program == "python":
            return [str(folder / "venv/bin/python"), "-c", str(command)]
        if self.program == "node":
            script = folder / "run.mjs"
            script.write_text(str(command))
            return ["node", str(script)]
        inside = "node_modules/.bin" if self.npm else "venv/bin"
        return [str(folder / inside / self.program), *command]


def _agent(client: str, package: str, program: str, *arguments: str, **more: object) -> Recipe:
    return Recipe(client, [package], [arguments], program, npm=True, **more)  # type: ignore[arg-type]


_TOOL = '{"type": "function", "function": {"name": "weather", "description": "w", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}'
_OPENAI = [
    f'import openai\nprint(openai.OpenAI().chat.completions.create(model="{GPT}", messages=[{{"role": "user", "content": "hi"}}]).usage)',
    f'import openai\nfor chunk in openai.OpenAI().chat.completions.create(model="{GPT}", stream=True, messages=[{{"role": "user", "content": "hi"}}]): pass',
    f'import openai\nanswer = openai.OpenAI().chat.completions.create(model="{GPT}", messages=[{{"role": "user", "content": "call weather"}}], tools=[{_TOOL}])\nassert answer.choices[0].message.tool_calls, answer',
    'import openai\nprint(openai.OpenAI().responses.create(model="gpt-5", input="hi").output_text)',
]


def _azure() -> list[str]:
    """The same with Azure's client, which asks by deployment."""
    made = 'openai.AzureOpenAI(api_version="2024-10-21")'
    return [program.replace("openai.OpenAI()", made) for program in _OPENAI[:3]]


def _groq() -> list[str]:
    """The same with Groq's SDK."""
    return [
        program.replace("openai.OpenAI()", "groq.Groq()").replace("import openai", "import groq").replace(GPT, GROQ)
        for program in _OPENAI[:3]
    ]


_ANTHROPIC_TOOL = '{"name": "weather", "description": "w", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}'


def _anthropic(make: str, model: str, extra: str = "") -> list[str]:
    common = f'model="{model}", max_tokens=200{extra}'
    hi = 'messages=[{"role": "user", "content": "hi"}]'
    tool = f'messages=[{{"role": "user", "content": "call weather"}}], tools=[{_ANTHROPIC_TOOL}]'
    return [
        f"import anthropic, os\nclient = {make}\nprint(client.messages.create({common}, {hi}).usage)",
        f"import anthropic, os\nclient = {make}\nfor event in client.messages.create({common}, {hi}, stream=True): pass",
        f'import anthropic, os\nclient = {make}\nassert client.messages.create({common}, {tool}).stop_reason == "tool_use"',
    ]


_GENAI = [
    f'from google import genai\nclient = genai.Client()\nprint(client.models.generate_content(model="{GEMINI}", contents="hi").text)',
    f'from google import genai\nclient = genai.Client()\nfor chunk in client.models.generate_content_stream(model="{GEMINI}", contents="hi"): pass',
    f'from google import genai\nclient = genai.Client()\ndef weather(city: str) -> str:\n    "Weather."\n    return "sun"\nprint(client.models.generate_content(model="{GEMINI}", contents="call weather", config={{"tools": [weather]}}).text)',
]
_GENAI_JS = f"""import {{ GoogleGenAI }} from "@google/genai";
const client = new GoogleGenAI({{}});
console.log((await client.models.generateContent({{ model: "{GEMINI}", contents: "hi" }})).text);
for await (const chunk of await client.models.generateContentStream({{ model: "{GEMINI}", contents: "hi" }})) {{}}
const tools = [{{ functionDeclarations: [{{ name: "weather", description: "w", parametersJsonSchema: {{ type: "object", properties: {{ city: {{ type: "string" }} }} }} }}] }}];
const answer = await client.models.generateContent({{ model: "{GEMINI}", contents: "call weather", config: {{ tools }} }});
if (!answer.functionCalls) throw new Error("no call");
"""
# The SDK speaks TLS to whatever host; the gateway that the recipes run against has none.
_PLAIN_WS = """const { get, set } = Object.getOwnPropertyDescriptor(URL.prototype, "protocol");
Object.defineProperty(URL.prototype, "protocol", { get, set(wanted) { set.call(this, wanted.replace(/^wss/, "ws")); } });
const { default: OpenAI } = await import("openai");
"""
_REALTIME_JS = (
    _PLAIN_WS
    + """const { OpenAIRealtimeWS } = await import("openai/realtime/ws");
const talk = new OpenAIRealtimeWS({ model: "gpt-realtime" }, new OpenAI());
let turns = 0;
const tools = [{ type: "function", name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } }];
const ask = () => {
  talk.send({ type: "conversation.item.create", item: { type: "message", role: "user", content: [{ type: "input_text", text: "hi" }] } });
  talk.send({ type: "response.create", response: { max_output_tokens: 200 } });
};
talk.on("error", (error) => { throw error; });
talk.on("session.created", () => talk.send({ type: "session.update", session: { type: "realtime", tools } }));
talk.on("session.updated", ask);
talk.on("response.done", (event) => { console.log(event.response.usage); ++turns < 2 ? ask() : talk.close(); });
"""
)
_RESPONSES_WS_JS = (
    _PLAIN_WS
    + """const { ResponsesWS } = await import("openai/resources/responses/ws");
const socket = new ResponsesWS(new OpenAI());
socket.on("error", (error) => { throw error; });
socket.on("response.completed", (event) => { console.log(event.response.usage); socket.close(); });
socket.send({ type: "response.create", model: "gpt-5", input: "hi", max_output_tokens: 400,
  tools: [{ type: "function", name: "weather", strict: false, parameters: { type: "object", properties: { city: { type: "string" } } } }] });
"""
)
_LIVE_JS = """import { GoogleGenAI, Modality } from "@google/genai";
const client = new GoogleGenAI({});
let finish, fail;
const done = new Promise((resolve, reject) => { finish = resolve; fail = reject; });
const session = await client.live.connect({
  model: "gemini-3.1-flash-live-preview",
  config: { responseModalities: [Modality.AUDIO], tools: [{ functionDeclarations: [{ name: "weather", description: "w" }] }] },
  callbacks: {
    onmessage: (message) => { if (message.usageMetadata) console.log(message.usageMetadata); if (message.serverContent?.turnComplete) finish(); },
    onerror: fail,
    onclose: (event) => fail(new Error(`closed: ${event.code} ${event.reason}`)),
  },
});
session.sendClientContent({ turns: "hi", turnComplete: true });
await done;
session.close();
process.exit(0);
"""
_BOTO = 'import boto3\nclient = boto3.client("bedrock-runtime")\nhi = [{"role": "user", "content": [{"text": "hi"}]}]\n'
_BOTO_TOOL = '{"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}}}}]}'
_VERCEL = f"""import {{ generateText, streamText, tool, jsonSchema }} from "ai";
import {{ openai }} from "@ai-sdk/openai";
import {{ anthropic }} from "@ai-sdk/anthropic";
for (const model of [openai("{GPT}"), openai.chat("{GPT}"), anthropic("{CLAUDE}")]) {{
  console.log((await generateText({{ model, prompt: "hi" }})).text);
  for await (const part of streamText({{ model, prompt: "hi" }}).textStream) {{}}
  const weather = tool({{ description: "w", inputSchema: jsonSchema({{ type: "object", properties: {{ city: {{ type: "string" }} }}, required: ["city"] }}), execute: async () => "sun" }});
  console.log((await generateText({{ model, prompt: "call weather", tools: {{ weather }} }})).finishReason);
}}
"""
_AWS_JS = f"""import {{ BedrockRuntimeClient, ConverseCommand, ConverseStreamCommand }} from "@aws-sdk/client-bedrock-runtime";
import {{ NodeHttpHandler }} from "@smithy/node-http-handler";
const client = new BedrockRuntimeClient({{ requestHandler: new NodeHttpHandler() }});
const input = {{ modelId: "{NOVA}", messages: [{{ role: "user", content: [{{ text: "hi" }}] }}] }};
console.log((await client.send(new ConverseCommand(input))).usage);
for await (const event of (await client.send(new ConverseStreamCommand(input))).stream) {{}}
const toolConfig = {{ tools: [{{ toolSpec: {{ name: "weather", inputSchema: {{ json: {{ type: "object", properties: {{ city: {{ type: "string" }} }} }} }} }} }}] }};
const call = {{ ...input, messages: [{{ role: "user", content: [{{ text: "call weather" }}] }}], toolConfig }};
if ((await client.send(new ConverseCommand(call))).stopReason !== "tool_use") throw new Error("no call");
"""
_LANGCHAIN = f"""from langchain.chat_models import init_chat_model
def weather(city: str) -> str:
    "Weather."
    return "sun"
for name in ("openai:{GPT}", "anthropic:{CLAUDE}"):
    model = init_chat_model(name)
    model.invoke("hi")
    for chunk in model.stream("hi"): pass
    assert model.bind_tools([weather]).invoke("call weather").tool_calls
"""
_LITELLM = f"""import litellm
hi = [{{"role": "user", "content": "hi"}}]
for model in ("openai/{GPT}", "anthropic/{CLAUDE}", "gemini/{GEMINI}", "bedrock/{BEDROCK_CLAUDE}"):
    litellm.completion(model=model, messages=hi)
    for chunk in litellm.completion(model=model, messages=hi, stream=True): pass
tool = {_TOOL}
answer = litellm.completion(model="openai/{GPT}", messages=[{{"role": "user", "content": "call weather"}}], tools=[tool])
assert answer.choices[0].message.tool_calls
"""
_AGENTS = f"""from agents import Agent, Runner, function_tool
import asyncio
@function_tool
def weather(city: str) -> str:
    "Weather."
    return "sun"
agent = Agent(name="a", model="{GPT}", tools=[weather])
async def run():
    print((await Runner.run(agent, "call weather")).final_output)
    async for event in Runner.run_streamed(agent, "hi").stream_events(): pass
asyncio.run(run())
"""
_LLAMA = f"""from llama_index.llms.openai import OpenAI
from llama_index.core.tools import FunctionTool
model = OpenAI(model="{GPT}")
print(model.complete("hi"))
for part in model.stream_complete("hi"): pass
def weather(city: str) -> str:
    "Weather."
    return "sun"
print(model.predict_and_call([FunctionTool.from_defaults(weather)], "call weather"))
"""
_INSTRUCTOR = f"""import instructor
from pydantic import BaseModel
class Answer(BaseModel):
    name: str
client = instructor.from_provider("openai/{GPT}")
hi = [{{"role": "user", "content": "hi"}}]
print(client.chat.completions.create(response_model=Answer, messages=hi))
for answer in client.chat.completions.create_partial(response_model=Answer, messages=hi): pass
"""
_DSPY = f"""import asyncio, dspy
def weather(city: str) -> str:
    "Weather."
    return "sun"
for name in ("openai/{GPT}", "anthropic/{CLAUDE}"):
    model = dspy.LM(name, cache=False)
    print(model("hi"))
    tools = [dspy.Tool(weather).format_as_litellm_function_call()]
    print(model("call weather", tools=tools, tool_choice="auto"))
    async def stream():
        with dspy.context(lm=model, adapter=dspy.ChatAdapter()):
            listener = dspy.streaming.StreamListener(signature_field_name="answer")
            async for part in dspy.streamify(dspy.Predict("question -> answer"), stream_listeners=[listener])(question="hi"): pass
    try:
        asyncio.run(stream())
    except dspy.utils.exceptions.AdapterParseError:
        pass  # the simulated model does not keep to DSPy's form
"""
_SMOL = f"""from smolagents import OpenAIServerModel, Tool, ToolCallingAgent
model = OpenAIServerModel(model_id="{GPT}")
print(model([{{"role": "user", "content": [{{"type": "text", "text": "hi"}}]}}]).content)
for part in model.generate_stream([{{"role": "user", "content": [{{"type": "text", "text": "hi"}}]}}]): pass
class Weather(Tool):
    name, description, output_type = "weather", "Weather.", "string"
    inputs = {{"city": {{"type": "string", "description": "Where."}}}}
    def forward(self, city):
        return "sun"
agent = ToolCallingAgent(tools=[Weather()], model=model, max_steps=2)
print(agent.run("call weather"))
"""
_PYDANTIC_AI = f"""import asyncio
from pydantic_ai import Agent
async def main():
    for model in ("openai:gpt-5", "openai-chat:{GPT}", "anthropic:{CLAUDE}", "google:{GEMINI}", "groq:openai/gpt-oss-120b"):
        async with Agent("gateway/" + model) as agent:
            await agent.run("hi")
            async with agent.run_stream("hi") as result:
                await result.get_output()
        tooled = Agent("gateway/" + model, tools=[weather])
        async with tooled:
            await tooled.run("call weather")
def weather(city: str) -> str:
    "Weather."
    return "sun"
asyncio.run(main())
"""
_HELPER = (
    '{"apiKeyHelper": "eval \\"$(paig env)\\" && printf %s \\"$PAIG_API_KEY\\"", "env": {"ANTHROPIC_BASE_URL":'
    ' "http://127.0.0.1:8787/proxy/anthropic", "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1"}}'
)
# The simulated model calls whatever a prompt speaks of, and would start agents for ever.
_FEWER_TOOLS = ("--exclude-tools", "agent,skill,tool_search")
_HOST = "https://elsewhere.example"
_VERTEX_ELSEWHERE = (
    '{"env": {"CLAUDE_CODE_USE_VERTEX": "1", "CLAUDE_CODE_SKIP_VERTEX_AUTH": "1", "CLOUD_ML_REGION": "global",'
    ' "ANTHROPIC_VERTEX_PROJECT_ID": "p", "ANTHROPIC_VERTEX_BASE_URL": "https://elsewhere.example"}}'
)
_QWEN_ELSEWHERE = (
    '{"security": {"auth": {"selectedType": "openai", "baseUrl": "https://elsewhere.example/v1", "apiKey": "sk-mine"}},'
    ' "modelProviders": {"openai": [{"id": "gpt-4o-mini", "baseUrl": "https://elsewhere.example/v1", "envKey":'
    ' "OPENAI_API_KEY"}]}}'
)
_CODEX_ELSEWHERE = (
    'model_provider = "o"\nopenai_base_url = "https://elsewhere.example/v1"\n[model_providers.o]\nname = "o"\n'
    'base_url = "https://elsewhere.example/v1"\nenv_key = "PAIG_API_KEY"\nwire_api = "responses"\n'
)
_OPENCODE_ELSEWHERE = '{"provider": {"anthropic": {"options": {"baseURL": "https://elsewhere.example/v1", "apiKey": "{env:PAIG_API_KEY}"}}}}'
_AIDER_ELSEWHERE = "".join(
    f"{name}=https://elsewhere.example\n"
    for name in (
        *("OPENAI_API_BASE", "OPENAI_BASE_URL", "ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL", "GEMINI_API_BASE"),
        *("AZURE_API_BASE", "AWS_BEDROCK_RUNTIME_ENDPOINT", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
    )
)
_ELSEWHERE = '{"env": {"ANTHROPIC_BASE_URL": "https://elsewhere.example", "ANTHROPIC_BEDROCK_BASE_URL": "https://elsewhere.example"}}'

RECIPES: Mapping[str, Recipe] = {
    "Claude Code": _agent("", "@anthropic-ai/claude-code", "claude", "-p", PROMPT, tools=True),
    "Claude Code, settings that name another host": _agent(
        *("", "@anthropic-ai/claude-code", "claude", "-p", PROMPT),
        files=dict.fromkeys((".claude/settings.json", "work/.claude/settings.json"), _ELSEWHERE),
    ),
    "Claude Code, settings that choose another mode": _agent(
        "", "@anthropic-ai/claude-code", "claude", "-p", PROMPT, files={".claude/settings.json": _VERTEX_ELSEWHERE}
    ),
    "Claude Code, Bedrock": _agent(
        "claude-code-bedrock", "@anthropic-ai/claude-code", "claude", "-p", PROMPT, tools=True
    ),
    "Claude Code, Vertex": _agent(
        "claude-code-vertex", "@anthropic-ai/claude-code", "claude", "-p", PROMPT, tools=True
    ),
    "Claude Code, apiKeyHelper": _agent(
        "", "@anthropic-ai/claude-code", "claude", "-p", PROMPT, setup=True, files={".claude/settings.json": _HELPER}
    ),
    "Claude Code, paig setup": _agent("claude-code", "@anthropic-ai/claude-code", "claude", "-p", PROMPT, setup=True),
    "Claude Code, login at the gateway": _agent(
        "claude-code", "@anthropic-ai/claude-code", "claude", login=True, setup=True, tools=True
    ),
    "Codex": _agent("", "@openai/codex", "codex", "exec", "--skip-git-repo-check", "-m", "gpt-5", PROMPT, tools=True),
    "Codex over HTTP": _agent(
        *("", "@openai/codex", "codex", "-c", "model_providers.paig.supports_websockets=false"),
        *("exec", "--skip-git-repo-check", "-m", "gpt-5", PROMPT),
        tools=True,
    ),
    "Codex, settings that name another host": _agent(
        *("", "@openai/codex", "codex", "exec", "--skip-git-repo-check", "-m", "gpt-5", PROMPT),
        files=dict.fromkeys((".codex/config.toml", "work/.codex/config.toml"), _CODEX_ELSEWHERE),
    ),
    "Codex, --for openai": _agent(
        "openai", "@openai/codex", "codex", "exec", "--skip-git-repo-check", "-m", "gpt-5", PROMPT
    ),
    "Codex, paig setup": _agent(
        "codex", "@openai/codex", "codex", "exec", "--skip-git-repo-check", "-m", "gpt-5", PROMPT, setup=True
    ),
    "Gemini CLI": _agent("", "@google/gemini-cli", "gemini", "--skip-trust", "-m", GEMINI, "-p", PROMPT, tools=True),
    "Gemini CLI, logged in to Google": _agent(
        "",
        "@google/gemini-cli",
        *("gemini", "--skip-trust", "-m", GEMINI, "-p", PROMPT),
        files={".gemini/settings.json": '{"security": {"auth": {"selectedType": "oauth-personal"}}}'},
    ),
    "Gemini CLI, settings that name another host": _agent(
        *("", "@google/gemini-cli", "gemini", "--skip-trust", "-m", GEMINI, "-p", PROMPT),
        files=dict.fromkeys(
            (".gemini/.env", "work/.gemini/.env", "work/.env"), f"GOOGLE_GEMINI_BASE_URL={_HOST}\nGEMINI_API_KEY=mine\n"
        ),
    ),
    "Gemini CLI, Vertex": _agent(
        "gemini-cli-vertex", "@google/gemini-cli", "gemini", "--skip-trust", "-m", GEMINI, "-p", PROMPT, tools=True
    ),
    "Gemini CLI, paig setup": _agent(
        "gemini-cli", "@google/gemini-cli", "gemini", "--skip-trust", "-m", GEMINI, "-p", PROMPT, setup=True
    ),
    "Qwen Code": _agent("", "@qwen-code/qwen-code", "qwen", *_FEWER_TOOLS, "-m", GPT, "-p", PROMPT, tools=True),
    "Qwen Code, settings that name another host": _agent(
        *("", "@qwen-code/qwen-code", "qwen", *_FEWER_TOOLS, "-m", GPT, "-p", PROMPT),
        files={
            **dict.fromkeys((".qwen/settings.json", "work/.qwen/settings.json"), _QWEN_ELSEWHERE),
            "work/.env": f"OPENAI_BASE_URL={_HOST}/v1\nOPENAI_API_KEY=mine\n",
        },
    ),
    "Qwen Code, paig setup": _agent(
        "qwen-code", "@qwen-code/qwen-code", "qwen", *_FEWER_TOOLS, "-m", GPT, "-p", PROMPT, setup=True
    ),
    "OpenCode": _agent("", "opencode-ai", "opencode", "run", "-m", f"anthropic/{CLAUDE}", PROMPT, tools=True),
    "OpenCode, settings that name another host": _agent(
        *("", "opencode-ai", "opencode", "run", "-m", f"anthropic/{CLAUDE}", PROMPT),
        files=dict.fromkeys((".config/opencode/opencode.json", "work/opencode.json"), _OPENCODE_ELSEWHERE),
    ),
    "OpenCode, paig setup": _agent(
        "opencode", "opencode-ai", "opencode", "run", "-m", f"openai/{GPT}", PROMPT, setup=True
    ),
    "Copilot CLI": _agent(
        "",
        "@github/copilot",
        "copilot",
        "--allow-all-tools",
        "-p",
        PROMPT,
        tools=True,
        variables={"COPILOT_MODEL": GPT},
    ),
    "Continue CLI": _agent("", "@continuedev/cli", "cn", "-p", PROMPT, tools=True),
    "pi, paig setup": _agent(
        "pi",
        "@earendil-works/pi-coding-agent",
        "pi",
        "--provider",
        "anthropic",
        "--model",
        CLAUDE,
        "-p",
        PROMPT,
        setup=True,
        tools=True,
    ),
    "aider": Recipe(
        "",
        ["aider-chat", "boto3"],
        [
            ("--yes-always", "--no-git", "--model", f"openai/{GPT}", "--message", PROMPT),
            ("--yes-always", "--no-git", "--no-stream", "--model", f"openai/{GPT}", "--message", PROMPT),
        ],
        "aider",
        lacks=["tools"],
    ),
    "aider, Claude": Recipe(
        "",
        ["aider-chat", "boto3"],
        [
            ("--yes-always", "--no-git", "--model", f"anthropic/{CLAUDE}", "--message", PROMPT),
            ("--yes-always", "--no-git", "--no-stream", "--model", f"anthropic/{CLAUDE}", "--message", PROMPT),
        ],
        "aider",
        lacks=["tools"],
    ),
    "aider, settings that name another host": Recipe(
        "",
        ["aider-chat", "boto3"],
        [
            ("--yes-always", "--no-git", "--model", model, "--message", PROMPT)
            for model in (f"openai/{GPT}", f"anthropic/{CLAUDE}", f"gemini/{GEMINI}", f"bedrock/{BEDROCK_CLAUDE}")
        ],
        "aider",
        files={
            "work/.env": _AIDER_ELSEWHERE,
            "work/.aider.conf.yml": f"openai-api-base: {_HOST}\nset-env:\n  - ANTHROPIC_BASE_URL={_HOST}\n",
        },
        lacks=["tools"],
    ),
    "llm": Recipe(
        "",
        ["llm", "llm-anthropic"],
        [
            ("-m", GPT, PROMPT),
            ("-m", GPT, "--no-stream", PROMPT),
            ("-m", "claude-sonnet-4.5", PROMPT),
            ("-m", GPT, "--functions", "def weather(city: str) -> str:\n    return 'sun'", "call weather"),
            ("-m", "claude-sonnet-4.5", "-T", "llm_time", "call llm_time"),
        ],
        "llm",
        tools=True,
    ),
    "goose": _agent(
        "goose",
        "@aaif/goose-binary-linux-x64",
        *("goose-binary-linux-x64", "run", "--no-session", "-t", PROMPT),
        tools=True,
        variables={"GOOSE_PROVIDER": "openai", "GOOSE_MODEL": GPT, "GOOSE_DISABLE_KEYRING": "1"},
    ),
    "goose, settings that name another host": _agent(
        "goose",
        "@aaif/goose-binary-linux-x64",
        *("goose-binary-linux-x64", "run", "--no-session", "-t", PROMPT),
        files={".config/goose/config.yaml": f"OPENAI_HOST: {_HOST}\nOPENAI_BASE_PATH: v1/chat/completions\n"},
        variables={"GOOSE_PROVIDER": "openai", "GOOSE_MODEL": GPT, "GOOSE_DISABLE_KEYRING": "1"},
    ),
    "goose, Claude": _agent(
        "goose",
        "@aaif/goose-binary-linux-x64",
        *("goose-binary-linux-x64", "run", "--no-session", "-t", PROMPT),
        tools=True,
        variables={"GOOSE_PROVIDER": "anthropic", "GOOSE_MODEL": CLAUDE, "GOOSE_DISABLE_KEYRING": "1"},
    ),
    "pydantic-ai": Recipe("", ["pydantic-ai-slim[openai,anthropic,google,groq]"], [_PYDANTIC_AI], tools=True),
    "OpenAI SDK": Recipe("openai", ["openai"], _OPENAI, tools=True),
    "AzureOpenAI": Recipe("azure", ["openai"], _azure(), tools=True),
    "Groq SDK": Recipe("groq", ["groq"], _groq(), tools=True),
    "Anthropic SDK": Recipe("anthropic", ["anthropic"], _anthropic("anthropic.Anthropic()", CLAUDE), tools=True),
    "AnthropicBedrock": Recipe(
        "bedrock",
        ["anthropic[bedrock]"],
        _anthropic(
            "anthropic.AnthropicBedrock()", BEDROCK_CLAUDE, ', extra_body={"anthropic_version": "bedrock-2023-05-31"}'
        ),
        tools=True,
    ),
    "google-genai": Recipe("google", ["google-genai"], _GENAI, tools=True),
    "google-genai, Vertex": Recipe("google-vertex", ["google-genai"], _GENAI, tools=True),
    "google-genai for JavaScript": Recipe("google", ["@google/genai"], [_GENAI_JS], "node", npm=True, tools=True),
    "google-genai for JavaScript, Vertex": Recipe(
        "google-vertex", ["@google/genai"], [_GENAI_JS], "node", npm=True, tools=True
    ),
    "OpenAI SDK for JavaScript, Realtime": Recipe(
        "openai", ["openai", "ws"], [_REALTIME_JS], "node", npm=True, tools=True
    ),
    "OpenAI SDK for JavaScript, Responses over WebSocket": Recipe(
        "openai", ["openai", "ws"], [_RESPONSES_WS_JS], "node", npm=True, tools=True
    ),
    "google-genai for JavaScript, Live": Recipe("google", ["@google/genai"], [_LIVE_JS], "node", npm=True, tools=True),
    "boto3": Recipe(
        "bedrock",
        ["boto3"],
        [
            f'{_BOTO}print(client.converse(modelId="{NOVA}", messages=hi)["usage"])',
            f'{_BOTO}for event in client.converse_stream(modelId="{NOVA}", messages=hi)["stream"]: pass',
            f'{_BOTO}hi[0]["content"][0]["text"] = "call weather"\n'
            f'assert client.converse(modelId="{NOVA}", messages=hi, toolConfig={_BOTO_TOOL})["stopReason"] == "tool_use"',
        ],
        tools=True,
    ),
    "AWS SDK for JavaScript": Recipe(
        "bedrock",
        ["@aws-sdk/client-bedrock-runtime", "@smithy/node-http-handler"],
        [_AWS_JS],
        "node",
        npm=True,
        tools=True,
    ),
    "Vercel AI SDK": Recipe(
        "vercel-ai", ["ai", "@ai-sdk/openai", "@ai-sdk/anthropic"], [_VERCEL], "node", npm=True, tools=True
    ),
    "LangChain": Recipe(
        "langchain", ["langchain", "langchain-openai", "langchain-anthropic"], [_LANGCHAIN], tools=True
    ),
    "LlamaIndex": Recipe("llama-index", ["llama-index-llms-openai"], [_LLAMA], tools=True),
    "LiteLLM SDK": Recipe("litellm", ["litellm", "boto3"], [_LITELLM], tools=True),
    "OpenAI Agents SDK": Recipe("openai-agents", ["openai-agents"], [_AGENTS], tools=True),
    "instructor": Recipe("instructor", ["instructor"], [_INSTRUCTOR], tools=True),
    "DSPy": Recipe("dspy", ["dspy"], [_DSPY], tools=True),
    "smolagents": Recipe("smolagents", ["smolagents[openai]"], [_SMOL], tools=True),
    # Last: it leaves a program behind that connects to its maker.
    "Cline CLI, paig setup": _agent("cline", "cline", "cline", "-t", "60", PROMPT, setup=True, tools=True),
}
"""By the name on the page."""
