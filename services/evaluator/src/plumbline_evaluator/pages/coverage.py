"""The page of what the catalogue covers: Microsoft's controls, the vendors' own lists, and the other frameworks."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from plumbline_contracts.events import Product

from plumbline_evaluator.catalogue.frameworks import Framework
from plumbline_evaluator.catalogue.loading import Catalogue
from plumbline_evaluator.catalogue.model import Control
from plumbline_evaluator.pages.markdown import HEADER, anchor, bullets, code, link, table, text
from plumbline_evaluator.pages.places import PRODUCT_NAMES, definitions, named

PAGE = "coverage.md"
MICROSOFT = {Product.SALESFORCE: "MDA_SF_", Product.SERVICENOW: "MDA_SNOW_"}
"""How Microsoft's ids of a product begin."""

VENDORS_OWN = ("servicenow_hardening", "salesforce_health_check")
"""Frameworks that stand in the catalogue whole, so that the share which is covered says something."""

PAGE_PER_ID = ("servicenow_hardening",)
"""Frameworks of whose ids each is the name of a page beside the framework's own."""

_INTRODUCTION = """\
# What the catalogue covers

Of [the catalogue](index.md): the control that judges each recommendation of Microsoft, each setting of the vendors' own
lists, and each requirement of the frameworks that controls are mapped to. A dash says that no control does. The
mappings are our own.

"""


@dataclass(frozen=True)
class Share:
    """How many requirements of a framework have a control."""

    judged: int
    manual: int
    total: int

    @property
    def percent(self) -> float:
        """The part that is judged."""
        return 100 * self.judged / self.total


def mapped(framework: Framework, controls: Iterable[Control]) -> dict[str, list[Control]]:
    """Every id of a framework to the controls that name it, in their order; retired ones are left out."""
    found: dict[str, list[Control]] = {reference.id: [] for reference in framework.ids}
    for control in controls:
        if control.status != "retired":
            for reference in control.frameworks.get(framework.id, []):
                found[reference].append(control)
    return found


def share_covered(framework: Framework, controls: Iterable[Control]) -> Share:
    """How much of a framework is judged; `manual` counts what has a manual control alone."""
    found = mapped(framework, controls).values()
    judged = sum(any(control.status == "active" for control in those) for those in found)
    return Share(judged, sum(bool(those) for those in found) - judged, len(found))


def coverage_page(catalogue: Catalogue) -> str:
    """`coverage.md`."""
    return "".join(_blocks(catalogue))


def _blocks(catalogue: Catalogue) -> Iterator[str]:
    controls = list(catalogue.controls.values())
    known = catalogue.frameworks
    ordered = [known[name] for name in (*VENDORS_OWN, *(it for it in known if it not in VENDORS_OWN)) if name in known]
    yield HEADER + _INTRODUCTION
    contents = [("Microsoft Secure Score", "microsoft"), *((framework.name, framework.id) for framework in ordered)]
    yield bullets(link(text(title), f"#{name}") for title, name in contents) + "\n"
    yield f"{anchor('microsoft')}## Microsoft Secure Score\n\n"
    for product, prefix in MICROSOFT.items():
        yield from _microsoft(product, prefix, controls)
    for framework in ordered:
        yield from _framework(framework, controls)
    yield definitions(PAGE, controls)


def _microsoft(product: Product, prefix: str, controls: Iterable[Control]) -> Iterator[str]:
    theirs = {alias: c for c in controls for alias in c.aliases if alias.startswith(prefix)}
    points = sum(control.points for control in theirs.values())
    yield f"### {PRODUCT_NAMES[product]}\n\n{len(theirs)} of Microsoft's controls, {points:g} points.\n\n"
    rows = [(code(alias), f"{c.points:g}", named(c), text(c.title)) for alias, c in sorted(theirs.items())]
    yield table(("Microsoft's id", "points", "control", "title"), rows)


def _framework(framework: Framework, controls: list[Control]) -> Iterator[str]:
    yield f"{anchor(framework.id)}## {text(framework.name)}\n\n"
    terms = f" ({link('licence', framework.licence_url)})" if framework.licence_url else ""
    source = link(text(framework.publisher), framework.url)
    yield f"Version {text(framework.version)}, by {source}. {text(framework.licence)}{terms}\n\n"
    if framework.notice:
        yield f"> {text(framework.notice)}\n\n"
    if framework.id in VENDORS_OWN:
        yield _share_in_words(share_covered(framework, controls))
    yield _requirements(framework, mapped(framework, controls))


def _requirements(framework: Framework, found: Mapping[str, list[Control]]) -> str:
    """All ids with their controls, and with titles where the catalogue has any."""
    if any(reference.title for reference in framework.ids):
        head = ("id", "title", "controls")
        return table(head, [(text(it.id), text(it.title or ""), _controls(found[it.id])) for it in framework.ids])
    return table(("id", "controls"), [(_id(framework, it.id), _controls(found[it.id])) for it in framework.ids])


def _id(framework: Framework, name: str) -> str:
    address = f"{framework.url.rpartition('/')[0]}/{name}.html"
    return link(text(name), address) if framework.id in PAGE_PER_ID else text(name)


def _controls(those: list[Control]) -> str:
    return ", ".join(map(named, those)) or "-"


def _share_in_words(share: Share) -> str:
    more = f"; manual controls ask for {share.manual} more" if share.manual else ""
    return f"**{share.judged} of {share.total} ({share.percent:.1f} %)** are judged by a control{more}.\n\n"
