"""The pages of a product: one with all its controls in a table, and one per category with a section for each."""

from collections.abc import Iterable, Iterator, Mapping
from typing import get_args

from plumbline_contracts.events import Product

from plumbline_evaluator.catalogue.frameworks import Framework
from plumbline_evaluator.catalogue.loading import Catalogue
from plumbline_evaluator.catalogue.model import Category, Control
from plumbline_evaluator.pages.markdown import HEADER, anchor, link, table, text
from plumbline_evaluator.pages.places import (
    PRODUCT_NAMES,
    anchor_of,
    category_page,
    definitions,
    named,
    product_page,
    way,
)
from plumbline_evaluator.pages.sections import Sections, kind_of, points_of

CATEGORIES: tuple[Category, ...] = get_args(Category)

_UNJUDGED = {
    "manual": (
        "Manual controls",
        "What no reading of an instance can decide. They count in no score; attest to them after looking.",
    ),
    "retired": ("Retired controls", "No longer judged; they stand here for those who meet an old result."),
}


def product_pages(catalogue: Catalogue) -> dict[str, str]:
    """The pages of all products that have controls, by path."""
    pages: dict[str, str] = {}
    for product in Product:
        controls = [control for control in catalogue.controls.values() if control.product is product]
        if not controls:
            continue
        pages[product_page(product)] = "".join(_product(catalogue, product, controls))
        for category in CATEGORIES:
            judged = [c for c in controls if c.category == category and c.status == "active"]
            if judged:
                pages[category_page(product, category)] = "".join(_category(catalogue, product, category, judged))
    return pages


def _product(catalogue: Catalogue, product: Product, controls: list[Control]) -> Iterator[str]:
    page = product_page(product)
    yield f"{HEADER}# Controls for {PRODUCT_NAMES[product]}\n\n"
    categories = [c for c in CATEGORIES if any(it.category == c and it.status == "active" for it in controls)]
    links = ", ".join(link(category, category_page(product, category)) for category in categories)
    if links:
        yield f"In full, by category: {links}. "
    yield f"See also {link('all products', 'index.md')} and {link('what is covered', 'coverage.md')}.\n\n"
    head = ("control", "title", "category", "severity", "points", "check")
    yield table(
        head, [(named(c), text(c.title), c.category, str(c.severity), points_of(c), kind_of(c)) for c in controls]
    )
    sections = _sections(catalogue, page, product)
    shown = []
    for status, (title, introduction) in _UNJUDGED.items():
        if those := [control for control in controls if control.status == status]:
            yield f"{anchor(status)}## {title}\n\n{introduction}\n\n"
            yield from map(sections.section, those)
            shown += those
    yield notices(catalogue.frameworks, shown)
    yield definitions(page, controls) + sections.definitions(shown)


def _category(catalogue: Catalogue, product: Product, category: Category, controls: list[Control]) -> Iterator[str]:
    page = category_page(product, category)
    yield f"{HEADER}# Controls for {PRODUCT_NAMES[product]}: {category}\n\n"
    yield (
        f"See also {link(f'all controls for {PRODUCT_NAMES[product]}', way(page, product_page(product)))} "
        f"and {link('what the terms mean', way(page, 'index.md#terms'))}.\n\n"
    )
    head = ("control", "title", "severity", "points", "check")
    rows = [
        (link(c.id, f"#{anchor_of(c)}"), text(c.title), str(c.severity), points_of(c), kind_of(c)) for c in controls
    ]
    yield table(head, rows)
    sections = _sections(catalogue, page, product)
    yield from map(sections.section, controls)
    yield notices(catalogue.frameworks, controls)
    yield sections.definitions(controls)


def _sections(catalogue: Catalogue, page: str, product: Product) -> Sections:
    compiled = {it.control.id: it for it in catalogue.plans[product].controls}
    return Sections(page, compiled, catalogue.frameworks)


def notices(frameworks: Mapping[str, Framework], controls: Iterable[Control]) -> str:
    """The notices that publishers ask for where the titles of what `controls` are mapped to are shown."""
    used = {name for control in controls for name in control.frameworks}
    asked = [f"{text(it.name)}: {text(it.notice)}\n\n" for name, it in frameworks.items() if name in used and it.notice]
    return f"## Notices\n\n{''.join(asked)}" if asked else ""
