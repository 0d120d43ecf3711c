"""What mkdocs asks while it builds the site: the changelog as a page, and links of notebooks to pages.

The links are to `.md` and `.ipynb` where a notebook is opened, and to `.html` in the site.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    if page.file.src_uri != "changelog.md":
        return markdown
    text = (Path(config.docs_dir).parent / "CHANGELOG.md").read_text(encoding="utf-8")
    return text.replace("](docs/", "](")


def on_post_page(output: str, page: Any, config: Any) -> str:
    if not page.file.src_uri.endswith(".ipynb"):
        return output
    return re.sub(r'(href="(?!https?:)[^"#]+)\.(?:md|ipynb)(?=[#"])', r"\1.html", output)
