"""Assemble a Pyodide distribution that needs no network: npm's core, wheels, and their lock file.

Invariant: the lock file names exactly the wheels that lie beside it, with their checksums; a package that
is not there is unknown, instead of being asked from a CDN.
"""

import argparse
import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

# `packaging` is not in the standard library, but pip, which every virtual environment has, brings it along.
try:
    from packaging.requirements import Requirement
except ImportError:
    from pip._vendor.packaging.requirements import Requirement

# npm's files that no page and no node program loads.
NOT_SERVED = frozenset({".html", ".map", ".md", ".ts"})
LOCK = "pyodide-lock.json"


def canonical(name: str) -> str:
    """Return a project's name as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def marker_environment(info: dict[str, str]) -> dict[str, str]:
    """Return the environment markers (PEP 508) of the Pyodide whose lock file has this `info`."""
    system, release = info["platform"].split("_", 1)
    return {
        "extra": "",
        "implementation_name": "cpython",
        "implementation_version": info["python"],
        "os_name": "posix",
        "platform_machine": info["arch"],
        "platform_python_implementation": "CPython",
        "platform_release": release,
        "platform_system": system.capitalize(),
        "platform_version": "#1",
        "python_full_version": info["python"],
        "python_version": ".".join(info["python"].split(".")[:2]),
        "sys_platform": system,
    }


def wheel_metadata(wheel: Path) -> tuple[Message, list[str]]:
    """Return a wheel's METADATA and the names of its members."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        return HeaderParser().parsestr(archive.read(metadata).decode()), names


def import_names(members: Iterable[str]) -> list[str]:
    """Return what a wheel makes importable: top-level modules, and top-level folders that hold modules."""
    tops = set()
    for member in members:
        *folders, file = member.split("/")
        if file.endswith(".py") and not any({".", "-", " "} & set(folder) for folder in folders):
            tops.add(folders[0] if folders else file.removesuffix(".py"))
    return sorted(tops)


def runs_in(wheel: str, info: dict[str, str]) -> bool:
    """Return whether the Pyodide whose lock file has this `info` runs the wheel of this name."""
    python = "cp" + "".join(info["python"].split(".")[:2])
    compiled = rf"-({python}-{python}|cp3\d+-abi3)-(pyemscripten|pyodide)_{info['abi_version']}_{info['arch']}\.whl"
    return wheel.endswith("-none-any.whl") or re.search(f"{compiled}$", wheel) is not None


def lock_entry(wheel: Path, info: dict[str, str]) -> tuple[dict[str, Any], list[Requirement]]:
    """Return the lock file's entry for a wheel, without its `depends`, and what the wheel requires."""
    if not runs_in(wheel.name, info):
        raise SystemExit(
            f"{wheel.name} is compiled for one platform, and Pyodide runs only wheels that end in "
            "-none-any.whl or were built for it. Choose a pure version in tools/pyodide_requirements.txt."
        )
    metadata, members = wheel_metadata(wheel)
    entry = {
        "file_name": wheel.name,
        "imports": import_names(members),
        "install_dir": "site",
        "name": canonical(metadata["Name"]),
        "package_type": "package",
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "unvendored_tests": False,
        "version": metadata["Version"],
    }
    return entry, [Requirement(text) for text in metadata.get_all("Requires-Dist") or ()]


def resolve(requirements: dict[str, list[Requirement]], environment: dict[str, str]) -> dict[str, list[str]]:
    """Return what each package depends on in this environment, the extras that others ask of it included."""
    extras: dict[str, set[str]] = {name: {""} for name in requirements}
    depends: dict[str, list[str]] = {name: [] for name in requirements}
    waiting = list(requirements)
    while waiting:
        name = waiting.pop()
        for requirement in requirements[name]:
            marker, needed = requirement.marker, canonical(requirement.name)
            if marker and not any(marker.evaluate(environment | {"extra": extra}) for extra in extras[name]):
                continue
            if needed not in depends[name]:
                depends[name].append(needed)
            # An extra of a package is new: its requirements are looked at again.
            if needed in extras and not requirement.extras <= extras[needed]:
                extras[needed] |= requirement.extras
                waiting.append(needed)
    return depends


def lock_entries(wheels: Iterable[Path], info: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the entries of all wheels, by name; a dependency that is not among them is an error."""
    read = [lock_entry(wheel, info) for wheel in wheels]
    depends = resolve({entry["name"]: required for entry, required in read}, marker_environment(info))
    entries: dict[str, dict[str, Any]] = {entry["name"]: entry for entry, _ in read}
    for name, entry in entries.items():
        entry["depends"] = depends[name]
        if absent := [needed for needed in depends[name] if needed not in entries]:
            raise SystemExit(
                f"{entry['file_name']} needs {', '.join(absent)}, which the distribution does not hold: "
                "Pyodide would ask a CDN for it. Add it to tools/pyodide_requirements.txt."
            )
    return entries


def copy_core(core: Path, target: Path) -> dict[str, Any]:
    """Copy the runtime out of npm's package; return its lock file without a package."""
    target.mkdir(parents=True)
    for file in core.iterdir():
        if file.is_file() and file.suffix not in NOT_SERVED and file.name != LOCK:
            shutil.copyfile(file, target / file.name)
    lock: dict[str, Any] = json.loads((core / LOCK).read_text())
    lock["packages"] = {}
    return lock


def write_lock(lock: dict[str, Any], wheels: list[Path], target: Path) -> None:
    """Write the lock file with the standard library alone."""
    lock["packages"] = lock_entries(wheels, lock["info"])
    target.write_text(json.dumps(lock, indent=1, sort_keys=True))


def write_lock_with_pyodide_build(lock: dict[str, Any], wheels: list[Path], target: Path) -> None:
    """Write the lock file with pyodide-build's `pyodide lockfile add-wheels`; needs Python >= 3.12."""
    empty = target.with_name("pyodide-lock-empty.json")
    empty.write_text(json.dumps(lock))
    command = [
        sys.executable,
        "-m",
        "pyodide_cli",
        "lockfile",
        "add-wheels",
        "--input",
        empty,
        "--output",
        target,
    ]
    subprocess.run([*command, "--base-path", target.parent, *wheels], check=True)
    empty.unlink()


def has_pyodide_build() -> bool:
    """Return whether `pyodide lockfile` can run: it needs Python >= 3.12, and pkginfo besides."""
    return all(importlib.util.find_spec(name) for name in ("pyodide_cli", "pyodide_lock", "pkginfo"))


def assemble(core: Path, wheels: Iterable[Path], target: Path, *, with_pyodide_build: bool) -> dict[str, Any]:
    """Make the distribution in `target`, replacing what is there in one step; return its lock file."""
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    lock = copy_core(core, fresh)
    copies = [Path(shutil.copyfile(wheel, fresh / wheel.name)) for wheel in sorted(wheels)]
    write = write_lock_with_pyodide_build if with_pyodide_build else write_lock
    write(lock, copies, fresh / LOCK)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    result: dict[str, Any] = json.loads((target / LOCK).read_text())
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("core", type=Path, help="npm's package: node_modules/pyodide")
    parser.add_argument("target", type=Path, help="the folder to make")
    parser.add_argument("wheels", type=Path, nargs="+", help="wheels, or folders of them")
    parser.add_argument(
        "--lock-writer",
        choices=("own", "pyodide-build", "best"),
        default="best",
        help="who writes the lock file; best = pyodide-build where it is installed",
    )
    arguments = parser.parse_args()
    wheels = [wheel for path in arguments.wheels for wheel in (path.glob("*.whl") if path.is_dir() else [path])]
    writer = arguments.lock_writer
    if writer == "best":
        writer = "pyodide-build" if has_pyodide_build() else "own"
    lock = assemble(arguments.core, wheels, arguments.target, with_pyodide_build=writer == "pyodide-build")
    names = ", ".join(f"{entry['name']} {entry['version']}" for entry in lock["packages"].values())
    print(f"{arguments.target}: Pyodide for Python {lock['info']['python']} with {names} (lock file: {writer})")


if __name__ == "__main__":
    main()
