"""The pages are a site: it builds without a warning, has every page, needs nothing from elsewhere, and is current."""

import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import onecycle_cli
from onecycle_cli.recipe import Recipe

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
HOOKS = runpy.run_path(str(DOCS / "site_hooks.py"))
PICTURES = runpy.run_path(str(DOCS / "pictures.py"))


def listed(nav: Any) -> Iterator[str]:
    """Yields the pages of the navigation."""
    if isinstance(nav, str):
        yield nav
    for inner in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from listed(inner)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make site` does: a warning is an error."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        patch.chdir(ROOT)
        build(load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(folder)))
    return folder


def test_every_page_is_in_the_navigation_once() -> None:
    pages = {path.name for path in DOCS.glob("*.md")} | set(HOOKS["PAGES"].values())
    in_navigation = list(listed(CONFIG["nav"]))
    for page in pages:
        assert page in in_navigation, f"give docs/{page} a place in nav of mkdocs.yml"
    assert sorted(in_navigation) == sorted(pages)


def test_the_site_builds_and_has_every_page(site: Path) -> None:
    for page in listed(CONFIG["nav"]):
        assert (site / page).with_suffix(".html").is_file(), page


def test_the_built_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for page in site.glob("*.html"):
        loaded = re.findall(r'<(?:script|img|iframe)[^>]* src="?([^" >]+)', page.read_text())
        loaded += re.findall(r'<link[^>]* href="?([^" >]+)', page.read_text())
        assert [one for one in loaded if re.match(r"(https?:)?//", one)] == [], page.name


def test_a_link_that_leaves_docs_leads_to_a_page_or_to_a_copy_of_the_file(site: Path) -> None:
    networks, python, suggestion = (
        (site / f"{name}.html").read_text() for name in ("networks", "python", "suggestion")
    )
    assert 'href="files/benchmarks/results/architectures.csv"' in networks
    copied = (site / "files" / "benchmarks" / "results" / "architectures.csv").read_bytes()
    assert copied == (ROOT / "benchmarks" / "results" / "architectures.csv").read_bytes()
    assert 'href="run_files.html"' in python
    assert "benchmarks/results/suggestion</p>" in suggestion or "benchmarks/results/suggestion." in suggestion


def test_the_front_page_is_the_readme(site: Path) -> None:
    front = (site / "index.html").read_text()
    assert 'src="images/lr_range.png"' in front
    assert 'href="tutorial.html"' in front


def test_links_between_the_pages_lead_to_files_that_are_there() -> None:
    for page in DOCS.glob("*.md"):
        text = re.sub(r"^( *)```.*?^\1```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\((?!https?:)([^)#\s]+)", text):
            assert (DOCS / link).exists(), f"{page.name}: {link}"


def test_the_page_of_recipe_fields_is_current() -> None:
    made = runpy.run_path(str(DOCS / "recipe_fields.py"))["page"]()
    assert (DOCS / "recipe_fields.md").read_text() == made, "make docs"


def test_every_field_of_a_recipe_says_what_it_means() -> None:
    schema = Recipe.model_json_schema()
    for name, section in schema["$defs"].items():
        for field, about in section["properties"].items():
            assert "description" in about or "const" in about, f"{name}.{field}"


def test_the_page_of_the_api_has_every_public_name_and_its_docstring(site: Path) -> None:
    shown = re.findall(r"^::: onecycle_cli\.(\S+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    names = [path.rpartition(".")[2] for path in shown]
    assert set(names) >= set(onecycle_cli.__all__) - {"__version__"}
    assert len(names) == len(set(names))
    page = " ".join(re.sub(r"<[^>]+>", "", (site / "api.html").read_text()).split())
    for name in set(onecycle_cli.__all__) - {"__version__"}:
        first = getattr(onecycle_cli, name).__doc__.split("\n\n")[0].split("`")[0].split("'")[0]
        assert " ".join(first.split()) in page, name


def test_every_picture_is_made_by_a_script_and_shown() -> None:
    texts = [path.read_text() for path in (ROOT / "README.md", *DOCS.glob("*.md"))]
    shown = {name for text in texts for name in re.findall(r"(?:\]\(|src=\")(?:docs/)?images/([^)\"]+)", text)}
    scripts = [path.read_text() for path in DOCS.glob("*.py")]
    made = {name for script in scripts for name in re.findall(r"\"([\w-]+\.png)\"", script)}
    there = {path.name for path in (DOCS / "images").iterdir()}
    assert there == shown
    assert there <= made, "a script in docs/ makes each picture"


def test_a_script_that_makes_a_picture_is_there() -> None:
    for picture in PICTURES["PICTURES"].values():
        for command in picture.commands:
            program, *words = PICTURES["words_of"](command)
            assert Path(program).is_file()
            assert words[0] == "-m" or (ROOT / words[0]).is_file()
