"""An operator's folder adds controls, stands in for shipped ones, sets parameters and leaves controls out."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from plumbline_contracts.events import Product
from plumbline_evaluator import catalogues
from plumbline_evaluator.catalogue.loading import Catalogue, CatalogueError, load, nothing_in
from plumbline_evaluator.catalogues import Catalogues
from plumbline_evaluator.cli import app
from typer.testing import CliRunner

from tests.polling import until

CONTROLS = Path(__file__).parents[3] / "controls"
SHIPPED = ("SF-ID-45", "SF-ID-46")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A catalogue of two controls."""
    folder = tmp_path / "controls"
    (folder / "salesforce").mkdir(parents=True)
    shutil.copy(CONTROLS / "catalogue.yaml", folder)
    shutil.copytree(CONTROLS / "frameworks", folder / "frameworks")
    for control in SHIPPED:
        shutil.copy(CONTROLS / "salesforce" / f"{control}.yaml", folder / "salesforce")
    return folder


@pytest.fixture
def custom(tmp_path: Path) -> Path:
    folder = tmp_path / "custom"
    folder.mkdir()
    return folder


def _copy(custom: Path, control: str, name: str, *, place: str = "", **changed: tuple[str, str]) -> Path:
    text = (CONTROLS / "salesforce" / f"{control}.yaml").read_text().replace(f"id: {control}", f"id: {name}", 1)
    for old, new in changed.values():
        assert old in text
        text = text.replace(old, new, 1)
    path = custom / place / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("place", ["", "salesforce"])
def test_a_control_of_the_operators_own_is_added(folder: Path, custom: Path, place: str) -> None:
    _copy(custom, "SF-ID-45", "ACME-01", place=place)
    catalogue = load(folder, custom)
    assert sorted(catalogue.controls) == ["ACME-01", *SHIPPED]
    assert len(catalogue.plans[Product.SALESFORCE].controls) == 3
    assert catalogue.digest != load(folder).digest


def test_a_control_with_a_shipped_id_takes_its_place(folder: Path, custom: Path) -> None:
    _copy(custom, "SF-ID-45", "SF-ID-45", title=("title: No dormant users", "title: Nobody sleeps"))
    catalogue = load(folder, custom)
    assert sorted(catalogue.controls) == [*SHIPPED]
    assert catalogue.controls["SF-ID-45"].title == "Nobody sleeps"
    assert catalogue.digests["SF-ID-45"] != load(folder).digests["SF-ID-45"]
    assert catalogue.digests["SF-ID-46"] == load(folder).digests["SF-ID-46"]


def test_a_framework_of_the_operators_own_is_known(folder: Path, custom: Path) -> None:
    own = (CONTROLS / "frameworks" / "soc2.yaml").read_text().replace("id: soc2", "id: acme", 1)
    (custom / "frameworks").mkdir()
    (custom / "frameworks" / "acme.yaml").write_text(own)
    _copy(custom, "SF-ID-45", "ACME-01", framework=("soc2: [CC6.2]", "acme: [CC6.2]"))
    assert load(folder, custom).controls["ACME-01"].frameworks["acme"] == ["CC6.2"]


def test_ids_of_the_operators_own_are_added_to_a_shipped_framework(folder: Path, custom: Path) -> None:
    (custom / "frameworks").mkdir()
    own = {"id": "soc2", "name": "N", "version": "1", "publisher": "P", "url": "https://example.com", "licence": "L"}
    (custom / "frameworks" / "soc2.yaml").write_text(json.dumps({**own, "ids": [{"id": "OWN-1"}, {"id": "CC6.2"}]}))
    _copy(custom, "SF-ID-45", "ACME-01", framework=("soc2: [CC6.2]", "soc2: [CC6.2, OWN-1]"))
    shipped, both = load(folder).frameworks["soc2"], load(folder, custom).frameworks["soc2"]
    assert [reference.id for reference in both.ids] == [*(reference.id for reference in shipped.ids), "OWN-1"]
    assert both.name == shipped.name


def test_overrides_set_defaults_within_bounds_and_leave_controls_out(folder: Path, custom: Path) -> None:
    (custom / "overrides.yaml").write_text("parameters: {SF-ID-45: {max_idle_days: 30}}\ndisabled: [SF-ID-46]\n")
    catalogue = load(folder, custom)
    assert list(catalogue.controls) == ["SF-ID-45"]
    assert catalogue.controls["SF-ID-45"].params["max_idle_days"].default == 30
    assert catalogue.digests["SF-ID-45"] != load(folder).digests["SF-ID-45"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("disabled:\n- SF-ID-99\n", ":2: disabled.0: there is no control SF-ID-99"),
        ("parameters:\n  SF-ID-99: {}\n", ":2: parameters.SF-ID-99: there is no control SF-ID-99"),
        ("parameters: {SF-ID-45: {days: 1}}", "days: SF-ID-45 has no such parameter; it has max_idle_days"),
        ("parameters: {SF-ID-45: {max_idle_days: 1}}", "max_idle_days: 1 is below the minimum of 7"),
        ("parameters: {SF-ID-45: {max_idle_days: x}}", "max_idle_days: expected int, got 'x'"),
        ("without: [SF-ID-45]", "without: unknown key; known here: parameters, disabled"),
        ("disabled: [", "not YAML"),
        ("disabled: SF-ID-45", "disabled: Input should be a valid list"),
        ("[]", "Input should be"),
    ],
)
def test_a_mistake_in_the_overrides_is_refused_with_its_line(
    folder: Path, custom: Path, text: str, message: str
) -> None:
    (custom / "overrides.yaml").write_text(text)
    with pytest.raises(CatalogueError) as caught:
        load(folder, custom)
    assert str(caught.value).startswith(f"{custom / 'overrides.yaml'}:")
    assert message in str(caught.value)


@pytest.mark.parametrize("other", ["without: [SF-ID-45]", "disabled: SF-ID-45", "disabled: [SF-ID-46, SF-ID-99]"])
def test_one_mistake_in_the_overrides_hides_no_other(folder: Path, custom: Path, other: str) -> None:
    (custom / "overrides.yaml").write_text(
        f"parameters:\n  SF-ID-45: {{max_idle_days: 1}}\n  SF-ID-98: {{}}\n{other}\n"
    )
    with pytest.raises(CatalogueError) as caught:
        load(folder, custom)
    lines = [problem.removeprefix(f"{custom / 'overrides.yaml'}:").split(":")[0] for problem in caught.value.problems]
    assert sorted(lines) == ["2", "3", "4"]


def test_overrides_name_a_control_by_its_alias(folder: Path, custom: Path) -> None:
    alias = "MDA_SF_requireHttpOnly"
    shutil.copy(CONTROLS / "salesforce" / "SF-ID-25.yaml", folder / "salesforce")
    assert alias in load(folder).controls["SF-ID-25"].aliases
    _copy(custom, "SF-ID-45", "SF-ID-45", alias=("product: salesforce", "product: salesforce\naliases: [ACME_idle]"))
    (custom / "overrides.yaml").write_text(f"parameters: {{ACME_idle: {{max_idle_days: 30}}}}\ndisabled: [{alias}]\n")
    catalogue = load(folder, custom)
    assert list(catalogue.controls) == [*SHIPPED]
    assert catalogue.controls["SF-ID-45"].params["max_idle_days"].default == 30
    (custom / "overrides.yaml").write_text("parameters: {ACME_idle: {}, SF-ID-45: {}}")
    with pytest.raises(CatalogueError, match="SF-ID-45 and ACME_idle are one control; write its parameters once"):
        load(folder, custom)


def test_a_folder_with_nothing_in_it_is_told(folder: Path, custom: Path) -> None:
    (custom / "..data").mkdir()
    (custom / "README").write_text("soon")
    told = f"{custom}: no control, framework or overrides.yaml in it; fill the folder, or do not name it"
    assert nothing_in(custom) == told
    watched = Watched(folder, custom)
    assert watched.catalogues.status.splitlines()[1:] == [told]
    assert watched.catalogues.problems == []
    refused = CliRunner().invoke(app, ["controls", "lint", f"--controls={folder}", f"--custom={custom}"])
    assert (refused.exit_code, refused.stderr.strip()) == (1, told)
    (custom / "overrides.yaml").write_text("disabled: [SF-ID-46]")
    assert nothing_in(custom) is None
    assert Watched(folder, custom).catalogues.status.splitlines()[1:] == []
    assert CliRunner().invoke(app, ["controls", "lint", f"--controls={folder}", f"--custom={custom}"]).exit_code == 0


def test_an_expression_beyond_measure_is_not_repeated_whole(folder: Path, custom: Path) -> None:
    for number, wrong in enumerate(("nobody", "params.nobody", "age_days", "username.matches('(')")):
        long = " && ".join([wrong, *["is_frozen"] * 300])
        _copy(custom, "SF-ID-45", f"ACME-0{number}", change=("idle_days <= params.max_idle_days", long),
              title=("title: No dormant users", f"title: Number {number}"))  # fmt: skip
    with pytest.raises(CatalogueError) as caught:
        load(folder, custom)
    assert len(caught.value.problems) == 4
    assert max(map(len, caught.value.problems)) < len(str(custom)) + 700


def test_shipped_controls_can_be_had_as_their_authors_wrote_them(folder: Path, custom: Path) -> None:
    _copy(custom, "SF-ID-45", "ACME-01")
    (custom / "overrides.yaml").write_text("parameters: {SF-ID-45: {max_idle_days: 30}}\ndisabled: [SF-ID-46]\n")
    catalogue = load(folder, custom, with_overrides=False)
    assert sorted(catalogue.controls) == ["ACME-01", *SHIPPED]
    assert catalogue.digests["SF-ID-45"] == load(folder).digests["SF-ID-45"]


def test_a_folder_that_cannot_be_listed_is_refused(folder: Path, custom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (custom / "salesforce").mkdir()
    listed = os.scandir

    def refuse(place: Path) -> object:
        if place == custom / "salesforce":
            raise PermissionError(13, "Permission denied")
        return listed(place)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CatalogueError, match="salesforce: the folder cannot be read: Permission denied"):
        load(folder, custom)


def test_a_pipe_is_no_file(folder: Path, custom: Path) -> None:
    os.mkfifo(custom / "ACME-01.yaml")
    with pytest.raises(CatalogueError, match=r"ACME-01\.yaml:1: not a file"):
        load(folder, custom)


@pytest.mark.parametrize("title", ["''", '"\\e[31mred"'])
def test_a_title_has_words_and_nothing_that_steers_a_terminal(folder: Path, custom: Path, title: str) -> None:
    _copy(custom, "SF-ID-45", "ACME-01", title=("title: No dormant users", f"title: {title}"))
    with pytest.raises(CatalogueError, match=r"ACME-01\.yaml:3: title: String should"):
        load(folder, custom)


def test_an_alias_belongs_to_one_control(folder: Path, custom: Path) -> None:
    path = _copy(custom, "SF-ID-45", "ACME-01", alias=("points: 4", "points: 4\naliases: [X-1]"))
    _copy(custom, "SF-ID-45", "ACME-02", alias=("points: 4", "points: 4\naliases: [X-1]"))
    with pytest.raises(CatalogueError, match=rf"ACME-02\.yaml:\d+: aliases: alias X-1 is also in {path}"):
        load(folder, custom)


@pytest.mark.parametrize("name", ["ACME-01.yml", "hubspot/ACME-01.yaml", "salesforce/deep/ACME-01.yaml"])
def test_a_file_that_would_not_be_read_is_refused(folder: Path, custom: Path, name: str) -> None:
    (custom / name).parent.mkdir(parents=True, exist_ok=True)
    (custom / name).write_text("id: ACME-01\n")
    with pytest.raises(CatalogueError, match="not read: "):
        load(folder, custom)


def test_a_folder_that_is_not_there_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="missing: the folder of custom controls is not there; mount it"):
        load(folder, tmp_path / "missing")


def test_the_links_and_hidden_folders_of_a_mounted_configmap_are_understood(folder: Path, custom: Path) -> None:
    _copy(custom / "..2026_11_24", "SF-ID-45", "ACME-01")
    (custom / "..data").symlink_to("..2026_11_24")
    (custom / "ACME-01.yaml").symlink_to("..data/ACME-01.yaml")
    assert "ACME-01" in load(folder, custom).controls


class Watched:
    """Catalogues that look at their folders in the background, and what they published."""

    def __init__(self, folder: Path, custom: Path) -> None:
        self.catalogues = Catalogues(folder, custom)
        self.published: list[list[str]] = []

    async def publish(self, catalogue: Catalogue, former: Catalogue) -> None:
        assert self.catalogues.current is former, "a catalogue is in force before it is published"
        self.published.append(sorted(catalogue.controls.keys() - former.controls.keys()))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogues, "WATCH_SECONDS", 0.01)


@pytest.mark.usefixtures("quick")
def test_a_changed_folder_is_taken_and_a_broken_one_leaves_the_last_good_catalogue(folder: Path, custom: Path) -> None:
    async def play() -> None:
        watched = Watched(folder, custom)
        first = watched.catalogues.current
        watching = asyncio.create_task(watched.catalogues.watch(watched.publish))
        path = await asyncio.to_thread(_copy, custom, "SF-ID-45", "ACME-01")
        await _until(lambda: watched.catalogues.current is not first)
        second = watched.catalogues.current
        assert watched.published == [["ACME-01"]]
        assert "3 controls\n" in watched.catalogues.status
        path.write_text(path.read_text().replace("kind: rows", "kind: columns"))
        await _until(lambda: bool(watched.catalogues.problems))
        assert watched.catalogues.current is second
        assert f"the last good one; the folder cannot be used:\n  {path}:" in watched.catalogues.status
        await asyncio.to_thread(os.remove, path)
        await _until(lambda: not watched.catalogues.problems)
        assert watched.catalogues.current.digest == first.digest
        watching.cancel()

    asyncio.run(play())


async def _until(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(until, condition, within_seconds=20, what="the folder is looked at")
