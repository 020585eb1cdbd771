"""The page about Python and the notebook run as they stand there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
NOTEBOOK = DOCS / "first_run.ipynb"

pytestmark = pytest.mark.skipif(not NOTEBOOK.is_file(), reason="the pages belong to a checkout")


def blocks() -> list[str]:
    """The blocks of Python in the page."""
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / "python.md").read_text(), re.M | re.S)


def test_the_notebook_has_no_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []


def test_every_block_imports_what_it_uses() -> None:
    for block in blocks():
        assert "kd_runner." not in block or re.search("^(import|from) kd_runner", block, re.M)
        assert ("kd_runner.run(" in block) <= ("import kd_runner\n" in block)


@pytest.mark.slow
def test_every_block_of_the_page_is_one_program(tmp_path: Path) -> None:
    found = blocks()
    assert len(found) == 3
    (tmp_path / "program.py").write_text("\n".join(found))
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "On the 539 test images:" in done.stdout
    assert re.findall(r"^Distillation gave ([+-])", done.stdout, re.M) == ["+", "+"]  # of each run


@pytest.mark.slow
def test_the_notebook_shows_tables_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("ipykernel", reason='pip install "kd-runner[dev]": there is no kernel for notebooks')
    nbclient = pytest.importorskip("nbclient", reason='pip install "kd-runner[dev]": nothing runs notebooks')
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown, numbers, own, predicted = (cell.outputs for cell in notebook.cells if cell.cell_type == "code")
    assert shown[0]["data"]["text/html"].count("<img") >= 4
    assert "<table>" in shown[0]["data"]["text/html"]
    assert numbers[0]["text"].startswith("gain +")
    assert "Distillation gave +" in own[0]["text"]
    assert predicted[-1]["data"]["text/plain"].startswith("tensor")
    assert len(list((tmp_path / "outputs" / "store").iterdir())) == 2
