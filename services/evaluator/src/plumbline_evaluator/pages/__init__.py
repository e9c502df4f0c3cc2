"""The generated reference pages of the catalogue (`docs/reference/controls/`)."""

from plumbline_evaluator.catalogue.loading import Catalogue
from plumbline_evaluator.pages.coverage import coverage_page
from plumbline_evaluator.pages.overview import overview_page
from plumbline_evaluator.pages.products import product_pages

__all__ = ["control_pages"]


def control_pages(catalogue: Catalogue) -> dict[str, str]:
    """Every page as Markdown, by its path below the folder of the pages."""
    return {
        "index.md": overview_page(catalogue),
        "coverage.md": coverage_page(catalogue),
        **product_pages(catalogue),
    }
