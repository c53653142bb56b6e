"""Put the pages of the web demo together: make_site.py FOLDER makes static files that lack only Pyodide beside them.

Invariant: every placeholder of a page is filled, or nothing is written; pages link to each other by relative names, so
that the folder works wherever it lies.
"""

import argparse
import html
import shutil
import tomllib
from pathlib import Path
from string import Template
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "web_demo"
# What only this script needs, and what is about the source.
SOURCES = ("layout.html", "pages.toml", "pages", "parts", "README.md", "ruff.toml", "__pycache__")
COURSE = "jobspan: a course in parallel Python"
ABOUT = "Parallel Python in six short lessons, on the CPUs of this computer, inside a browser tab."
# Room in the parts for what is a page's own: <!-- slot actions --> and the lines up to the next such one.
SLOTS = ("actions", "below", "heading", "legend")


class Page(NamedTuple):
    """One page of the course, as `pages.toml` has it."""

    file: str
    title: str
    about: str


def read_pages() -> list[Page]:
    told = tomllib.loads((DEMO / "pages.toml").read_text(encoding="utf-8"))
    return [Page(**page) for page in told["page"]]


def split_slots(text: str) -> tuple[str, dict[str, str]]:
    """Return a page without what it says for parts, and that by the slot's name."""
    content, *rest = text.split("<!-- slot ")
    slots = dict.fromkeys(SLOTS, "") | {"heading": "Result"}
    for piece in rest:
        name, _, body = piece.partition(" -->")
        if name not in slots:
            raise ValueError(f"there is no slot {name!r}; there are {', '.join(SLOTS)}")
        slots[name] = body.strip()
    return content, slots


def link(page: Page, number: int, *, current: bool) -> str:
    mark = ' aria-current="page"' if current else ""
    name = html.escape(page.title)
    return f'<li><a href="{page.file}.html"{mark}><span class="number">{number}</span> <span>{name}</span></a></li>'


def turn(page: Page | None, word: str) -> str:
    """Return the link to the page before or after."""
    if page is None:
        return ""
    return (
        f'<a class="{word.lower()}" href="{page.file}.html" rel="{word[:4].lower()}">'
        f"<span>{word}</span> <b>{html.escape(page.title)}</b></a>"
    )


def fill(page: Page, pages: list[Page]) -> str:
    """Return the whole page."""
    content, slots = split_slots((DEMO / "pages" / f"{page.file}.html").read_text(encoding="utf-8"))
    parts = {
        path.stem: Template(path.read_text(encoding="utf-8")).substitute(slots)
        for path in (DEMO / "parts").glob("*.html")
    }
    cards = "".join(
        f'<li><a href="{each.file}.html"><b>{html.escape(each.title)}</b></a><p>{html.escape(each.about)}</p></li>'
        for each in pages
    )
    at = pages.index(page) if page in pages else -1
    script = f"lessons/{page.file}.js"
    modules = ["python.js", script] if (DEMO / script).is_file() else []
    return Template((DEMO / "layout.html").read_text(encoding="utf-8")).substitute(
        file=page.file,
        title=html.escape(page.title if at < 0 else f"{page.title} · jobspan"),
        about=html.escape(page.about),
        script="\n  ".join(f'<script type="module" src="{each}"></script>' for each in modules),
        lessons="".join(link(each, number, current=each == page) for number, each in enumerate(pages, 1)),
        content=Template(content).substitute(parts, cards=cards),
        previous=turn(pages[at - 1] if at > 0 else None, "Previous"),
        next=turn(pages[at + 1] if at + 1 < len(pages) else None, "Next"),
    )


def make_site(folder: Path) -> None:
    """Write the pages and what they load into an empty or new folder."""
    pages = read_pages()
    made = {page.file: fill(page, pages) for page in [Page("index", COURSE, ABOUT), *pages]}
    shutil.copytree(DEMO, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*SOURCES))
    for name, text in made.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Put the pages of the web demo together.")
    parser.add_argument("folder", type=Path)
    make_site(parser.parse_args().folder)


if __name__ == "__main__":
    main()
