"""Make the templates of `graftwork init` from this repository's own workspace, the README's table, and the schema."""

from __future__ import annotations

from pathlib import Path

from graftwork.registry import load_plugins
from graftwork.schema import schema_text
from graftwork_flows.listing import registry_at, strategy_table

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
    "/weights/",
    "/report/",
    "/sweep/cells/",
    "/sweep/report.html",
    "/sweep/metrics.json",
    "/sweep/curves.csv",
    "/dvc_plots/",
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
        "dvcignore": (ROOT / ".dvcignore").read_text("utf-8"),
        "gitignore": "\n".join(IGNORED) + "\n",
        "centre_logits.py": example,
        "plot.json": (ROOT / ".dvc" / "plots" / "strategies.json").read_text("utf-8"),
    }


def readme() -> str:
    """Return the README with the table of the bundled strategies made anew."""
    text = (ROOT / "README.md").read_text("utf-8")
    start = text.index("\n", text.index("<!-- strategies:begin")) + 1
    return text[:start] + strategy_table(load_plugins()) + text[text.index("<!-- strategies:end") :]


if __name__ == "__main__":
    (ROOT / "README.md").write_text(readme(), "utf-8")
    (ROOT / "params.schema.json").write_text(schema_text(registry_at(ROOT)), "utf-8")
    for name, text in templates().items():
        (HERE / f"{name}.template").write_text(text, "utf-8")
