"""Configuration of Sphinx; ``tools/site.py`` collects the pages and calls it, because the texts also have to be readable without it."""

from __future__ import annotations

from airflow_cleanroomsml import __version__

project = "airflow-provider-cleanroomsml"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
# GitHub's own anchors, for headings of every level.
myst_heading_anchors = 6
# Like GitHub, which knows neither directives nor roles in a text.
myst_enable_extensions = ["fieldlist"]
root_doc = "index"
# Nothing is fetched: the site builds, and is read, without a network.
html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"
# AWS's pages change, and a build must not depend on them: `nox -s linkcheck` looks at them.
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_ignore = [r"http://(localhost|127\.0\.0\.1)"]
