"""The admin API's documentation as one page of plain HTML: no script, nothing loaded from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from paig_gateway.admin.problem_codes import PROBLEMS

OpenApi = dict[str, Any]

SECURITY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The page's content security policy."""

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow: auto; padding: .5rem; border: 1px solid #8884; }
table { border-collapse: collapse; } td, th { text-align: left; vertical-align: top; padding: .1rem .8rem .1rem 0; }
h3 { margin-bottom: 0; } .method { display: inline-block; min-width: 4.5rem; }
"""


def docs_page(document: OpenApi) -> str:
    """The page for an OpenAPI document."""
    return "".join(_page(document))


def _page(document: OpenApi) -> Iterator[str]:
    title = escape(document["info"]["title"])
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield f"<style>{_STYLE}</style></head><body><h1>{title} {escape(document['info']['version'])}</h1>"
    for paragraph in document["info"]["description"].split("\n\n"):
        yield f"<p>{_prose(paragraph)}</p>"
    yield '<p>The same for programs: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p>'
    tag = None
    for path, method, operation in _operations(document):
        if operation["tags"][0] != tag:
            tag = operation["tags"][0]
            yield f'<h2 id="{escape(tag)}">{escape(tag.capitalize())}</h2>'
        yield from _operation(path, method, operation)
    yield '<h2 id="problems">Problems</h2><table><tr><th>code</th><th>status</th><th>meaning</th></tr>'
    for code, (status, meaning) in PROBLEMS.items():
        yield f'<tr id="{code}"><td><code>{code}</code></td><td>{status}</td><td>{escape(meaning)}</td></tr>'
    yield '</table><h2 id="schemas">Schemas</h2>'
    for name, schema in document["components"]["schemas"].items():
        yield f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{_prose(schema.get("description", ""))}</p>'
        for example in schema.get("examples", []):
            yield f"<pre>{escape(json.dumps(example, indent=2))}</pre>"
        yield f"<details><summary>JSON Schema</summary><pre>{escape(json.dumps(schema, indent=2))}</pre></details>"
    yield "</body></html>"


def _operations(document: OpenApi) -> Iterator[tuple[str, str, OpenApi]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _operation(path: str, method: str, operation: OpenApi) -> Iterator[str]:
    yield f'<h3 id="{operation["operationId"]}"><code><span class="method">{method.upper()}</span>{escape(path)}</code>'
    yield f"</h3><p>{escape(operation['summary'])}. {_prose(operation.get('description', ''))}"
    if operation.get("x-permission"):
        where = ", in some project at least" if operation["x-in-project"] else ""
        yield f" Needs <code>{operation['x-permission']}</code>{where}."
    yield "</p><table>"
    for parameter in operation.get("parameters", []):
        says = _prose(parameter.get("description") or parameter["schema"].get("description", ""))
        yield f"<tr><td>{parameter['in']} <code>{escape(parameter['name'])}</code></td><td>{says}</td></tr>"
    body = operation.get("requestBody", {}).get("content", {})
    for described in body.values():
        yield f"<tr><td>body</td><td>{_schema(described['schema'])}</td></tr>"
    for status, answer in operation["responses"].items():
        shown = [_schema(found["schema"]) or escape(media) for media, found in answer.get("content", {}).items()]
        yield f"<tr><td>{status}</td><td>{' or '.join(shown) or escape(answer['description'])}</td></tr>"
    yield "</table>"


def _schema(schema: OpenApi) -> str:
    name = schema.get("$ref", "").rpartition("/")[2]
    return f'<a href="#{escape(name)}">{escape(name)}</a>' if name else ""


def _prose(text: str) -> str:
    """Text with code in backquotes."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
