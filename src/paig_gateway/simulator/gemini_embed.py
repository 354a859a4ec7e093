"""Google's embeddings: embedContent, batchEmbedContents and, at Vertex AI, predict."""

from __future__ import annotations

from .embeddings import vector
from .faults import strip
from .gemini import JSON, SHAPE, asked_model, get, headers, modalities, on_vertex, read_parts
from .operation import Operation, SimulatedAnswer, SimulatedRequest
from .reply import Prompt, TokenCounts, count
from .wire import Document, inner, pretty


def _read(request: SimulatedRequest) -> Prompt:
    prompt = Prompt(model=asked_model(request))
    fields = request.body
    action = request.params["action"]
    if action == "predict":
        prompt.texts = [instance["content"] for instance in fields["instances"]]
    else:
        for one in fields["requests"] if action == "batchEmbedContents" else [fields]:
            inner = Prompt()
            read_parts(inner, one["content"])
            prompt.texts.append("\n".join(inner.texts))
    prompt.user(prompt.texts)
    return prompt


def _dimensions(request: SimulatedRequest, model: str) -> int:
    first: Document = (request.body.get("requests") or [request.body])[0]
    places: tuple[Document, ...] = (first, get(first, "embedContentConfig") or {}, inner(request.body, "parameters"))
    asked = next((found for place in places if (found := get(place, "outputDimensionality"))), None)
    return int(asked or (3072 if strip(model).startswith("gemini-embedding") else 768))


def _write(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    tokens = count(prompt)
    made = [vector(text, _dimensions(request, prompt.model)) for text in prompt.texts]
    action = request.params["action"]
    value: Document
    if action == "predict":
        counts = [count(Prompt(texts=[text])).input for text in prompt.texts]
        statistics = [{"token_count": amount, "truncated": False} for amount in counts]
        shown = [
            {"embeddings": {"values": values, "statistics": about}}
            for values, about in zip(made, statistics, strict=True)
        ]
        tokens = TokenCounts(input=sum(counts))
        value = {"predictions": shown, "metadata": {"billableCharacterCount": sum(map(len, prompt.texts))}}
    elif action == "batchEmbedContents":
        value = {"embeddings": [{"values": values} for values in made]}
    else:
        value = {"embedding": {"values": made[0]}}
        if on_vertex(request) and not request.faults.no_usage:
            value["usageMetadata"] = {
                "promptTokenCount": tokens.input,
                "totalTokenCount": tokens.input,
                "promptTokensDetails": modalities(tokens),
            }
    return SimulatedAnswer(JSON, pretty(value), headers=headers(), tokens=tokens)


OPERATION = Operation(_read, _write, SHAPE)
