"""Make the templates of `graftwork init` from this repository's own workspace, the README's table, and the schema."""

from __future__ import annotations

from pathlib import Path

from graftwork.registry import Kind, load_plugins
from graftwork.schema import schema_text
from graftwork_flows.listing import plugin_table, registry_at

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
DATA = "plugins/graftwork_plugins/data/fashion_mnist.npz"
IGNORED = (
    ".graftwork/",
    ".prefect/",
    "prefect.toml",
    "/data/raw/",
    "/data/prepared/",
    "/data/features/",
    "/data/origins/",
    "/exported/",
    "/weights/*",
    "!/weights/engine/",
    "/report/*",
    "!/report/engine/",
    "/sweep/cells/",
    "/sweep/report.html",
    "/sweep/metrics.json",
    "/sweep/curves.csv",
    "/dvc_plots/",
    "/mlruns/",
    "/dvclive/",
    "__pycache__/",
)


def templates() -> dict[str, str]:
    """Return the templates by file name; on disk they end in .template, or DVC would run the second dvc.yaml."""
    params = (ROOT / "params.yaml").read_text("utf-8")
    assert params.count(DATA) == 2 and params.count("examples/strategies") == 1
    params = params.replace(DATA, "data/fashion_mnist.npz").replace("examples/strategies", "strategies")
    example = (ROOT / "examples" / "strategies" / "centre_logits.py").read_text("utf-8")
    return {
        "params.yaml": params,
        "dvc.yaml": (ROOT / "dvc.yaml").read_text("utf-8"),
        "prefect.yaml": (ROOT / "prefect.yaml").read_text("utf-8"),
        "dvcignore": (ROOT / ".dvcignore").read_text("utf-8"),
        "gitignore": "\n".join(IGNORED) + "\n",
        "centre_logits.py": example,
        "plot.json": (ROOT / ".dvc" / "plots" / "strategies.json").read_text("utf-8"),
    }


def readme() -> str:
    """Return the README with the tables of the bundled strategies and augmentations made anew."""
    text, registry = (ROOT / "README.md").read_text("utf-8"), load_plugins()
    tables: dict[str, Kind] = {"strategies": "strategy", "augmentations": "augmentation"}
    for mark, kind in tables.items():
        start = text.index("\n", text.index(f"<!-- {mark}:begin")) + 1
        text = text[:start] + plugin_table(registry, kind) + text[text.index(f"<!-- {mark}:end") :]
    return text


if __name__ == "__main__":
    (ROOT / "README.md").write_text(readme(), "utf-8")
    (ROOT / "params.schema.json").write_text(schema_text(registry_at(ROOT)), "utf-8")
    for name, text in templates().items():
        (HERE / f"{name}.template").write_text(text, "utf-8")
