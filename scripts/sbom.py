"""Write a software bill of materials: what a locked installation of the gateway consists of, as CycloneDX 1.6.

Run as `python scripts/sbom.py [LOCK] [OUT]`. The lock file is the source of what is listed. Each package's licence is
what its own metadata in this environment say, so that nothing is fetched; a package that is not installed here (one of
another operating system) has none. Beside the bill, `licences.md` lists the packages of each licence.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)(?:\s*;\s*([^\\]+?))?\s*\\?$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def components(lock: str) -> Iterator[dict[str, object]]:
    """Each package of a lock file: name, version, where it is used only, and the hashes of its files."""
    found: dict[str, object] | None = None
    hashes: list[dict[str, str]] = []
    for line in lock.splitlines():
        if (pin := _PIN.match(line)) is not None:
            if found is not None:
                yield found
            name, version, marker = pin.groups()
            name = re.sub(r"[-_.]+", "-", name).lower()
            hashes = []
            purl = f"pkg:pypi/{name}@{version}"
            found = {
                "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
                "externalReferences": [{"type": "distribution", "url": purl, "hashes": hashes}],
                "properties": [{"name": "paig:marker", "value": marker}] if marker else [],
            }  # fmt: skip
        else:
            hashes += [{"alg": "SHA-256", "content": digest} for digest in _HASH.findall(line)]
    if found is not None:
        yield found


def licence_of(name: str) -> str | None:
    """A package's licence by its own metadata: the SPDX expression, else the classifier, else the short text."""
    try:
        about = metadata.metadata(name).json
    except metadata.PackageNotFoundError:
        return None
    if expression := about.get("license_expression"):
        return str(expression)
    classifiers = [str(one) for one in about.get("classifier", [])]
    named = [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License :: OSI")]
    text = str(about.get("license", "")).strip()
    return " AND ".join(named) or (text if 0 < len(text) <= 60 else None)


def licences(listed: Sequence[dict[str, object]]) -> str:
    """The packages of each licence, in Markdown."""
    found: dict[str, list[str]] = {}
    for one in listed:
        found.setdefault(licence_of(str(one["name"])) or "not installed here", []).append(
            f"{one['name']} {one['version']}"
        )
    return "".join(f"- **{licence}**: {', '.join(names)}\n" for licence, names in sorted(found.items()))


def bill(lock: str, project: dict[str, str]) -> dict[str, object]:
    """The bill for a lock file and the project that it is of."""
    name, version = project["name"], project["version"]
    listed = list(components(lock))
    for one in listed:
        if (licence := licence_of(str(one["name"]))) is not None:
            one["licenses"] = [{"license": {"name": licence}}]
    root = f"pkg:pypi/{name}@{version}"
    about = {"type": "application", "bom-ref": root, "name": name, "version": version, "purl": root}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**about, "licenses": [{"license": {"id": project["license"]}}]}},
        "components": listed,
        "dependencies": [{"ref": root, "dependsOn": [one["bom-ref"] for one in listed]}],
    }


def main(arguments: list[str]) -> int:
    """Write the bill of a lock file to a file."""
    lock = Path(arguments[0]) if arguments else ROOT / "requirements/gateway.txt"
    out = Path(arguments[1]) if len(arguments) > 1 else ROOT / "dist/sbom.cdx.json"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    made = bill(lock.read_text("utf-8"), project)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(made, indent=2) + "\n", "utf-8")
    listed = list(components(lock.read_text("utf-8")))
    (out.parent / "licences.md").write_text(licences(listed), "utf-8")
    print(f"{out}: {len(listed)} components; {out.parent / 'licences.md'}: their licences")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
