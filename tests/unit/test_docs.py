"""What is documented is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chalicelib.api.resources import RESOURCES
from chalicelib.config import documented_settings
from chalicelib.domain.errors import ERRORS
from chalicelib.domain.findings import CODES, RISKS
from chalicelib.domain.formats import PAIRS

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "REFERENCE.md").read_text()
ROUTES = [route for routes in RESOURCES for route in routes.routes]
SOURCE = "".join(p.read_text() for p in [*(ROOT / "chalicelib").rglob("*.py"), ROOT / "infra" / "template.yaml"])


def section(title: str, text: str = REFERENCE) -> str:
    """What stands below a heading, up to the next of its rank."""
    return re.split(r"^## ", text.split(f"\n## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def rows(title: str) -> list[list[str]]:
    """The rows of all tables of a section, without their heads."""
    lines = [line for line in section(title).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def table(title: str) -> dict[str, list[str]]:
    return {first.strip("`"): rest for first, *rest in rows(title)}


def test_every_route_is_documented_with_its_roles_and_nothing_else_is():
    documented = {name: cells[0] for name, cells in table("Routes").items() if name.split(" ")[0].isupper()}
    assert documented == {
        f"{r.method} {r.path}": ", ".join(role.label for role in sorted(r.roles)) or "anyone" for r in ROUTES
    }


def test_every_error_code_is_documented_with_what_to_do():
    assert {code: hint for code, (_, hint) in table("Errors").items()} == ERRORS


def test_every_finding_code_is_documented_with_when_it_comes_and_whether_it_stays():
    documented = table("Findings")
    assert {code: when for code, (_, when) in documented.items()} == CODES
    assert {code for code, (refuses, _) in documented.items() if "(risk)" in refuses} == RISKS


@pytest.mark.parametrize("code", sorted({*ERRORS, *CODES}))
def test_every_documented_code_is_given_somewhere(code):
    catalogues = 1 + (code in ERRORS and code in CODES) + (code in RISKS)
    assert len(re.findall(rf"\b{code}\b", SOURCE)) > catalogues


def test_a_finding_is_an_error_or_a_warning_as_its_row_says():
    for code, (refuses, _) in table("Findings").items():
        given = set(re.findall(rf'\b(error|warning|make|_incorrect)\(\s*"{code}"', SOURCE))
        wanted = {"yes": {"error"}, "no": {"warning"}}.get(refuses.removesuffix(" (risk)"), {"error", "warning"})
        assert given <= wanted | {"make", "_incorrect"}, code


def test_every_setting_is_documented_with_its_default_and_meaning():
    documented = table("Settings")
    for variable, default, meaning in documented_settings():
        assert documented[variable] == [f"`{default}`" if default else "(none)", meaning]


def test_every_variable_that_make_takes_is_documented():
    taken = set(
        re.findall(r"os\.environ\.get\(\"([A-Za-z_]+)\"", "".join(p.read_text() for p in ROOT.glob("infra/*.py")))
    )
    assert taken - {"EMULATOR_PYTHON", "AWS_DEFAULT_REGION"} <= set(table("Settings"))


def test_every_conversion_is_documented():
    assert {source: to[0] for source, to in table("Conversions").items()} == {
        source: ", ".join(f"`{target}`" for target in targets) for source, targets in PAIRS.items()
    }


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "REFERENCE.md", "CHANGELOG.md"])
def test_every_file_and_target_that_a_page_names_is_there(page):
    text = (ROOT / page).read_text()
    for name in re.findall(r"\]\(([A-Za-z/_.]+)\)", text):
        assert (ROOT / name).exists(), name
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    for name in re.findall(r"`((?:chalicelib|infra|tests|domain|store|functions|api)/[\w/.]+)`", text):
        assert any((base / name.split("/*")[0]).exists() for base in (ROOT, ROOT / "chalicelib")), name


def test_every_table_is_in_the_architecture():
    from chalicelib.store.tables import TABLES

    text = (ROOT / "ARCHITECTURE.md").read_text().split("\n## Tables\n", 1)[1]
    for model in TABLES:
        assert f"`{model.Meta.table_name.rpartition('-')[2]}`" in text
