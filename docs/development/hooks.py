"""What mkdocs asks while it builds the site: links of notebooks to pages, which are .md where a notebook is opened."""

from __future__ import annotations

import re
from typing import Any


def on_post_page(output: str, page: Any, config: Any) -> str:
    if not page.file.src_uri.endswith(".ipynb"):
        return output
    return re.sub(r'(href="(?!https?:)[^"#]+)\.md(?=[#"])', r"\1.html", output)
