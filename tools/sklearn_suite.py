"""Run scikit-learn's own tests with joblib's backends, then with jobspan in their place: both counts, side by side.

    python tools/sklearn_suite.py [WORD...]     only test modules whose path contains one of the words

Those of scikit-learn's installed test modules run that mention n_jobs, joblib or Parallel. For the second run this file
is a plugin of pytest: it makes jobspan joblib's default backend, and puts it behind the names "loky" and "threading".

Invariant: exits with an error when a test fails that passes with joblib's own backends, or when jobspan ran nothing.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

MENTIONS = re.compile(r"n_jobs|joblib|\bParallel\b")
# Not about running anything: what is printed, documented, packaged or downloaded.
LEFT_OUT = {
    "test_20news.py", "test_docstring_parameters_consistency.py", "test_lfw.py",
    "test_min_dependencies_consistency.py", "test_pprint.py", "test_show_versions.py",
}  # fmt: skip
PLUGIN = Path(__file__).stem
# They fail with jobspan, and may.
EXPLAINED = {
    "sklearn.ensemble.tests.test_forest::test_backend_respected": "it derives a class from the default backend, counts "
    "the calls that its instance runs, and expects that one which needs shared memory goes elsewhere; jobspan's hands "
    "each call to a backend of its own, and threads of its own share memory",
    "sklearn.utils.tests.test_parallel::test_filter_warning_propagates_no_side_effect_with_loky_backend": "it expects "
    "that the caller's warning filters do not reach the tasks of joblib itself; on jobspan they do",
}


class Report(NamedTuple):
    """What became of the tests of one run, by their names."""

    passed: set[str]
    failed: set[str]
    skipped: set[str]

    def __str__(self) -> str:
        return f"{len(self.passed):6} passed {len(self.failed):6} failed {len(self.skipped):6} skipped"


def pytest_configure() -> None:
    """Put jobspan in joblib's place."""
    import joblib

    import jobspan
    from jobspan.bridge.joblib import JobspanBackend

    def threading(**options: object) -> JobspanBackend:
        return JobspanBackend(on="threads", **options)

    def loky(**options: object) -> JobspanBackend:
        return JobspanBackend(on="loky", **options)

    joblib.register_parallel_backend("threading", threading)
    joblib.register_parallel_backend("loky", loky)
    joblib.register_parallel_backend("jobspan", JobspanBackend, make_default=True)
    jobspan.parallel_config(n_jobs=1)  # what joblib takes None for


def pytest_sessionstart() -> None:
    """Count the calls that jobspan runs."""
    from jobspan.bridge.joblib import JobspanCall

    start_call = JobspanCall.start_call

    def counting(call: JobspanCall) -> None:
        CALLS[type(call._plan.backend).__name__] += 1  # noqa: SLF001  nobody else asks
        start_call(call)

    JobspanCall.start_call = counting


CALLS: Counter[str] = Counter()


def pytest_terminal_summary(terminalreporter: object) -> None:
    """Tell how many there were."""
    told = ", ".join(f"{count} on {name}" for name, count in CALLS.most_common()) or "none"
    terminalreporter.write_line(f"Calls that jobspan ran: {told}")
    if not CALLS:
        raise SystemExit("jobspan ran nothing: is it joblib's default backend?")


def site() -> Path:
    """The folder that scikit-learn is installed in."""
    import sklearn

    return Path(sklearn.__file__).parents[1]


def modules(words: list[str]) -> list[str]:
    """The test modules, as pytest wants them."""
    found = [path for path in sorted((site() / "sklearn").rglob("test_*.py")) if path.name not in LEFT_OUT]
    found = [path for path in found if MENTIONS.search(path.read_text(encoding="utf-8"))]
    return [str(path) for path in found if not words or any(word in str(path) for word in words)]


def run(tests: list[str], *options: str) -> Report:
    """Run pytest on the modules in an interpreter of their own."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "pytest.ini")  # not those of jobspan
        settings.write_text("[pytest]\n", encoding="utf-8")
        report = Path(folder, "report.xml")
        command = [
            *(sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=short", "-p", "no:cacheprovider"),
            *("-c", str(settings), "--rootdir", str(site()), "--timeout=900", f"--junitxml={report}"),
            *(*options, *tests),
        ]
        path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
        subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, check=False)
        if not report.is_file():
            sys.exit("pytest did not come to its end.")
        return read(report)


def read(report: Path) -> Report:
    """The names in a JUnit report."""
    passed, failed, skipped = set(), set(), set()
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            failed.add(name)
        elif case.find("skipped") is not None:
            skipped.add(name)
        else:
            passed.add(name)
    return Report(passed - failed, failed, skipped)


def main() -> None:
    tests = modules(sys.argv[1:])
    print(f"{len(tests)} test modules of scikit-learn that mention n_jobs, joblib or Parallel")
    plain = run(tests)
    bridged = run(tests, "-p", PLUGIN)
    print(f"joblib's backends   {plain}\njobspan's bridge    {bridged}")
    worse = sorted(bridged.failed - plain.failed)
    for name in filter(EXPLAINED.get, worse):
        print(f"{name} may fail: {EXPLAINED[name]}.")
    if worse := [name for name in worse if name not in EXPLAINED]:
        sys.exit("Only with jobspan:\n" + "\n".join(worse))


if __name__ == "__main__":
    main()
