"""The lessons of the course, done in Chromium as a learner does them, by a server without special headers.

Invariant: what a page shows is compared with the truth, never with a time; after each test axe has found no barrier on
the page, in light, in dark and on a phone, the browser has logged no error and has loaded nothing from another host.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from page_driver import DEMO, NO_STACK_SWITCHING, OVER, TIME_LIMIT_S, Page, browsing, replaced, run_natively, serving
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.usefixtures("in_chromium")

# The programs made small: what to replace.
SMALL = {
    "task": {"STEP = 15_000": "STEP = 1_000"},
    "overhead": {"ALL_STEPS = 2_000_000": "ALL_STEPS = 100_000", "MOST_TASKS = 250": "MOST_TASKS = 10"},
    "uneven": {"800_000": "150_000"},
    "reducing": {"THROWS = 50_000": "THROWS = 2_000"},
    "caching": {"FINE = 16_000": "FINE = 500"},
    "losses": {"STEP = 400_000": "STEP = 200_000"},
}
LESSONS = list(SMALL)
PAGES = ["index", *LESSONS, "playground"]


def small(lesson: str) -> str:
    """Return a lesson's program with settings that take a second."""
    return replaced((DEMO / "lessons" / f"{lesson}.py").read_text(), SMALL[lesson])


@pytest.fixture(scope="module")
def browser(site: Path) -> Iterator[Page]:
    with serving(site) as address, browsing() as driver:
        yield Page(driver, address)


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    """The browser, and the proof afterwards that the page that is open keeps nobody out and has no fault behind it."""
    yield browser
    browser.check_barriers()
    browser.check_quiet()


def start(page: Page, lesson: str) -> None:
    """Show a lesson with its program made small; one that is open already keeps its Python and its workers."""
    if page.opened != (lesson, "workers=2"):
        page.open(lesson)
        assert page.find_barriers() == []  # before its first run
    page.source = small(lesson)


@pytest.fixture
def without_stack_switching(browser: Page) -> Iterator[None]:
    """As in a browser without JSPI, in the pages that are opened; a lesson that is open is not used again."""
    browser.opened = ("", "")
    with browser.before_each_page(NO_STACK_SWITCHING):
        yield
    assert browser.script("return 'Suspending' in WebAssembly") is False
    browser.opened = ("", "")


def count_bars(page: Page, kind: str) -> int:
    return sum(page.lanes(kind).values())


def test_the_index_leads_to_every_page_and_loads_no_python(page: Page) -> None:
    page.driver.get(f"{page.address}index.html")
    page.opened = ("index", "")
    links = [link.get_property("href") for link in page.find_all(".cards a")]
    assert links == [f"{page.address}{name}.html" for name in PAGES[1:]]
    assert [link.get_property("href") for link in page.find_all("header li a")] == links
    loaded = page.script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [name for name in loaded if "pyodide" in name] == []


def test_each_page_leads_to_the_one_before_and_the_one_after(site: Path) -> None:
    texts = {name: (site / f"{name}.html").read_text() for name in PAGES}
    for before, after in pairwise(PAGES):
        assert f'<a class="next" href="{after}.html" rel="next">' in texts[before]
        assert f'<a href="{after}.html" aria-current="page">' in texts[after]
        if before != "index":
            assert f'<a class="previous" href="{before}.html" rel="prev">' in texts[after]
    assert 'class="next"' not in texts[PAGES[-1]]
    for text in texts.values():
        named = set(re.findall(r'(?:href|src)="([^"#:]+)"', text))
        assert [name for name in named if not (site / name).is_file()] == []
        assert len(re.findall("<h1>", text)) == 1


def test_a_task_becomes_a_card_with_its_worker_and_its_result(page: Page) -> None:
    start(page, "task")
    page.run()
    ((counts,),) = run_natively(small("task"), "task", {})
    cards = [card.text.splitlines() for card in page.find_all(".task-cards li")]
    assert [call for call, _, _ in cards] == [f"count_primes({at}, {at + 1000})" for at in range(0, 8000, 1000)]
    assert all(re.fullmatch(r"done by web-\d+", state) for _, state, _ in cards)
    assert [result for *_, result in cards] == [f"\N{RIGHTWARDS ARROW} {count}" for count in counts]
    assert page.find("#output").text == f"{sum(counts)} prime numbers below 8000"
    workers = [state.removeprefix("done by ") for _, state, _ in cards]
    assert [row[:3] + row[5:] for row in page.timeline()] == [
        [str(index), worker, "1", "done"] for index, worker in enumerate(workers)
    ]


def test_the_keyboard_reaches_everything_and_leaves_the_editor(page: Page) -> None:
    page.open("task")  # anew: where Tab begins is a page's own memory
    page.source = small("task")

    def press(*keys: str) -> None:
        ActionChains(page.driver).send_keys(*keys).perform()

    def focused() -> str:
        return page.script("const at = document.activeElement; return at.id || at.className || at.textContent.trim()")

    press(Keys.TAB)
    assert focused() == "skip"
    assert page.find(".skip").rect["y"] >= 0
    press(Keys.ENTER)
    assert focused() == "main"
    order = []
    while "cm-content" not in focused():
        press(Keys.TAB)
        order.append(focused())
        assert page.script("return getComputedStyle(document.activeElement).outlineStyle") != "none" or (
            "cm-content" in focused()
        )
        assert len(order) < 20
    assert order[:2] == ["workers", "run"]
    assert page.script("return getComputedStyle(document.querySelector('.cm-editor')).boxShadow") != "none"
    before = page.source
    press(Keys.TAB)
    assert "cm-content" in focused()
    assert page.source != before
    press(Keys.ESCAPE, Keys.TAB)
    assert "cm-content" not in focused()


@pytest.mark.usefixtures("without_stack_switching")
def test_the_slider_sets_the_size_and_each_measurement_is_a_point(page: Page) -> None:
    start(page, "overhead")
    slider = page.find("#size")
    assert slider.get_dom_attribute("aria-valuetext") == "10,000 steps"
    slider.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert slider.get_dom_attribute("aria-valuetext") == page.find("#size-value").text == "1,000 steps"
    page.run()
    assert [row[0] for row in page.rows("#result .as-table")] == ["1,000"]
    assert re.fullmatch(r"1,000 steps, about [\d.,]+ (µs|ms|s)", slider.get_dom_attribute("aria-valuetext"))
    page.choose("batch", "auto")
    page.find("#sweep").click()
    page.wait("running")
    page.wait(*OVER)
    assert page.state == "finished", page.error
    first, *others = page.rows("#result .as-table")
    sizes = ["100", "300", "1,000", "3,000", "10,000", "30,000", "100,000", "300,000", "1,000,000"]
    assert [row[0] for row in others] == sizes
    assert [row[2:4] for row in (first, *others)] == [["one by one", "2"], *[["in batches", "2"]] * len(sizes)]
    assert (len(page.find_all("#plot circle")), len(page.find_all("#plot .point.batches"))) == (1, len(sizes))
    heights = [float(point.get_dom_attribute("y")) for point in page.find_all("#plot .point.batches")]
    gains = [float(row[4].split()[0]) for row in others]
    by_height = [gain for _, gain in sorted(zip(heights, gains, strict=True), reverse=True)]
    assert by_height == sorted(gains)


@pytest.mark.usefixtures("without_stack_switching")
def test_each_run_of_uneven_tasks_adds_what_was_lost_by_waiting(page: Page) -> None:
    start(page, "uneven")
    seen = []
    for order, batch, ready in [
        ("longest last", "1", "2 * n_jobs"),
        ("longest first", "12", "all"),
        ("mixed", "1", "n_jobs"),
    ]:
        for name, value in {"order": order, "batch": batch, "ready": ready}.items():
            page.choose(name, value)
        page.run()
        rows = page.timeline()
        assert len(rows) == 12
        begins = [float(row[3].split()[0]) for row in rows]
        takes = [float(row[4].split()[0]) for row in rows]
        time = max(begin + take for begin, take in zip(begins, takes, strict=True)) - min(begins)
        *choices, workers, told, idle, made = page.rows("#comparison")[-1]
        assert (choices, workers) == ([order, batch, ready], "2")
        assert float(told.split()[0]) == pytest.approx(time, abs=0.03)
        assert float(idle.split()[0]) == pytest.approx(100 * (1 - sum(takes) / time / 2), abs=4)
        seen.append((int(made), float(idle.split()[0])))
    assert len(page.rows("#comparison")) == 3
    (ahead, _), (all_made, idle_in_one_batch), (least_ahead, _) = seen
    assert all_made == 12
    assert max(ahead, least_ahead) < 12
    assert idle_in_one_batch >= 49  # one batch is with one worker at a time


@pytest.mark.usefixtures("without_stack_switching")
def test_results_are_added_to_the_same_total_however_they_are_taken(page: Page) -> None:
    start(page, "reducing")
    ((total,), *_) = run_natively(small("reducing"), "reducing", {"take": "list"})[::-1]
    expected = [[str(key), f"{total[key]:,}"] for key in sorted(total)]
    waited = {}
    for take in ("list", "generator", "generator_unordered"):
        page.choose("take", take)
        page.run()
        assert page.rows("#result .as-table") == expected
        assert (page.find("#taken").text, page.find("#waiting").text) == ("40", "0")
        waited[take] = int(page.find("#most").text)
    assert waited["list"] == 40
    assert waited["generator_unordered"] < 40
    assert len(page.find_all("#histogram .bar")) == 11


def explained(page: Page, change: str) -> str:
    """Run with this change before the second call; return what jobspan says of it."""
    page.choose("change", change)
    page.run()
    return page.find("#explanation").text


def places_that_differ(page: Page) -> list[int]:
    return [int(row[0]) for row in page.rows("#differences")]


def test_the_explanation_names_what_has_changed_and_the_picture_shows_where(page: Page) -> None:
    start(page, "caching")
    assert explained(page, "nothing").startswith("hit: ")
    assert count_bars(page, "done") == 6
    assert places_that_differ(page) == []
    said = explained(page, "one number")
    assert count_bars(page, "done") == 0  # the first call was read
    assert said.startswith("miss: ")
    assert "heights differs (list)" in said
    assert "1 of 120 numbers differs (at [42])" in said
    assert places_that_differ(page) == [42]
    assert len(page.find_all("#arrays .stripe")) == 1
    assert "1 of 120 numbers differ" in page.find("#arrays").get_dom_attribute("aria-label")
    ((heights, now, *_),) = run_natively_cached("rounding noise")
    noisy = [place for place, (old, new) in enumerate(zip(heights, now, strict=True)) if old != new]
    assert noisy
    said = explained(page, "rounding noise")
    assert f"{len(noisy)} of 120 numbers differ" in said
    assert "rounding noise?" in said
    assert places_that_differ(page) == noisy
    assert "reverse?" in explained(page, "the order")
    said = explained(page, "the width")
    assert "width differs: 2 -> 3" in said
    assert "heights differs" not in said
    assert places_that_differ(page) == []


def run_natively_cached(change: str) -> list[tuple]:
    """The small program of the lesson natively, with a cache that is not kept."""
    source = replaced(small("caching"), {'@memory.cache(ignore=["pool"])  # who works does not matter\n': ""})
    source = replaced(source, {"why = smooth.explain(second, width, pool)": "why = None"})
    return run_natively(source, "caching", {"change": change})


def test_a_result_outlives_a_reload_and_another_comment_but_no_other_code(page: Page) -> None:
    start(page, "caching")
    explained(page, "nothing")
    page.open("caching")
    page.source = small("caching")
    explained(page, "nothing")
    assert count_bars(page, "done") == 0
    page.source = replaced(small("caching"), {"    smoothed = []": "    smoothed = []  # nothing yet"})
    explained(page, "nothing")
    assert count_bars(page, "done") == 0
    page.source = replaced(small("caching"), {"away / 2)": "away / 3)"})
    explained(page, "nothing")
    assert count_bars(page, "done") == 6
    page.source = small("caching")
    explained(page, "nothing")
    assert count_bars(page, "done") == 0


def kill_one(page: Page) -> None:
    """Press Run, and kill a worker while it works."""
    page.find("#run").click()
    WebDriverWait(page.driver, TIME_LIMIT_S, 0.05).until(lambda _: page.find("#kill").is_enabled())
    page.find("#kill").click()
    page.wait(*OVER)


def test_a_killed_worker_costs_an_attempt_and_not_the_result(page: Page) -> None:
    start(page, "losses")
    kill_one(page)
    assert page.state == "finished", page.error
    ((total, count),) = run_natively(small("losses"), "losses", {})
    assert page.find(".estimate b").text == f"{total:,}"
    ((worker, index),) = re.findall(r"You killed (\S+) while it was at task (\d+)", page.find("#log").text)
    assert f"{worker} died, and task {index} was lost." in page.find("#log").text
    assert f"All {count} tasks are done." in page.find("#log").text
    attempts = [row for row in page.timeline() if row[0] == index]
    assert [[row[2], row[5]] for row in attempts] == [["1", "lost"], ["2", "done"]]
    assert attempts[0][1] == worker != attempts[1][1]
    assert (count_bars(page, "lost"), count_bars(page, "again")) == (1, 1)


def test_without_retries_the_call_fails_and_says_which_worker_died(page: Page) -> None:
    start(page, "losses")
    page.source = re.sub(r"    retries=3,.*\n", "", small("losses"))
    kill_one(page)
    assert page.state == "failed"
    ((worker, _),) = re.findall(r"You killed (\S+) while it was at task (\d+)", page.find("#log").text)
    assert f"WorkerLost: worker {worker} died" in page.error
    assert page.wrong_line == page.source.splitlines().index("sums = await pool.gather(tasks)") + 1
    assert not page.find("#kill").is_enabled()


# Those of the slider, of uneven tasks and of reducing are tested so anyway.
@pytest.mark.parametrize("lesson", ["task", "caching", "losses"])
@pytest.mark.usefixtures("without_stack_switching")
def test_a_lesson_needs_no_stack_switching(page: Page, lesson: str) -> None:
    start(page, lesson)
    if lesson == "losses":
        kill_one(page)
        assert page.state == "finished", page.error
        assert count_bars(page, "again") == 1
    else:
        page.run()
    assert "on 2 web workers" in page.find("#status").text
    if lesson == "caching":
        assert "1 of 120 numbers differs (at [42])" in explained(page, "one number")
        assert count_bars(page, "done") == 0
