"""What tools/jupyterlite_site.py lays out for JupyterLite's build, and what it refuses of its result."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("jupyterlite_site", ROOT / "tools/jupyterlite_site.py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(ROOT / "tools"))  # where it finds pyodide_dist
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "tools"))
    return module


tool = load_tool()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The files of a site that say where things are."""
    (tmp_path / "static/pyodide").mkdir(parents=True)
    (tmp_path / "pypi").mkdir()
    write(tmp_path, {"pyodideUrl": "./static/pyodide/pyodide.mjs", "pipliteUrls": ["./pypi/all.json?sha256=0"]})
    (tmp_path / "static/pyodide/pyodide-lock.json").write_text(
        json.dumps({"packages": {"six": {"file_name": "six.whl"}}})
    )
    (tmp_path / "pypi/all.json").write_text(json.dumps({"six": {"releases": {"1.0": [{"url": "./six.whl"}]}}}))
    return tmp_path


def write(site: Path, settings: dict) -> None:
    config = {"jupyter-config-data": {"litePluginSettings": {tool.KERNEL: settings}}}
    (site / "jupyter-lite.json").write_text(json.dumps(config))


def test_a_site_that_has_everything_is_well(site: Path) -> None:
    tool.check(site)


@pytest.mark.parametrize("settings", [{}, {"pyodideUrl": "https://cdn.example/pyodide.mjs"}])
def test_a_site_whose_pyodide_is_elsewhere_is_refused(site: Path, settings: dict) -> None:
    write(site, settings)
    with pytest.raises(SystemExit, match="would take one from a CDN"):
        tool.check(site)


@pytest.mark.parametrize("file", ["static/pyodide/pyodide-lock.json", "pypi/all.json", "jupyter-lite.json"])
def test_an_address_of_another_host_is_refused_and_named(site: Path, file: str) -> None:
    content = json.loads((site / file).read_text())
    (site / file).write_text(json.dumps(content | {"more": [{"url": "//cdn.example/six.whl"}]}))
    with pytest.raises(SystemExit, match=r"/more/0/url.*//cdn[.]example/six[.]whl"):
        tool.check(site)
