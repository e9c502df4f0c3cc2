"""Where every control stands on the pages, and how a page leads to it."""

from collections.abc import Iterable

from plumbline_contracts.events import Product

from plumbline_evaluator.catalogue.model import Category, Control
from plumbline_evaluator.pages.markdown import definition

PRODUCT_NAMES = {Product.SALESFORCE: "Salesforce", Product.SERVICENOW: "ServiceNow"}


def product_page(product: Product) -> str:
    """The page with all controls of a product in one table, and those that are not judged."""
    return f"{product}.md"


def category_page(product: Product, category: Category) -> str:
    """The page with the judged controls of one category. One page for a whole product would be too large to render."""
    return f"{product}/{category.lower()}.md"


def page_of(control: Control) -> str:
    """The page that has the section of a control."""
    is_judged = control.status == "active"
    return category_page(control.product, control.category) if is_judged else product_page(control.product)


def anchor_of(control: Control) -> str:
    """The anchor of a control's section. It holds as long as the id does."""
    return control.id.lower()


def way(source: str, target: str) -> str:
    """The relative address of `target` (a page, or one with an anchor) on the page `source`."""
    return "../" * source.count("/") + target


def named(control: Control) -> str:
    """A control as a page names it that ends with its `definitions`: with its status unless it is judged."""
    return f"[{control.id}]" if control.status == "active" else f"[{control.id}] ({control.status})"


def definitions(page: str, controls: Iterable[Control]) -> str:
    """Where the links of `named` on a page lead to."""
    return "".join(definition(c.id, f"{way(page, page_of(c))}#{anchor_of(c)}") for c in controls)
