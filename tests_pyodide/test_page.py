"""The playground, clicked through in Chromium, with and without cross-origin isolation.

Invariant: what the page shows is compared with the same program's result natively; after each test the browser
has logged no error and has loaded nothing from another host.
"""

import ast
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_driver import (
    DEMO,
    NO_STACK_SWITCHING,
    OVER,
    ROOT,
    TIME_LIMIT_S,
    Page,
    browsing,
    replaced,
    run_natively,
    serving,
)
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

pytestmark = pytest.mark.usefixtures("in_chromium")

# Programs made small: what to replace, and how many tasks are left.
SMALL = {
    "pi": ({"BATCHES = 48": "BATCHES = 12", "DARTS = 250_000": "DARTS = 40_000"}, 12),
    "mandelbrot": ({"480, 320, 40": "120, 80, 20", "LIMIT = 800": "LIMIT = 200"}, 24),
    "census": ({'root.rglob("*.py.txt"))': 'root.rglob("*.py.txt"))[:60]'}, 60),
}


def small(program: str) -> str:
    """Return the source of a program with settings that take a second."""
    return replaced((DEMO / "programs" / f"{program}.py").read_text(), SMALL[program][0])


def small_natively(program: str) -> list[tuple]:
    """Run the small program in this process and return what it hands to ``draw``."""
    return run_natively(small(program), program, {})


def choose(page: Page, program: str, workers: int = 2) -> None:
    page.find(f"input[value={program}]").click()
    Select(page.find("#workers")).select_by_value(str(workers))


def run_small(page: Page, program: str, workers: int = 2) -> None:
    choose(page, program, workers)
    page.source = small(program)
    page.run()


@pytest.fixture(scope="module", params=["plain", "isolated"])
def opened(request: pytest.FixtureRequest, site: Path) -> Iterator[Page]:
    options = ["--isolate"] if request.param == "isolated" else []
    with serving(site, *options) as address, browsing() as driver:
        page = Page(driver, address)
        page.open("playground", "program=pi&workers=2")
        assert page.script("return crossOriginIsolated") is (request.param == "isolated")
        yield page


@pytest.fixture
def page(opened: Page) -> Iterator[Page]:
    """The page, and the proof afterwards that nothing went wrong behind it."""
    yield opened
    opened.check_quiet()


@pytest.fixture(scope="module")
def sources(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The input of the census, from the distribution's wheel."""
    (wheel,) = request.config.option.dist_dir.glob("stdlib_sources-*.whl")
    folder = tmp_path_factory.mktemp("sources")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.delitem(sys.modules, "stdlib_sources", raising=False)
        yield


def check_pi(page: Page) -> None:
    estimate = page.find(".estimate b").text
    assert abs(float(estimate) - 3.14159265) < 0.05
    assert estimate == f"{small_natively('pi')[-1][0]:.6f}"


def check_mandelbrot(page: Page) -> None:
    width, height = 120, 80
    steps = [0] * (width * height)
    for (left, top, size, tile), *_ in small_natively("mandelbrot"):
        for i, count in enumerate(tile):
            steps[(top + i // size) * width + left + i % size] = count
    differing, colours = page.driver.execute_async_script(
        """
        const [steps, done] = arguments;
        const canvas = document.querySelector(".mandelbrot canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        import(new URL("results.js", document.baseURI)).then(({ colourOf }) => {
          const pixels = steps.map((_, i) => [...data.slice(4 * i, 4 * i + 4)].join());
          const wrong = pixels.filter((pixel, i) => pixel !== [...colourOf(steps[i]), 255].join());
          done([wrong.length, new Set(pixels).size]);
        });
        """,
        steps,
    )
    # Where the processor fuses multiplication and addition, points on the border may fall on its other side.
    assert differing <= 0.01 * width * height
    assert colours > 20


def check_census(page: Page) -> None:
    rows, kinds = small_natively("census")[-1]
    totals = [len(rows), *(sum(row[key] for row in rows.values()) for key in ("lines", "comments")), kinds.total()]
    assert [int(total.text.replace(",", "")) for total in page.find_all(".sum b")] == totals
    name, row = max(rows.items(), key=lambda item: item[1]["complexity"])
    assert page.find("tbody tr").text.split() == [name, *(f"{row[key]:,}" for key in ("complexity", "lines"))]


@pytest.mark.parametrize("program", SMALL)
@pytest.mark.usefixtures("sources")
def test_a_program_gives_what_it_gives_natively(page: Page, program: str) -> None:
    run_small(page, program)
    {"pi": check_pi, "mandelbrot": check_mandelbrot, "census": check_census}[program](page)
    lanes = page.lanes()
    assert len(lanes) == 2
    assert min(lanes.values()) > 0
    tasks = SMALL[program][1]
    assert sum(lanes.values()) == tasks
    assert page.find("#count").text == f"{tasks} / {tasks}"
    assert "on 2 web workers" in page.find("#status").text
    assert page.has_room(1280)
    page.check_barriers()


def test_the_time_of_one_worker_gives_the_speed_up(page: Page) -> None:
    choose(page, "pi")
    page.source = small("pi") + "# timed\n"
    page.run()
    assert not page.find("#speedup").is_displayed()
    page.find("#baseline button").click()
    page.wait("running")
    page.wait(*OVER)
    assert "on one web worker" in page.find("#status").text
    page.run()
    assert re.fullmatch("[0-9]+[.][0-9]{2} \N{MULTIPLICATION SIGN}", page.find("#speedup").text)
    assert [line.text.splitlines()[0] for line in page.find_all("#runs li")] == ["1 worker", "2 workers"]


def test_an_error_in_a_task_is_shown_with_its_line(page: Page) -> None:
    choose(page, "pi")
    page.source = small("pi").replace("    random = ", "    assert seed != 7, 'unlucky'\n    random = ")
    line = page.source.splitlines().index("    assert seed != 7, 'unlucky'") + 1
    page.find("#run").click()
    page.wait(*OVER)
    assert page.state == "failed"
    assert "AssertionError: unlucky" in page.error
    assert "task 7" in page.error
    assert f'File "pi.py", line {line}, in count_hits\n    assert seed != 7' in page.error
    assert "async for count in pool.stream(tasks):" in page.error
    assert "eval_code_async" not in page.error
    assert page.wrong_line == line
    assert sum(page.lanes("failed").values()) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("hits = darts = 0", "hits = darts = zero", "NameError: name 'zero' is not defined"),
        ("hits = darts = 0", "hits = = 0", "SyntaxError: invalid syntax"),
    ],
)
def test_an_error_beside_the_tasks_is_shown_with_its_line(page: Page, old: str, new: str, message: str) -> None:
    choose(page, "pi")
    page.source = small("pi").replace(old, new)
    page.find("#run").click()
    page.wait(*OVER)
    assert message in page.error
    assert new in page.error
    assert page.wrong_line == page.source.splitlines().index(new) + 1


def test_stop_ends_a_run_and_the_next_one_works(page: Page) -> None:
    choose(page, "pi")
    page.source = small("pi").replace("DARTS = 40_000", "DARTS = 40_000_000")
    page.find("#run").click()
    page.wait("running")
    WebDriverWait(page.driver, TIME_LIMIT_S, 0.05).until(lambda _: sum(page.lanes("running").values()) == 2)
    page.find("#stop").click()
    page.wait(*OVER)
    assert page.state == "stopped"
    assert sum(page.lanes("running").values()) == 0
    assert sum(page.lanes("stopped").values()) == 2
    page.find("#run").click()  # its workers start anew
    page.wait("waking")
    page.find("#stop").click()
    page.wait(*OVER)
    assert page.state == "stopped"
    run_small(page, "pi")


def test_the_keyboard_runs_the_code_and_reset_restores_it(page: Page) -> None:
    choose(page, "pi")
    original = (DEMO / "programs/pi.py").read_text()
    page.source = "print('hello, class')\n"
    area = page.find(".cm-content")
    ActionChains(page.driver).click(area).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
    page.wait(*OVER)
    assert page.find("#output").text == "hello, class"
    page.find("#reset").click()
    assert page.source == original
    assert not page.find("#reset").is_enabled()


def test_without_workers_the_page_runs_alone_and_says_why(page: Page) -> None:
    with page.reopened_after("delete globalThis.Worker"):
        run_small(page, "pi")
        assert "in this page alone" in page.find("#status").text
        assert "No web workers: " in page.find("#notice").text
        assert sum(page.lanes().values()) == SMALL["pi"][1]
        assert not page.find("#baseline").is_displayed()
        check_pi(page)


def test_without_stack_switching_the_page_runs_on_workers(page: Page) -> None:
    with page.reopened_after(NO_STACK_SWITCHING):
        assert page.script("return 'Suspending' in WebAssembly") is False
        run_small(page, "pi")
        assert "on 2 web workers" in page.find("#status").text
        assert sum(page.lanes().values()) == SMALL["pi"][1]
        check_pi(page)


def test_the_census_is_that_of_the_example() -> None:
    example, program = (
        next(
            ast.unparse(node)
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef) and node.name == "census"
        )
        for path in (ROOT / "docs/examples/stdlib_census.py", DEMO / "programs/census.py")
    )
    assert program == example
