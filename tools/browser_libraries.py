"""Bring the libraries of the interactive page up to date: `python tools/browser_libraries.py`, which needs npm.

Each library is fetched in the version that stands below, cut down to the parts that the page uses, and written as text
into kd_runner/reports/browser, with its licence at its head. `libraries.json` there says versions, sizes and SHA-256.
To take a newer version, change it here, run this, and look at the page of a large sweep:
`python benchmarks/report_scale.py --runs 2000 --keep /tmp/scale`.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "kd_runner" / "reports" / "browser"
TABULATOR, ECHARTS, ESBUILD = "6.5.3", "6.1.0", "0.28.2"
PARTS = {
    "tabulator": (
        TABULATOR,
        """
        import { Tabulator, SortModule, FilterModule, FormatModule, InteractionModule, ResizeColumnsModule,
          SelectRowModule, FrozenColumnsModule, ResizeTableModule } from "tabulator-tables";
        Tabulator.registerModule([SortModule, FilterModule, FormatModule, InteractionModule, ResizeColumnsModule,
          SelectRowModule, FrozenColumnsModule, ResizeTableModule]);
        export { Tabulator };
        """,
    ),
    "echarts": (
        ECHARTS,
        """
        import { init, use } from "echarts/core";
        import { ScatterChart, LineChart, HeatmapChart, ParallelChart } from "echarts/charts";
        import { GridComponent, TooltipComponent, VisualMapComponent, ParallelComponent, DataZoomInsideComponent }
          from "echarts/components";
        import { CanvasRenderer } from "echarts/renderers";
        use([ScatterChart, LineChart, HeatmapChart, ParallelChart, GridComponent, TooltipComponent, VisualMapComponent,
          ParallelComponent, DataZoomInsideComponent, CanvasRenderer]);
        export { init };
        """,
    ),
}
PACKAGES = {"tabulator": ["tabulator-tables"], "echarts": ["echarts", "zrender", "tslib"]}  # that a part is made of


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        wanted = [f"tabulator-tables@{TABULATOR}", f"echarts@{ECHARTS}", f"esbuild@{ESBUILD}"]
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", *wanted], cwd=folder, check=True)
        record = {}
        for name, (version, source) in PARTS.items():
            script = licences(folder, name, version) + bundle(folder, name, source)
            (TARGET / f"{name}.min.js").write_text(script, encoding="utf-8")
            record[f"{name}.min.js"] = about(script, version)
        style = (folder / "node_modules/tabulator-tables/dist/css/tabulator_simple.min.css").read_text(encoding="utf-8")
        style = style.partition("/*# sourceMappingURL")[0].strip() + "\n"
        (TARGET / "tabulator.min.css").write_text(style, encoding="utf-8")
        record["tabulator.min.css"] = about(style, TABULATOR)
        (TARGET / "libraries.json").write_text(json.dumps(record, indent=2) + "\n")
        print(json.dumps(record, indent=2))


def bundle(folder: Path, name: str, source: str) -> str:
    """The script of the parts of a library that are used, as a global variable of its name."""
    (folder / f"{name}.js").write_text(source)
    command = ["node_modules/.bin/esbuild", f"{name}.js", "--bundle", "--minify", "--format=iife", "--line-limit=400"]
    more = [f"--global-name={name}", "--legal-comments=none", "--charset=ascii", "--target=es2020"]
    script = subprocess.run([*command, *more], cwd=folder, check=True, capture_output=True, text=True).stdout
    if "</script" in script.lower() or "<!--" in script:
        raise SystemExit(f"{name} cannot stand in a page as it is")
    return script


def licences(folder: Path, name: str, version: str) -> str:
    """A comment with the licences of what a library is made of; of the Apache License its notice, which names it."""
    texts = [f"{name} {version}, the parts that kd-runner uses"]
    for package in PACKAGES[name]:
        home = folder / "node_modules" / package
        about = json.loads((home / "package.json").read_text())
        text = next(home.glob("LICENSE*")).read_text()
        if "Apache License" in text:
            notice = (home / "NOTICE").read_text().strip()
            text = f"{notice}\n\nLicensed under the Apache License, Version 2.0: see LICENSE beside kd-runner."
            text += "".join(f"\n\n{path.read_text().strip()}" for path in sorted((home / "licenses").glob("*")))
        texts.append(f"{package} {about['version']} ({about['license']})\n\n{text.strip()}")
    return "/*!\n" + "\n\n----\n\n".join(texts).replace("*/", "* /") + "\n*/\n"


def about(content: str, version: str) -> dict[str, str | int]:
    """The version, the bytes and the SHA-256 of a file."""
    raw = content.encode()
    return {"version": version, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


if __name__ == "__main__":
    main()
