"""Write a software bill of materials: what a locked installation of the gateway consists of, as CycloneDX 1.6.

Run as `python scripts/sbom.py [LOCK] [OUT]`. The lock file is the source, so the result is the same everywhere; nothing
is installed or fetched.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
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


def bill(lock: str, project: dict[str, str]) -> dict[str, object]:
    """The bill for a lock file and the project that it is of."""
    name, version = project["name"], project["version"]
    listed = list(components(lock))
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
    print(f"{out}: {len(list(components(lock.read_text('utf-8'))))} components")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
