"""Build the JupyterLite site with jobspan in it, which asks nothing of any other host.

Invariant: built from nothing each time, since a build on top of an earlier one forgets where its Pyodide is; what is
left beside `site` is its input.
"""

import argparse
import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyodide_dist

KERNEL = "@jupyterlite/pyodide-kernel-extension:kernel"
# `exposeAppInBrowser` lets tests speak to kernels; micropip must not go to PyPI for what the site does not have.
SITE = {
    "jupyter-lite-schema-version": 0,
    "jupyter-config-data": {
        "appName": "jobspan",
        "exposeAppInBrowser": True,
        "litePluginSettings": {KERNEL: {"disablePyPIFallback": True}},
    },
}
BUILD = {
    "LiteBuildConfig": {
        "apps": ["lab", "notebooks"],
        "cache_dir": ".cache",
        "contents": ["content"],
        "no_sourcemaps": True,
        "output_dir": "../site",
    }
}


def prepare(folder: Path, core: Path, wheels: Iterable[Path], indexed: Iterable[Path], notebooks: Path) -> None:
    """Lay out what a build reads: Pyodide with what is imported by name, wheels for ``%pip install``, notebooks."""
    (folder / "static").mkdir(parents=True)
    pyodide_dist.assemble(core, wheels, folder / "static/pyodide", with_pyodide_build=False)
    (folder / "pypi").mkdir()
    for wheel in indexed:
        shutil.copy(wheel, folder / "pypi")
    (folder / "content").mkdir()
    for notebook in notebooks.glob("*.ipynb"):
        shutil.copy(notebook, folder / "content")
    (folder / "jupyter-lite.json").write_text(json.dumps(SITE))
    (folder / "jupyter_lite_config.json").write_text(json.dumps(BUILD))


def build(folder: Path, jupyter: Path) -> None:
    """Run JupyterLite's own build; its log is shown if it fails."""
    command = [jupyter.resolve(), "lite", "build"]
    logged = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(command, check=False, cwd=folder, **logged)
    if done.returncode:
        raise SystemExit(f"{done.stdout[-3000:]}\nJupyterLite's build has failed (exit code {done.returncode}).")


def find_addresses(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """All texts in a configuration that name another host, with where they are."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from find_addresses(inner, f"{at}/{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from find_addresses(inner, f"{at}/{number}")
    elif isinstance(value, str) and re.match(r"(https?:)?//", value):
        yield at, value


def check(site: Path) -> None:
    """Fail if a page of the site, its kernel, or its Pyodide would be loaded from elsewhere."""
    settings = json.loads((site / "jupyter-lite.json").read_text())["jupyter-config-data"]["litePluginSettings"]
    if not settings[KERNEL].get("pyodideUrl", "").startswith("./static/pyodide/pyodide"):
        raise SystemExit(f"{site} has lost its Pyodide, and would take one from a CDN: {settings[KERNEL]}")
    lock, indexes = site / "static/pyodide" / pyodide_dist.LOCK, site.glob("pypi/*.json")
    for file in [*site.rglob("jupyter-lite.json"), lock, *indexes]:
        if foreign := list(find_addresses(json.loads(file.read_text()))):
            raise SystemExit(f"{file} names other hosts: {foreign}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("core", type=Path, help="npm's package: node_modules/pyodide")
    parser.add_argument("target", type=Path, help="the folder to make `site` in, and its input")
    parser.add_argument("wheels", type=Path, nargs="+", help="wheels, or folders of them, that are imported by name")
    parser.add_argument("--index", type=Path, nargs="*", default=[], help="wheels that only %%pip install finds")
    parser.add_argument("--notebooks", type=Path, required=True, help="a folder of notebooks")
    parser.add_argument("--jupyter", type=Path, required=True, help="the command, where jupyterlite-core is installed")
    arguments = parser.parse_args()
    source, site = arguments.target / "lite", arguments.target / "site"
    for old in (source, site):
        shutil.rmtree(old, ignore_errors=True)
    wheels = [wheel for path in arguments.wheels for wheel in (path.glob("*.whl") if path.is_dir() else [path])]
    prepare(source, arguments.core, wheels, arguments.index, arguments.notebooks)
    build(source, arguments.jupyter)
    check(site)
    print(f"{site}: {sum(file.stat().st_size for file in site.rglob('*') if file.is_file()) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
