"""The lock file that tools/pyodide_dist.py writes, and its agreement with pyodide-build's."""

import hashlib
import importlib.util
import json
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
INFO = {"abi_version": "2026_0", "arch": "wasm32", "platform": "emscripten_5_0_3", "python": "3.14.2"}


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pyodide_dist", ROOT / "tools/pyodide_dist.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pyodide_dist = load_tool()


def make_wheel(folder: Path, name: str, *, modules: tuple[str, ...], requires: tuple[str, ...] = ()) -> Path:
    """Write the least that is a wheel."""
    stem = name.replace("-", "_").replace(".", "_")
    wheel = folder / f"{stem}-1.0-py3-none-any.whl"
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        "Version: 1.0",
        *(f"Requires-Dist: {text}" for text in requires),
    ]
    with zipfile.ZipFile(wheel, "w") as archive:
        for module in modules:
            archive.writestr(module, "")
        archive.writestr(f"{stem}-1.0.dist-info/METADATA", "\n".join(lines) + "\n")
        archive.writestr(f"{stem}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    return wheel


@pytest.fixture
def wheels(tmp_path: Path) -> list[Path]:
    """Wheels with everything that a lock file's writer can get wrong."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    return [
        make_wheel(
            folder,
            "Main.Package",
            modules=(
                "main_package/__init__.py",
                "main_package/deep/part.py",
                "single.py",
                "not-a-package/x.py",
            ),
            requires=(
                "leaf_one>=1",
                "extended[more]>=1",
                "not-here; sys_platform != 'emscripten'",
                "too-new; python_version < '3.14'",
                "optional; extra == 'all'",
            ),
        ),
        make_wheel(folder, "leaf-one", modules=("leaf_one.py",)),
        make_wheel(
            folder,
            "extended",
            modules=("extended/inner/module.py", "extended_data/table.csv"),
            requires=(
                "leaf-two; extra == 'more'",
                "never; extra == 'other'",
                "leaf-one; platform_machine == 'wasm32'",
            ),
        ),
        make_wheel(folder, "leaf-two", modules=("leaf_two/__init__.py",)),
    ]


@pytest.fixture
def core(tmp_path: Path) -> Path:
    """A stand-in for npm's package: its lock file names packages whose wheels are not there."""
    folder = tmp_path / "core"
    folder.mkdir()
    (folder / "pyodide.mjs").write_text("core")
    (folder / "pyodide.mjs.map").write_text("not served")
    packages = {
        "numpy": {
            "name": "numpy", "version": "2.4", "file_name": "numpy.whl", "install_dir": "site",
            "sha256": "0" * 64,
            "imports": ["numpy"], "depends": [], "package_type": "package", "unvendored_tests": False,
        }
    }  # fmt: skip
    (folder / "pyodide-lock.json").write_text(json.dumps({"info": INFO, "packages": packages}))
    return folder


def what_matters(lock: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the packages without what has no meaning: the order of names, and empty free fields."""
    fields = ("name", "version", "file_name", "sha256", "install_dir", "package_type", "unvendored_tests")
    return {
        name: {field: entry[field] for field in fields}
        | {"imports": sorted(entry["imports"]), "depends": sorted(set(entry["depends"]))}
        for name, entry in lock["packages"].items()
    }


def test_the_lock_file_lists_exactly_the_wheels_that_are_there(core: Path, wheels: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "dist"
    lock = pyodide_dist.assemble(core, wheels, target, with_pyodide_build=False)
    assert {entry["file_name"] for entry in lock["packages"].values()} == {file.name for file in target.glob("*.whl")}
    for entry in lock["packages"].values():
        assert entry["sha256"] == hashlib.sha256((target / entry["file_name"]).read_bytes()).hexdigest()
    assert (target / "pyodide.mjs").is_file()
    assert not (target / "pyodide.mjs.map").exists()
    assert lock["info"] == INFO


def test_depends_follow_pyodides_markers_and_the_extras_that_are_asked_for(wheels: list[Path]) -> None:
    entries = pyodide_dist.lock_entries(wheels, INFO)
    assert entries["main-package"]["depends"] == ["leaf-one", "extended"]
    assert sorted(entries["extended"]["depends"]) == ["leaf-one", "leaf-two"]


def test_imports_are_modules_and_folders_that_hold_modules(wheels: list[Path]) -> None:
    entries = pyodide_dist.lock_entries(wheels, INFO)
    assert entries["main-package"]["imports"] == ["main_package", "single"]
    assert entries["extended"]["imports"] == ["extended"]


def test_a_dependency_that_is_not_there_is_an_error_that_names_it(wheels: list[Path]) -> None:
    with pytest.raises(SystemExit, match=r"Main_Package-1.0.* needs leaf-one, .*pyodide_requirements.txt"):
        pyodide_dist.lock_entries([wheels[0], wheels[2], wheels[3]], INFO)


def test_a_compiled_wheel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="is compiled for one platform"):
        pyodide_dist.lock_entries([tmp_path / "numpy-2.4-cp314-cp314-manylinux_2_28_x86_64.whl"], INFO)


@pytest.mark.parametrize(
    ("tags", "runs"),
    [
        ("cp314-cp314-pyemscripten_2026_0_wasm32", True),
        ("cp312-abi3-pyemscripten_2026_0_wasm32", True),
        ("py3-none-any", True),
        ("cp313-cp313-pyemscripten_2026_0_wasm32", False),
        ("cp314-cp314-pyodide_2025_0_wasm32", False),
        ("cp314-cp314-manylinux_2_28_x86_64", False),
    ],
)
def test_a_wheel_that_was_compiled_for_this_pyodide_runs(tags: str, runs: bool) -> None:
    assert pyodide_dist.runs_in(f"numpy-2.4-{tags}.whl", INFO) is runs


def test_assembling_again_leaves_no_wheel_of_before(core: Path, wheels: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "dist"
    pyodide_dist.assemble(core, wheels, target, with_pyodide_build=False)
    pyodide_dist.assemble(core, wheels[1:2], target, with_pyodide_build=False)
    assert [file.name for file in target.glob("*.whl")] == ["leaf_one-1.0-py3-none-any.whl"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="pyodide-build needs Python >= 3.12")
def test_both_writers_of_the_lock_file_agree(core: Path, wheels: list[Path], tmp_path: Path) -> None:
    real = sorted((ROOT / "build/wheels").glob("*/*.whl"))
    for number, some in enumerate(filter(None, (wheels, real))):
        own = pyodide_dist.assemble(core, some, tmp_path / f"own{number}", with_pyodide_build=False)
        theirs = pyodide_dist.assemble(core, some, tmp_path / f"theirs{number}", with_pyodide_build=True)
        assert what_matters(own) == what_matters(theirs)
        assert own["info"] == theirs["info"]
