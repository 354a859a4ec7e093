"""Check the types of every example: the Python snippets of the documentation, and `examples/`.

mypy --strict is what `make check` runs. `--pyright` checks with pyright instead, which `make clients` does: pyright is
an npm package, installed below `.cache`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from clients import CACHE, node

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".cache" / "example-types"
PYRIGHT = "pyright@1"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


def extract() -> None:
    """Write the snippets and the examples to files of their own."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.py"):
        old.unlink()
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        name = re.sub(r"\W", "_", page.relative_to(ROOT).with_suffix("").as_posix())
        for number, code in enumerate(BLOCK.findall(page.read_text("utf-8"))):
            (FOLDER / f"{name}_{number}.py").write_text(code, "utf-8")
    for example in (ROOT / "examples").glob("*.py"):
        (FOLDER / f"examples_{example.name}").write_text(example.read_text("utf-8"), "utf-8")


def mypy() -> int:
    """Check with mypy."""
    command = [sys.executable, "-m", "mypy", "--strict", *map(str, sorted(FOLDER.glob("*.py")))]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def pyright() -> int:
    """Check with pyright."""
    folder = CACHE / "pyright"
    environment = {**os.environ, "PATH": f"{node()}:{os.environ['PATH']}"}
    if not (folder / "node_modules/.bin/pyright").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        install = ["npm", "install", "--no-audit", "--no-fund", "--silent", PYRIGHT]
        subprocess.run(install, cwd=folder, env=environment, check=True)
    settings = FOLDER / "pyrightconfig.json"
    settings.write_text(
        json.dumps(
            {
                **{"include": ["."], "typeCheckingMode": "standard", "pythonVersion": "3.11"},
                **{"venvPath": str(ROOT), "venv": ".venv", "extraPaths": [str(ROOT / "src")]},
                **dict.fromkeys(("reportMissingTypeStubs", "reportMissingModuleSource"), "none"),
            }
        )
    )
    command = [str(folder / "node_modules/.bin/pyright"), "--project", str(settings)]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    extract()
    sys.exit(pyright() if sys.argv[1:] == ["--pyright"] else mypy())
