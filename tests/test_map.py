"""The page that leads from a number to its line of code: what it names exists, and its program gives one number thrice."""

import importlib
import re

import pytest
from logitnorm.paths import ROOT

PAGE = (ROOT / "book/map.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:study\.)?[a-z]+\.[A-Za-z_.]+)`", PAGE)) - {"metrics.csv"}))
def test_what_the_map_names_exists(name):
    module, _, function = name.partition(".") if not name.startswith("study.") else (
        ".".join(name.split(".")[:2]), "", ".".join(name.split(".")[2:]))
    found = importlib.import_module(f"logitnorm.{module}")
    for part in function.split("."):
        found = getattr(found, part)
    assert callable(found)


def test_the_program_of_the_map_gives_the_cell_of_the_table():
    [program] = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    names = {}
    exec(program, names)  # the page's own lines
    assert names["by_hand"] == pytest.approx(names["stored"]) == pytest.approx(names["cell"]["ours"].item())
