"""Fail when one of the named test suites has run no test: check_suites.py FOLDER SUITE...

Invariant: a suite counts as run only if a test of it passed or failed; skipped tests do not count.
"""

import sys
from pathlib import Path
from xml.etree import ElementTree as ET


def tests_run(report: Path) -> int:
    """Return how many tests of a JUnit report were run; none if there is no report."""
    if not report.is_file():
        return 0
    suites = ET.parse(report).iter("testsuite")
    return sum(int(suite.get("tests", 0)) - int(suite.get("skipped", 0)) for suite in suites)


def main() -> None:
    folder, *suites = sys.argv[1:]
    if idle := [suite for suite in suites if not tests_run(Path(folder) / f"{suite}.xml")]:
        sys.exit(f"These suites can run here, and ran no test: {', '.join(idle)} (reports in {folder}).")
    if "chrome" not in suites:
        print("The suite in Chromium was left out: chromium and chromedriver are not on PATH.")
    if not {"firefox", "firefox-brief"} & set(suites):
        print("The tests in Firefox were left out: there is no firefox-esr of version 153 or newer on PATH.")


if __name__ == "__main__":
    main()
