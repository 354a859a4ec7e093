"""Images by prompt: OpenAI's generations, edits and variations, and Imagen's predictions.

An image is 272, 1,056 or 4,160 tokens by its quality (`low`, `medium`, `high`), half as many more if it is not
square; a picture in the request is 256.
"""

from __future__ import annotations

import base64

from . import gemini
from .faults import strip
from .files import form_fields
from .gemini_media import PNG
from .openai_common import SHAPE, body, stream, wanted_model
from .operation import Operation, SimulatedAnswer, SimulatedRefusal, SimulatedRequest
from .reply import MEDIA_TOKENS, Prompt, TokenCounts, quarter
from .wire import Document, inner, pretty, sse

_TOKENS = {"low": 272, "medium": 1056, "high": 4160}
_PICTURE = base64.b64encode(PNG).decode()


def _read(request: SimulatedRequest) -> Prompt:
    pictures = 0
    if request.headers.get(b"content-type", b"").startswith(b"multipart/form-data"):
        fields = form_fields(request)
        pictures = sum(name.removesuffix("[]") in ("image", "mask") for name, _, _ in fields)
        request.body = {name: content.decode("utf-8", "replace") for name, filename, content in fields if not filename}
    elif request.raw:
        request.body = request.json()
        pictures = len(request.body.get("images") or [])
    needs_prompt = not request.path.endswith("variations")
    text = request.body.get("prompt", "")
    if needs_prompt and not text:
        raise SimulatedRefusal(400, "Missing required parameter: 'prompt'.")
    prompt = Prompt(model=wanted_model(request), texts=[text], samples=int(request.body.get("n") or 1))
    prompt.stream = str(request.body.get("stream", "")).lower() == "true"
    prompt.media = {"IMAGE": pictures} if pictures else {}
    prompt.user([text])
    return prompt


def _write(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    fields, model = request.body, strip(prompt.model)
    quality = fields.get("quality", "medium")
    size = fields.get("size", "1024x1024")
    each = _TOKENS.get(quality, _TOKENS["medium"])
    width, _, height = size.partition("x")
    each += 0 if width == height or size == "auto" else each // 2
    text, seen = quarter(len(prompt.ask)), MEDIA_TOKENS * prompt.media.get("IMAGE", 0)
    tokens = TokenCounts(input=text + seen, output=each * prompt.samples)
    if model.startswith("dall-e"):
        links = [{"url": f"https://images.example/{number}.png"} for number in range(prompt.samples)]
        answer = body(request, {"created": int(request.now), "data": links})
        answer.tokens = tokens
        return answer
    usage: Document = {
        "input_tokens": tokens.input,
        "input_tokens_details": {"text_tokens": text, "image_tokens": seen},
        "output_tokens": tokens.output,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": tokens.output},
        "total_tokens": tokens.total,
    }
    about: Document = {"background": "opaque", "output_format": "png", "quality": quality, "size": size}
    usage_part = {} if request.faults.no_usage else {"usage": usage}
    if prompt.stream:
        kind = "image_edit" if request.path.endswith("edits") else "image_generation"
        one = {"b64_json": _PICTURE, "created_at": int(request.now), **about}
        events: list[Document] = [
            {"type": f"{kind}.partial_image", "partial_image_index": number, **one}
            for number in range(int(fields.get("partial_images") or 0))
        ]
        events.append({"type": f"{kind}.completed", **one, **usage_part})
        answer = stream(request, [sse(event, event["type"]) for event in events])
    else:
        data = [{"b64_json": _PICTURE} for _ in range(prompt.samples)]
        answer = body(request, {"created": int(request.now), "data": data, **about, **usage_part})
    answer.tokens = tokens
    return answer


def _read_imagen(request: SimulatedRequest) -> Prompt:
    texts = [instance["prompt"] for instance in request.body["instances"]]
    samples = int(inner(request.body, "parameters").get("sampleCount", 4))
    prompt = Prompt(model=gemini.asked_model(request), texts=texts, samples=samples)
    prompt.user(texts)
    return prompt


def _write_imagen(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    image = {"mimeType": "image/png", "bytesBase64Encoded": _PICTURE}
    made = [image] * (prompt.samples * len(prompt.texts))
    return SimulatedAnswer(
        gemini.JSON, pretty({"predictions": made}), headers=gemini.headers(), tokens=TokenCounts(output=len(made))
    )


OPERATION = Operation(_read, _write, SHAPE, raw=True)
IMAGEN = Operation(_read_imagen, _write_imagen, gemini.SHAPE)
