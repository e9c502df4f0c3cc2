"""The first page: how many controls there are, by product, category, severity and kind of check."""

from collections.abc import Callable, Iterable, Iterator

from plumbline_contracts.events import Product, Severity

from plumbline_evaluator.catalogue.loading import Catalogue
from plumbline_evaluator.catalogue.model import Control
from plumbline_evaluator.pages.markdown import HEADER, anchor, link, table
from plumbline_evaluator.pages.places import PRODUCT_NAMES, category_page, product_page
from plumbline_evaluator.pages.products import CATEGORIES
from plumbline_evaluator.pages.sections import kind_of

_INTRODUCTION = """\
# The control catalogue

What Plumbline judges, with points, check, data, permission, steps and mappings of every control. A control is one file
of `controls/`; these pages are written from them. [Coverage](coverage.md) sets them beside Microsoft's recommendations,
the vendors' own lists and the frameworks.

A control with an id of Microsoft has Microsoft's points; every other has 0 to 10 by the risk of what it finds: for a
ServiceNow setting that the vendor scores, that score. Severity follows from our points (critical from 9, high from 7,
medium from 4, low from 1, informational at 0, which is reported and in no score); beside Microsoft's points it says the
class of the risk instead.

"""

_TERMS = """\
## Terms

- **document**, **row**, **property**: one expression over a document, one row, or one system property of ServiceNow.
- **rows**: each row of a population is judged; the share that complies is the share of the points, and the others are
  the exposed entities.
- **count**: the number of rows, against bands.
- **all**, **any**, **share**: several checks, of which all or one must hold, or each gives its share of the points.
- **manual**: kept for the administrator; nothing that can be read decides it, and it counts in no score.
- **UNKNOWN** is never PASS: data that could not be read, or not wholly, gives no points and lowers the coverage.
  **NOT_APPLICABLE** leaves the score on both sides.
- Expressions are [CEL](https://cel.dev) over the fields of a [dataset](../datasets.md); `params.…` are the parameters,
  which an operator sets per instance within the bounds.
"""


def overview_page(catalogue: Catalogue) -> str:
    """`index.md`."""
    return "".join(_blocks(catalogue))


def _blocks(catalogue: Catalogue) -> Iterator[str]:
    controls = list(catalogue.controls.values())
    products = [product for product in Product if any(control.product is product for control in controls)]
    yield HEADER + _INTRODUCTION
    head = ("product", "judged", "manual", "retired", "points")
    yield table(head, [_product(product, controls) for product in products])
    yield "## By category\n\n"
    yield _pivot("category", CATEGORIES, lambda c: c.category, controls, products, _category_link)
    yield "## By severity\n\n"
    yield _pivot("severity", Severity, lambda c: c.severity, controls, products)
    yield "## By kind of check\n\n"
    yield _pivot("check", sorted({kind_of(c) for c in controls}), kind_of, controls, products)
    yield anchor("terms") + _TERMS


def _product(product: Product, controls: Iterable[Control]) -> tuple[str, ...]:
    mine = [control for control in controls if control.product is product]
    counts = [str(sum(c.status == status for c in mine)) for status in ("active", "manual", "retired")]
    return (link(PRODUCT_NAMES[product], product_page(product)), *counts, f"{_points(mine):g}")


def _points(controls: Iterable[Control]) -> float:
    """What can be had: the points of the judged controls."""
    return sum(control.points for control in controls if control.status == "active")


def _category_link(product: Product, category: str, count: str) -> str:
    known = next(it for it in CATEGORIES if it == category)
    return link(count, category_page(product, known))


def _pivot(
    name: str,
    values: Iterable[str],
    key: Callable[[Control], str],
    controls: list[Control],
    products: list[Product],
    linked: Callable[[Product, str, str], str] | None = None,
) -> str:
    """Controls and points per value and product; values that no control has are left out."""
    head = [name, *(title for p in products for title in (PRODUCT_NAMES[p], "points"))]
    rows = []
    for value in values:
        row = [str(value)]
        for product in products:
            those = [c for c in controls if c.product is product and key(c) == value and c.status != "retired"]
            count = str(len(those))
            is_linked = linked and any(control.status == "active" for control in those)
            row += [linked(product, value, count) if linked and is_linked else count, f"{_points(those):g}"]
        if any(key(control) == value for control in controls):
            rows.append(row)
    return table(head, rows)
