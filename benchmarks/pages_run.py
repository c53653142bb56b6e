"""Takes the figures of the demo's pages in Chromium: when each can be used, in turns with a bare boot of Pyodide.

Writes `pages.json`, whose format is in `pages.py`; `run.py` puts it on the page. Needs `make site`, and Debian's
chromium and chromedriver, and says so where they are missing.
"""

import json
import sys
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tools"))

from demo_table import chromium_is_here, chromium_page  # noqa: E402  tools is a folder of scripts

ASKED = 1.3
ROUNDS = 7
SITE = ROOT / "build/site"
BARE = "bare"
PAGES = (BARE, "index", "task", "playground")
# Pyodide alone, as its documentation has it.
BARE_PAGE = """<!doctype html><title>bare</title><p id="status" data-state="booting"></p><script type="module">
import { loadPyodide, version } from "./pyodide/pyodide.mjs";
await loadPyodide({ indexURL: new URL("./pyodide/", location.href).href });
globalThis.version = version;
document.querySelector("#status").dataset.state = "ready";
</script>"""
# Milliseconds from the start of the navigation until Run can be pressed; on a page without Python, until it is loaded.
WATCH = """
const watch = new MutationObserver(look);
watch.observe(document, { subtree: true, childList: true, attributes: true });
document.addEventListener("readystatechange", look);
function look() {
  const status = document.querySelector("#status");
  const isUsable = status ? status.dataset.state === "ready" : document.readyState === "complete";
  if (isUsable) globalThis.usableAfter ??= performance.now();
}
"""


def measure(driver: webdriver.Chrome, address: str, page: str) -> float:
    """Return the seconds until a page can be used that is opened with nothing in the cache."""
    driver.get("about:blank")
    driver.execute_cdp_cmd("Network.clearBrowserCache", {})
    driver.get(f"{address}/{page}.html")
    WebDriverWait(driver, 60, 0.02).until(lambda _: driver.execute_script("return globalThis.usableAfter"))
    return float(driver.execute_script("return usableAfter")) / 1000


def main() -> int:
    """Return 1 where the figures cannot be taken."""
    if not chromium_is_here() or not (SITE / "vendor").is_dir():
        sys.stderr.write("No figures of the pages: they need chromium and chromedriver on PATH, and `make site`.\n")
        return 1
    seconds: dict[str, list[float]] = {page: [] for page in PAGES}
    with chromium_page(beside={f"{BARE}.html": BARE_PAGE}, site=SITE) as driver:
        address = driver.current_url.rpartition("/")[0]
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        for round_ in range(ROUNDS + 1):
            for page in PAGES:
                took = measure(driver, address, page)
                if page == BARE:
                    version = driver.execute_script("return version")
                if round_:  # the first warms the browser up
                    seconds[page].append(took)
                    sys.stdout.write(f"{page}: {took:.2f} s\n")
                    sys.stdout.flush()
        where = f"{driver.capabilities['browserName']} {driver.capabilities['browserVersion'].partition('.')[0]}"
    told = {
        "where": where,
        "pyodide": version,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "asked": ASKED,
        "bare": seconds.pop(BARE),
        "pages": seconds,
    }
    (HERE / "pages.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
