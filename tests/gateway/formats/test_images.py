"""Image generation and editing: as JSON, as a form, as a stream."""

from __future__ import annotations

import pytest

from paig_gateway.formats import images
from paig_gateway.formats.base import MalformedRequest
from paig_gateway.formats.text import GENERATED_IMAGE
from paig_gateway.pricing.usage import extract
from tests.gateway.formats.asking import asked, fold, sse

FORM = (
    b"--abc\r\n"
    b'Content-Disposition: form-data; name="model"\r\n\r\ngpt-image-1\r\n'
    b"--abc\r\n"
    b'Content-Disposition: form-data; name="n"\r\n\r\n2\r\n'
    b"--abc\r\n"
    b'Content-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n'
    b"--abc\r\n"
    b'Content-Disposition: form-data; name="image[]"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    b'\x89PNG name="model"\r\n\r\ncheap\r\n'
    b"--abc--\r\n"
)


def test_images_as_json() -> None:
    """Each image may take many output tokens."""
    call = asked("/v1/images/generations", {"model": "gpt-image-1", "prompt": "a cat", "n": 2})
    assert (call.output_tokens, call.media_in, call.media_out) == (2 * GENERATED_IMAGE, False, True)
    call = asked("/v1/images/edits", {"model": "gpt-image-1", "images": [{"image_url": "x"}, {"file_id": "y"}]})
    assert (call.media_in, len(call.media)) == (True, 2)


def test_images_as_a_form() -> None:
    """A form's fields are told by its boundary, not by what a file contains."""
    call = asked("/v1/images/edits", FORM)
    assert (call.model, call.answers, call.stream, len(call.media)) == ("gpt-image-1", 2, True, 1)
    with pytest.raises(MalformedRequest, match="more than once"):
        asked("/v1/images/edits", FORM.replace(b'"stream"', b'"model"'))
    with pytest.raises(MalformedRequest, match="form field"):
        asked("/v1/images/edits", FORM.replace(b'"model"\r\n\r\ngpt', b'"other"\r\n\r\ngpt'))


def test_image_streams() -> None:
    """Usage comes with the completed image."""
    usage = {"input_tokens": 5, "output_tokens": 2, "input_tokens_details": {"text_tokens": 5, "image_tokens": 0}}
    partial = sse({"type": "image_generation.partial_image", "b64_json": "AAAA"})
    assert "usage" not in fold(images.IMAGES, [partial])
    body = fold(images.IMAGES, [partial, sse({"type": "image_generation.completed", "usage": usage})])
    found = extract(body, provider="openai", flavor="images", home="openai")
    assert found is not None
    assert found.usage["output_tokens"] == 2
