"""The reference pages of the catalogue: whole, linked, escaped, and compared with the folder that holds them."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, normpath
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from plumbline_contracts.dataset_pages import dataset_page
from plumbline_evaluator.catalogue.loading import Catalogue, load
from plumbline_evaluator.catalogue.model import Control
from plumbline_evaluator.cli import app
from plumbline_evaluator.pages import control_pages
from plumbline_evaluator.pages.coverage import Share, share_covered
from plumbline_evaluator.pages.markdown import HEADER, code, link, table, text
from plumbline_evaluator.pages.wording import check_in_words, gates_in_words
from typer.testing import CliRunner

CONTROLS = Path(__file__).parents[3] / "controls"
RENDERED_BYTES = 500_000
"""Of a longer page GitHub shows the beginning."""

MARKDOWN = MarkdownIt("commonmark").enable("table")
Pages = dict[str, str]
Json = dict[str, Any]

REMEDIATION = {"steps": ["Open Setup.", "Set it, and save."], "verify": "It is set."}
COMMON: Json = {
    "version": 1, "category": "Identity", "severity": "medium", "points": 4, "user_impact": "low",
    "implementation_cost": "low", "description": "Judges it.", "rationale": "It matters.", "remediation": REMEDIATION,
}  # fmt: skip
DOCUMENT = {
    "kind": "document", "dataset": "password_policies", "pass": "minimum_password_length >= params.least",
    "expected": "at least {least} characters",
}  # fmt: skip
PARAMS = {"least": {"type": "int", "default": 8, "minimum": 8, "maximum": 50, "description": "Fewest | most"}}
SESSIONS = {"kind": "document", "dataset": "session_settings", "pass": "enable_csrf_on_get", "expected": "on"}
PROPERTY = {
    "kind": "property", "property": "a.b", "type": "bool", "pass": "value", "expected": "true",
    "absent": {"value": "false", "releases": [{"until": "zurich", "outcome": "NOT_APPLICABLE"}]},
}  # fmt: skip
TINY = (
    {"id": "SF-A", "product": "salesforce", "title": "Long | <b>strong</b> passwords", "check": DOCUMENT,
     "params": PARAMS, "aliases": ["MDA_SF_length", "OTHER_length"],
     "frameworks": {"salesforce_health_check": ["HC-1"], "attack": ["T1"]}},
    {"id": "SF-B", "product": "salesforce", "title": "Looked at", "status": "manual",
     "manual_reason": "Nobody reads it.", "frameworks": {"salesforce_health_check": ["HC-1", "HC-2"]}},
    {"id": "SF-C", "product": "salesforce", "title": "Given up", "status": "retired", "check": SESSIONS, "points": 7,
     "frameworks": {"salesforce_health_check": ["HC-3"]}},
    {"id": "SNOW-A", "product": "servicenow", "title": "Set", "category": "Apps", "check": PROPERTY, "points": 3,
     "aliases": ["MDA_SNOW_set"], "frameworks": {"servicenow_hardening": ["sc-one"]}},
)  # fmt: skip
FRAMEWORK = {
    "name": "N",
    "version": "1",
    "publisher": "P",
    "url": "https://example.com/sc/all.html",
    "licence": "Free.",
}
FRAMEWORKS: dict[str, Json] = {
    "attack": {"notice": "Copied with *permission*.", "ids": [{"id": "T1", "title": "Guessing"}]},
    "salesforce_health_check": {"ids": [{"id": f"HC-{number}"} for number in (1, 2, 3, 4)]},
    "servicenow_hardening": {"ids": [{"id": f"sc-{name}"} for name in ("one", "two", "three")]},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A catalogue of four controls and three frameworks."""
    folder = tmp_path / "controls"
    folder.mkdir()
    shutil.copy(CONTROLS / "catalogue.yaml", folder)
    for control in TINY:
        _write(folder / str(control["product"]) / f"{control['id']}.yaml", {**COMMON, **control})
    for name, framework in FRAMEWORKS.items():
        _write(folder / "frameworks" / f"{name}.yaml", {**FRAMEWORK, "id": name, **framework})
    return folder


def _write(path: Path, content: Json) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content))


@pytest.fixture
def tiny(folder: Path) -> Catalogue:
    return load(folder)


@pytest.fixture(scope="module")
def shipped() -> Catalogue:
    return load(CONTROLS)


@pytest.fixture(scope="module")
def pages(shipped: Catalogue) -> Pages:
    """The pages of the shipped catalogue."""
    return control_pages(shipped)


@pytest.fixture(scope="module")
def parsed(pages: Pages) -> dict[str, list[Token]]:
    """The blocks of these pages."""
    return {name: MARKDOWN.parse(page) for name, page in pages.items()}


def _inner(blocks: list[Token]) -> Iterator[Token]:
    """Text, code, links and the like of all blocks."""
    return (child for block in blocks for child in block.children or [])


def _links(blocks: list[Token]) -> Iterator[str]:
    return (str(token.attrs["href"]) for token in _inner(blocks) if token.type == "link_open")


def _anchors(page: str) -> list[str]:
    return re.findall(r'<a id="([^"]+)"></a>', page)


def _read(blocks: list[Token]) -> list[str]:
    """What a reader sees of each block: text and code, without markup."""
    return ["".join(child.content for child in block.children or []) for block in blocks if block.type == "inline"]


def _shown(markdown: str) -> list[str]:
    return _read(MARKDOWN.parse(markdown))


def _section(page: str, control: str) -> str:
    """The section of a control, to the next one, the next chapter or the links at the end."""
    return re.split(r"\n(?:<a id=|## |\[)", page.split(f'<a id="{control.lower()}"></a>\n', 1)[1], maxsplit=1)[0]


def test_every_control_has_one_section(shipped: Catalogue, pages: Pages) -> None:
    anchors = Counter(anchor for page in pages.values() for anchor in _anchors(page))
    headings = Counter(re.findall(r"^### (\S+): ", "".join(pages.values()), re.MULTILINE))
    assert headings == Counter(list(shipped.controls))
    assert {anchors[control.lower()] for control in shipped.controls} == {1}


def test_every_anchor_is_the_only_one_of_its_page(pages: Pages) -> None:
    for name, page in pages.items():
        assert [anchor for anchor, count in Counter(_anchors(page)).items() if count > 1] == [], name


def test_every_link_leads_somewhere(pages: Pages, parsed: dict[str, list[Token]]) -> None:
    there = {"../datasets.md": dataset_page(), **pages}
    broken = []
    for name, blocks in parsed.items():
        for href in _links(blocks):
            if href.startswith("https://"):
                continue
            path, _, anchor = unquote(href).partition("#")
            target = normpath(f"{dirname(name)}/{path}".lstrip("/")) if path else name
            if target not in there or (anchor and anchor not in _anchors(there[target])):
                broken.append(f"{name}: {href}")
    assert broken == []


def test_no_link_lacks_its_address(shipped: Catalogue, parsed: dict[str, list[Token]]) -> None:
    """`[SF-ID-01]` without a definition at the end of the page would show its brackets."""
    labels = {*shipped.controls, *(framework.name for framework in shipped.frameworks.values())}
    for name, blocks in parsed.items():
        words = [token.content for token in _inner(blocks) if token.type == "text"]
        bare = [word for word in words for label in re.findall(r"\[([^\]]+)\]", word) if label in labels]
        assert bare == [], name
        assert [word for word in words if word.endswith("[")] == [], name


def test_no_page_is_too_large_to_be_rendered(pages: Pages) -> None:
    sizes = {name: len(page.encode()) for name, page in pages.items()}
    assert {name: size for name, size in sizes.items() if size > RENDERED_BYTES} == {}


def test_every_text_of_a_control_is_shown_as_it_stands(shipped: Catalogue, parsed: dict[str, list[Token]]) -> None:
    seen = "\n".join(line for blocks in parsed.values() for line in _read(blocks))
    for control in shipped.controls.values():
        texts = [control.title, control.description, control.rationale, *control.remediation.steps]
        texts += [
            it for it in (control.remediation.side_effects, control.remediation.verify, control.manual_reason) if it
        ]
        assert [it for it in texts if " ".join(it.split()) not in seen] == [], control.id


def test_a_section_says_all_that_a_control_declares(tiny: Catalogue) -> None:
    section = _section(control_pages(tiny)["salesforce/identity.md"], "SF-A")
    for line in (
        "### SF-A: Long \\| \\<b>strong\\</b> passwords",
        "| 4 | medium | low | low | 1 | `MDA_SF_length`, `OTHER_length` |",
        "**Judged.** Judges it.",
        "**Why.** It matters.",
        "- Document `password_policies`: expected *at least 8 characters*.",
        "- Passes when `minimum_password_length >= params.least`.",
        "| `least` | int | `8` | 8 to 50 | Fewest \\| most |",
        "| [`password_policies`] | `minimum_password_length` | SecuritySettings | View Setup and Configuration |",
        "1. Open Setup.\n2. Set it, and save.",
        "**Verify.** It is set.",
        "- [N] T1 (Guessing)",
    ):
        assert line in section


def test_a_manual_and_a_retired_control_stand_apart_with_the_reason(tiny: Catalogue) -> None:
    pages = control_pages(tiny)
    judged, product = pages["salesforce/identity.md"], pages["salesforce.md"]
    assert re.findall("^### (.*):", judged, re.MULTILINE) == ["SF-A"]
    assert re.findall("^##+ ([^:\n]*)", product, re.MULTILINE) == [
        "Manual controls",
        "SF-B",
        "Retired controls",
        "SF-C",
    ]
    assert "**Not judged.** Nobody reads it." in _section(product, "SF-B")
    assert "| [SF-B] (manual) | Looked at | Identity | medium | 4 | manual |" in product


def test_the_notice_of_a_framework_stands_where_its_titles_do(tiny: Catalogue) -> None:
    notice = {name: "Copied with \\*permission\\*." in page for name, page in control_pages(tiny).items()}
    assert [name for name, is_there in notice.items() if is_there] == ["coverage.md", "salesforce/identity.md"]


def test_the_first_page_counts_what_is_judged(tiny: Catalogue) -> None:
    page = control_pages(tiny)["index.md"]
    assert "| [Salesforce](salesforce.md) | 1 | 1 | 1 | 4 |" in page
    assert "| [ServiceNow](servicenow.md) | 1 | 0 | 0 | 3 |" in page
    assert "| Identity | [2](salesforce/identity.md) | 4 | 0 | 0 |" in page
    assert "| medium | 2 | 4 | 1 | 3 |" in page
    assert "| property | 0 | 0 | 1 | 3 |" in page


def test_coverage_counts_a_requirement_once_and_a_manual_control_apart(tiny: Catalogue) -> None:
    controls = list(tiny.controls.values())
    assert share_covered(tiny.frameworks["salesforce_health_check"], controls) == Share(judged=1, manual=1, total=4)
    assert share_covered(tiny.frameworks["servicenow_hardening"], controls) == Share(judged=1, manual=0, total=3)
    page = control_pages(tiny)["coverage.md"]
    assert "**1 of 4 (25.0 %)** are judged by a control; manual controls ask for 1 more." in page
    assert "**1 of 3 (33.3 %)** are judged by a control." in page
    assert "| HC-1 | [SF-A], [SF-B] (manual) |\n| HC-2 | [SF-B] (manual) |\n| HC-3 | - |\n| HC-4 | - |" in page
    assert "| [sc-one](https://example.com/sc/sc-one.html) | [SNOW-A] |" in page
    assert "| T1 | Guessing | [SF-A] |" in page


def test_coverage_lists_microsofts_ids_with_their_points(tiny: Catalogue) -> None:
    page = control_pages(tiny)["coverage.md"]
    assert "1 of Microsoft's controls, 4 points." in page
    assert "| `MDA_SF_length` | 4 | [SF-A] | Long \\| \\<b>strong\\</b> passwords |" in page
    assert "| `MDA_SNOW_set` | 3 | [SNOW-A] | Set |" in page
    assert "OTHER_length" not in page


PIECES = st.sampled_from(
    [*"\\`*_[]<>~|&#$!()-+=.:;1aé \n", "&amp;", "](x)", "<b>", "1. ", "- ", "# ", "__", "`` ", "[x]: y"]
)
PLAIN = st.lists(PIECES, max_size=12).map("".join)


@given(PLAIN.filter(str.strip))
def test_text_shows_as_it_is(plain: str) -> None:
    whole = " ".join(plain.split())
    cells = table(("head", "other"), [(text(plain), "x"), ("y", text(plain))])
    assert _shown(cells) == ["head", "other", whole, "x", "y", whole]
    assert _shown(f"1. {text(plain)}\n2. next\n") == [whole, "next"]
    assert _shown(f"### A: {text(plain)}\n\n**Why.** {text(plain)}\n") == [f"A: {whole}", f"Why. {whole}"]
    assert _shown(f"{link(text(plain), 'https://x/(a) b')} *{text(f'a{plain}b')}*\n")[0].startswith(f"{whole} a")


@given(PLAIN.filter(str.strip))
def test_code_shows_as_it_is(plain: str) -> None:
    line = re.sub(r"\s*\n\s*", " ", plain)
    assert _shown(f"Passes when {code(plain)}.\n") == [f"Passes when {line}."]


ROWS = {
    "kind": "rows", "dataset": "users", "population": "active users", "exposed": "without a login",
    "expected": "a login", "where": "is_standard && !(username in params.allowed_users)", "pass": "has_logged_in",
    "target_percent": "params.target",
}  # fmt: skip
EVERYBODY = {**ROWS, "where": "true", "target_percent": 100}
COUNT = {
    "kind": "count", "dataset": "users", "population": "administrators", "where": "is_frozen", "of": "true",
    "expected": "few", "bands": [
        {"max": 0, "share": 0}, {"min": 1, "max": "params.most", "max_percent": 2, "share": 1},
        {"min": 9, "share": 0.25},
    ],
}  # fmt: skip
ROW = {
    "kind": "row", "dataset": "plugins", "match": {"name": "x"}, "pass": "is_active", "expected": "active",
    "absent": "FAIL",
}  # fmt: skip
NUMBERS = {
    name: {"type": "int", "default": default, "minimum": 1, "maximum": 99, "description": "N"}
    for name, default in {"most": 3, "target": 90}.items()
} | {"allowed_users": {"type": "string_list", "default": [], "description": "U"}}


def _control(check: Json, **further: object) -> Control:
    fields = {**COMMON, "id": "X", "product": "servicenow", "title": "T", "params": NUMBERS, "check": check, **further}
    return Control.model_validate(fields)


@pytest.mark.parametrize(
    ("check", "lines"),
    [
        (
            ROWS,
            [
                "Each of the active users in `users`: expected *a login*.",
                "Passes when `has_logged_in`.",
                "Population: rows where `is_standard && !(username in params.allowed_users)`.",
                "Left out by parameter: `allowed_users`.",
                "Exposed: active users without a login.",
                "Points: all from 90 % (`target`) on, below in proportion.",
                "Without such rows: NOT_APPLICABLE.",
            ],
        ),
        (
            {**EVERYBODY, "pass": "username in params.allowed_users", "absent": "PASS"},
            [
                "Each of the active users in `users`: expected *a login*.",
                "Passes when `username in params.allowed_users`.",
                "Accepted by parameter: `allowed_users`.",
                "Population: every row.",
                "Exposed: active users without a login.",
                "Points: in proportion to those that comply.",
                "Without such rows: PASS.",
            ],
        ),
        (
            COUNT,
            [
                "Number of administrators in `users`: expected *few*.",
                "Reference population: every row.",
                "Counted: rows where `is_frozen`.",
                (
                    "No points for none, else all points for 1 to 3 (`most`), or 2 % of the reference population "
                    "if that is more, else 25 % of the points for at least 9; otherwise no points."
                ),
            ],
        ),
        (
            {**ROW, "subject": "the X"},
            [
                "Row with `name` = `x` (the X) of `plugins`: expected *active*.",
                "Passes when `is_active`.",
                "Without the row: FAIL.",
            ],
        ),
        (
            {**DOCUMENT, "expected": "long", "partial": [{"when": "some", "share": 0.5}]},
            [
                "Document `password_policies`: expected *long*.",
                "Passes when `minimum_password_length >= params.least`.",
                "Half the points when `some`.",
                "Without the document: UNKNOWN.",
            ],
        ),
        (
            {
                **PROPERTY, "pass": "family_rank >= 26 || value",
                "absent": {
                    "outcome": "UNKNOWN",
                    "releases": [
                        {"from": "washingtondc", "until": "zurich", "value": "7"}, {"from": "brazil", "value": ""},
                    ],
                },
            },
            [
                "Property `a.b` (true or false): expected *true*.",
                "Passes when `family_rank >= 26 || value` (26 is Zurich).",
                (
                    "Without the row: UNKNOWN; from Washington DC until before Zurich `7` is in force; "
                    "from Brazil on the empty value is in force."
                ),
            ],
        ),
    ],
    ids=["rows", "all rows", "count", "row", "document", "property"],
)  # fmt: skip
def test_a_check_in_words(check: Json, lines: list[str]) -> None:
    assert check_in_words(_control(check)) == "".join(f"- {line}\n" for line in lines) + "\n"


@pytest.mark.parametrize(
    ("kind", "lead"),
    [
        ("all", "All of these must hold."),
        ("any", "One of these must hold."),
        ("share", "Each of these that holds gives an equal share of the points."),
    ],
)
def test_several_checks_in_words(kind: str, lead: str) -> None:
    words = check_in_words(_control({"kind": kind, "checks": {"a.b": PROPERTY, "Plugin": ROW}}))
    assert words == (
        f"{lead}\n\n"
        "- Property `a.b` (true or false): expected *true*.\n"
        "  - Passes when `value`.\n"
        "  - Without the row: `false` is in force; before Zurich NOT_APPLICABLE.\n"
        "- **Plugin**\n"
        "  - Row with `name` = `x` of `plugins`: expected *active*.\n"
        "  - Passes when `is_active`.\n"
        "  - Without the row: FAIL.\n\n"
    )


def test_conditions_in_words() -> None:
    conditions = [
        {"dataset": "instance", "expression": "family_rank < 28", "reason": "it is gone"},
        {"dataset": "plugins", "key": "com.x", "expression": "is_active"},
    ]
    assert gates_in_words(_control(ROW, applies_when=conditions)) == (
        "- Only where `family_rank < 28` (28 is Brazil) holds for the document `instance`; "
        "otherwise NOT_APPLICABLE: it is gone.\n"
        "- Only where `is_active` holds for the row `com.x` of `plugins`; otherwise NOT_APPLICABLE.\n\n"
    )
    assert gates_in_words(_control(ROW)) == ""


def test_the_pages_do_not_depend_on_the_order_of_sets(folder: Path, tmp_path: Path) -> None:
    command = "from plumbline_evaluator.cli import app; app()"
    written = []
    for seed in ("1", "2"):
        out = tmp_path / seed
        arguments = ["controls", "pages", "--controls", str(folder), "--out", str(out)]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", command, *arguments], check=True, env=environment)
        written.append({path.relative_to(out): path.read_text() for path in out.rglob("*.md")})
    assert len(written[0]) == 6
    assert written[0] == written[1]


def _pages(folder: Path, out: Path, *arguments: str) -> tuple[int, str]:
    command = ["controls", "pages", "--controls", str(folder), "--out", str(out), *arguments]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    return result.exit_code, result.output


def _contents(out: Path) -> dict[str, str]:
    return {path.relative_to(out).as_posix(): path.read_text() for path in out.rglob("*") if path.is_file()}


@pytest.fixture
def out(folder: Path, tmp_path: Path) -> Path:
    """A folder with the pages of the tiny catalogue."""
    out = tmp_path / "pages"
    assert _pages(folder, out) == (0, "")
    return out


def test_pages_that_were_just_written_are_current(folder: Path, tiny: Catalogue, out: Path) -> None:
    assert _contents(out) == control_pages(tiny)
    assert _pages(folder, out, "--check") == (0, "")


@pytest.mark.parametrize("name", ["index.md", "salesforce/identity.md"])
@pytest.mark.parametrize("content", ["changed", None])
def test_a_page_that_is_not_current_is_named(folder: Path, out: Path, name: str, content: str | None) -> None:
    (out / name).unlink()
    if content is not None:
        (out / name).write_text(content)
    before = _contents(out)
    status, said = _pages(folder, out, "--check")
    assert status == 1
    assert f"{out / name} is not current\n" in said
    assert said.count("is not current") == 1
    assert _contents(out) == before


@pytest.mark.parametrize("name", ["notes.md", "salesforce/apps.md", "other/deep.txt"])
def test_a_stranger_is_named_and_left_alone(folder: Path, out: Path, name: str) -> None:
    _stranger(out / name, "by hand")
    status, said = _pages(folder, out, "--check")
    assert (status, f"{out / name} is none of the pages\n" in said) == (1, True)
    assert _pages(folder, out)[0] == 0
    assert _contents(out)[name] == "by hand"


def test_a_page_of_an_earlier_catalogue_is_deleted(folder: Path, out: Path) -> None:
    _stranger(out / "salesforce" / "apps.md", f"{HEADER}# Controls for Salesforce: Apps\n")
    assert _pages(folder, out, "--check")[0] == 1
    assert _pages(folder, out) == (0, "")
    assert _pages(folder, out, "--check") == (0, "")


def _stranger(path: Path, content: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
