"""How the documentation is built: ``python -m sphinx -W -b html docs OUT``."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "isrcore"
author = "The isrcore developers"
project_copyright = author
version = release = installed_version("isrcore")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "isr_reference"]
exclude_patterns = ["_build", "_ext"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

default_role = "py:obj"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"

html_theme = "furo"
html_title = f"isrcore {release}"
html_copy_source = False
html_show_copyright = False
