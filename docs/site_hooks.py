"""Hooks of MkDocs: pages that stand outside docs/, and links that hold on GitHub and on the site.

A page links to files as they lie in the repository. On the site, a link to a page leads to that page, a link to another
file of the repository to a copy of that file, and the name of a folder stays as text.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "runs/README.md": "run_files.md",
    "benchmarks/README.md": "benchmarks.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
"""The pages outside docs/, and their names on the site."""

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
CODE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages outside docs/."""
    for path, name in PAGES.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrites the links of a page, and adds the files that it links to."""
    paths = {name: path for path, name in PAGES.items()}
    folder = posixpath.dirname(paths.get(page.file.src_uri, f"docs/{page.file.src_uri}"))

    def rewritten(link: re.Match[str]) -> str:
        picture, text, target, anchor = link.groups("")
        path = posixpath.normpath(posixpath.join(folder, target))
        if (ROOT / path).is_dir():
            return text
        name = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}")
        if files.get_file_from_path(name) is None and (ROOT / path).is_file():
            files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
        return f"{picture}[{text}]({name}{anchor})"  # all pages lie in one folder

    parts, end = [], 0
    for code in CODE.finditer(markdown):
        parts += [LINK.sub(rewritten, markdown[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, LINK.sub(rewritten, markdown[end:])])
