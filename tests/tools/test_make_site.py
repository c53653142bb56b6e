"""The pages of the demo, put together by tools/make_site.py: whole, or not made."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_site", ROOT / "tools/make_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_site = load_tool()


def test_every_page_has_its_text_its_title_and_its_place(tmp_path: Path) -> None:
    make_site.make_site(tmp_path)
    pages = make_site.read_pages()
    assert {path.stem for path in tmp_path.glob("*.html")} == {"index", *(page.file for page in pages)}
    for page in pages:
        text = (tmp_path / f"{page.file}.html").read_text(encoding="utf-8")
        assert f"<title>{page.title} · jobspan</title>" in text
        assert f'href="{page.file}.html" aria-current="page"' in text
        assert not re.search(r"\$\w|<!-- slot", text)
    assert not (tmp_path / "layout.html").exists()


def test_every_lesson_has_a_page_a_script_and_a_program() -> None:
    demo = ROOT / "web_demo"
    files = [page.file for page in make_site.read_pages()]
    assert sorted(path.stem for path in (demo / "pages").glob("*.html")) == sorted(["index", *files])
    assert sorted(path.stem for path in (demo / "lessons").glob("*.js")) == sorted(files)
    assert sorted(path.stem for path in (demo / "lessons").glob("*.py")) == sorted(set(files) - {"playground"})


def test_a_slot_that_no_part_has_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no slot 'besides'; there are actions, "):
        make_site.split_slots("text\n<!-- slot besides -->more")
