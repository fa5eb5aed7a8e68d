"""What the docs show must be true: every example of a spec or an environments' file is one."""

import re
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from deployments.apply import read
from deployments.environments_file import parse
from deployments.google_cloud import in_google_cloud
from deployments.machine.home import SHIPPED, Home
from releases.source_file import parse_sources
from releases.spec_file import parse_spec
from releases.yaml_text import read_yaml

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = [
    pytest.param(dedent(block), id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"```ya?ml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    )
]
OF_ENVIRONMENTS = ("environments:", "# the environments' file")


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_documented_spec_is_valid(example: str, tmp_path: Path) -> None:
    if example.startswith(OF_ENVIRONMENTS):
        read_environments(example, tmp_path)
        return
    if example.startswith("sources:"):
        parse_sources(example)
        return
    parse_spec(example)


def read_environments(example: str, tmp_path: Path) -> None:
    """As `apply` reads them; what an example leaves out is as in the file that is shipped."""
    given = read_yaml(example)
    shipped = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["environments"]["local"]
    file = tmp_path / "environments.yaml"
    described = {name: shipped | one for name, one in given.get("environments", given).items()}
    file.write_text(yaml.safe_dump({"environments": described}), encoding="utf-8")
    assert set(read(Home(tmp_path / "home"), file)) == set(described)
    known = parse(file)
    for name in [name for name, one in known.items() if one.cloud]:
        in_google_cloud(name, known, file)


def test_examples_of_environments_are_among_them() -> None:
    """A fence without a language is looked at by nobody."""
    plain = re.compile(r"^ *```\n *(?:#.*\n)*(?:environments|local|staging|production):$", re.MULTILINE)
    assert [page.name for page in PAGES if plain.search(page.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []


def test_every_picture_is_shown_somewhere() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    shown = {Path(link).name for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)}
    assert {picture.name for picture in (ROOT / "docs" / "images").iterdir()} == shown
