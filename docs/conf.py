"""The site: python -m sphinx -EW --keep-going -c docs . build/site, then open build/site/index.html.

Sphinx reads the repository itself, so a page is plain Markdown whose links are those that a forge follows; README.md is
the first page. Nothing in the site comes from a network: equations are MathML, the font lies beside the pages.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import ziamath
from sphinx.application import Sphinx
from sphinx.util.inspect import TypeAliasForwardRef

import nn1d
from docs import docstring, equation, house, slides, unbroken
from docs.gradients.page import rounded

house.check()  # no site of a house whose imports run upwards

project, author, version = "nn1d", "the authors of nn1d", nn1d.__version__
project_copyright = "MIT licence"
root_doc = "README"
source_suffix = {".md": "markdown", ".ipynb": "markdown"}
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "exercises/README.md", "docs/**"]
exclude_patterns = [
    ".*", "build", "dist", "runs", "data", "**/.ipynb_checkpoints", "docs/performance/page.md", "docs/gradients/source",
]  # fmt: skip

extensions = [
    "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton",
]  # fmt: skip
copybutton_selector = "div.highlight-python pre, div.highlight-sh pre"  # what is printed is not to be run
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4
nitpicky = True
highlight_language = "text"
smartquotes = False  # they would make a dash of -- in an option

autodoc_typehints = "signature"
TypeAliasForwardRef.__repr__ = lambda self: self.name  # type: ignore[method-assign]  # else its class stands before it
autodoc_type_aliases = {"Array": "Array", "Tree": "Tree", "Initializer": "Initializer"}
nitpick_ignore_regex = [("py:class", ".*")]  # a type is shown, and is a link where it has a page of its own
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Shapes", "Gradient", "Cache", "Range", "Source", ("Attributes", "params_style")]

html_theme = "furo"
html_title = f"nn1d {version}"
html_static_path = ["static"]
html_css_files = ["site.css", "grid.css"]
html_js_files = ["grid.js"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_show_search_summary = False  # a page opened as a file may not read another one

PARTS = {
    "Start": ["docs/tutorial", "docs/classifier", "docs/corpora"],
    "Gradients": [
        "docs/course",
        "docs/gradients/*",
        "docs/classifier",
        "docs/notebooks/*",
        "exercises/*",
        "docs/glossary",
    ],
    "The system": [
        "docs/reproduction",
        "docs/representation",
        "docs/emotion",
        "docs/distortion",
        "docs/performance",
        "docs/*",
    ],
    "The house": [
        "docs/architecture",
        "docs/reliability",
        "docs/scale",
        "docs/dependencies",
        "CONTRIBUTING",
        "CHANGELOG",
    ],
    "Reference": ["docs/api/*"],
}


def contents(pages: set[str], source: Path) -> str:
    """The table of contents: the pages that are there, each once, where PARTS first names it or its folder.

    The pages of a folder stand as its own README links to them.
    """
    left, lines = pages - {root_doc}, []
    named = {name for names in PARTS.values() for name in names}
    for title, patterns in PARTS.items():
        listed = []
        for pattern in patterns:
            matching = [page for page in left if page == pattern or Path(page).parent == Path(pattern).parent]
            if not pattern.endswith("*"):
                matching = [page for page in matching if page == pattern]
            else:
                matching = [page for page in matching if page not in named]
            listed += sorted(matching, key=lambda page: (place(page, source), page))
            left -= set(matching)
        if listed:
            lines += ["```{toctree}", ":hidden:", f":caption: {title}", "", *(f"/{page}" for page in listed), "```", ""]
    return "\n".join(lines)


def place(page: str, source: Path) -> int:
    """Where the README of a page's folder links to it first; the README before all, pages without a link after all."""
    path = source / page
    if path.name == "README":
        return -1
    readme = path.with_name("README.md")
    offset = readme.read_text("utf-8").find(f"]({path.name}.") if readme.is_file() else 0
    return offset if offset >= 0 else sys.maxsize


def read(app: Sphinx, page: str, source: list[str]) -> None:
    """Give the first page its table of contents, and read a notebook as the page that it is."""
    if page == root_doc:
        source[0] += "\n" + contents(set(app.project.docnames), Path(app.srcdir))
    elif page == slides.COURSE:
        source[0] += slides.links(Path(app.srcdir))
    elif app.env.doc2path(page).suffix == ".ipynb":
        source[0] = "\n\n".join(execute(source[0]))


def execute(text: str) -> list[str]:
    """The cells of a notebook as Markdown, run in order, each with what it prints in a block of its own."""
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            shown.append(source)
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, "notebook", "exec"), names)
        shown.append(f"```python\n{source}\n```")
        if printed.getvalue():
            shown.append(f"```text\n{re.sub(' object at 0x[0-9a-f]+', '', rounded(printed.getvalue()))}```")
    return shown


def finish(app: Sphinx, error: Exception | None) -> None:
    """The font of the equations, and the name under which a site is opened."""
    if error is None and app.builder.format == "html":
        font = Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf"
        shutil.copy(font, app.outdir / "_static" / font.name)
        page = f'<!doctype html><meta http-equiv="refresh" content="0; url={root_doc}.html"><title>nn1d</title>\n'
        (app.outdir / "index.html").write_text(page, "utf-8")
        if slides.COURSE in app.project.docnames:
            slides.write(app)


def setup(app: Sphinx) -> None:
    """What Sphinx does not bring."""
    equation.setup(app)
    unbroken.setup(app)
    app.connect("autodoc-process-docstring", docstring.process, priority=400)  # before napoleon
    app.connect("source-read", read)
    app.connect("build-finished", finish)
