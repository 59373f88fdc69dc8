"""The command line. Heavy packages are imported inside the command that needs them."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import typer

from graftwork import __version__
from graftwork.errors import GraftworkError, Interrupted

app = typer.Typer(
    name="graftwork",
    help="Graft trained weights onto new tasks, and learn with evidence whether it helped.",
    no_args_is_help=True,
    rich_markup_mode=None,  # its panels take longer to import than the rest
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
server_app = typer.Typer(help="The Prefect server of this workspace, which is also the UI.", no_args_is_help=True)
app.add_typer(server_app, name="server")

Root = Annotated[Path, typer.Option("--workspace", "-C", help="Folder with params.yaml and dvc.yaml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
WithoutPrefect = Annotated[
    bool, typer.Option("--without-prefect", help="Run the stages alone: no server, no UI, no artifacts.")
]
Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for another run in this workspace.")]
RunnerOption = Annotated[
    str, typer.Option("--runner", help="Where trainings run: threads, dask[:ADDRESS], ray[:ADDRESS], pool:DEPLOYMENT.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the verdict alone.")]


def main() -> None:
    """Run the command line; every error that a user can mend is one block on standard error."""
    _name_folders_from_here()
    debug = "--debug" in sys.argv[1:]
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(args=arguments, prog_name="graftwork")
    except GraftworkError as error:
        if debug:
            raise
        from graftwork_flows.console import print_error

        print_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(Interrupted.exit_code)
    except BrokenPipeError:  # `graftwork plugins | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # outside of any stage
        from graftwork.disk import disk_full, means_full

        if debug or not means_full(error):
            raise
        from graftwork_flows.console import print_error

        full = disk_full(Path.cwd(), error)
        print_error(full)
        sys.exit(full.exit_code)


def _name_folders_from_here() -> None:
    """Make the folders that the environment names whole, as seen from where the user stands: runs work elsewhere."""
    for variable in ("GRAFTWORK_MIRROR", "GRAFTWORK_CACHE"):
        if named := os.environ.get(variable):
            folder = Path(named)
            with suppress(RuntimeError):  # ~nobody: who looks for a folder of that name says that it isn't there
                folder = folder.expanduser()
            os.environ[variable] = str(folder.absolute())


def _version(wanted: bool) -> None:
    if wanted:
        print(f"graftwork {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    pass


@app.command()
def run(
    workspace: Root = Path(),
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another setting, in a worktree of its own; repeatable."),
    ] = None,
    strategies: Annotated[
        list[str] | None, typer.Option("--strategy", help="Run this strategy (and scratch) only; repeatable.")
    ] = None,
    recompute: Annotated[bool, typer.Option("--recompute", help="Run every stage, changed or not.")] = False,
    measure_anew: Annotated[
        bool, typer.Option("--measure", help="Choose anew what is trained on, before the run; see `measure`.")
    ] = False,
    without_prefect: WithoutPrefect = False,
    runner: RunnerOption = "",
    wait: Wait = 0.0,
    quiet: Quiet = False,
) -> None:
    """Run the whole pipeline: what hasn't changed is taken from DVC's cache."""
    from graftwork_flows.launch import measure_anew as choose
    from graftwork_flows.launch import run_pipeline

    if measure_anew:
        choose(workspace.resolve(), wait_seconds=wait, quiet=quiet)
    run_pipeline(
        workspace.resolve(), overrides or [], strategies or [], recompute=recompute, without_prefect=without_prefect,
        wait_seconds=wait, quiet=quiet, runner=runner,
    )  # fmt: skip


@app.command()
def measure(workspace: Root = Path(), wait: Wait = 0.0, quiet: Quiet = False) -> None:
    """Choose anew what is trained on, by measuring; trainings start over only where the choice changes."""
    from graftwork_flows.launch import measure_anew

    measure_anew(workspace.resolve(), wait_seconds=wait, quiet=quiet)


@app.command()
def score(workspace: Root = Path(), as_json: AsJson = False) -> None:
    """Rank the sources for the target by transferability scores, without training on it."""
    from graftwork_flows.advice import print_scores

    print_scores(workspace.resolve(), as_json)


@app.command()
def recommend(
    workspace: Root = Path(),
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of training to spend.")] = 120.0,
    trainings: Annotated[
        int | None, typer.Option(min=2, help="A number of trainings in place of seconds: the same on any machine.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the strategy for the target by trying on validation; `auto` in params.yaml does so in a run."""
    from graftwork_flows.advice import print_recommendation

    print_recommendation(workspace.resolve(), seconds, trainings, as_json)


@app.command()
def sweep(
    workspace: Root = Path(),
    recompute: Annotated[bool, typer.Option("--recompute", help="Run every stage; trained cells stay.")] = False,
    without_prefect: WithoutPrefect = False,
    runner: RunnerOption = "",
    wait: Wait = 0.0,
    quiet: Quiet = False,
) -> None:
    """Train sources × strategies × label budgets × seeds; what was trained before is kept."""
    from graftwork_flows.launch import run_sweep

    run_sweep(
        workspace.resolve(), recompute=recompute, without_prefect=without_prefect, wait_seconds=wait, quiet=quiet,
        runner=runner,
    )  # fmt: skip


@app.command()
def check(
    workspace: Root = Path(),
    recompute: Annotated[bool, typer.Option("--recompute", help="Look at all data again, changed or not.")] = False,
    without_prefect: WithoutPrefect = False,
    wait: Wait = 0.0,
    quiet: Quiet = False,
) -> None:
    """Read and split the data, train nothing, and say what is wrong with it."""
    from graftwork_flows.launch import run_check

    run_check(workspace.resolve(), recompute=recompute, without_prefect=without_prefect, wait_seconds=wait, quiet=quiet)


@app.command()
def stage(
    name: Annotated[str, typer.Argument(help="fetch, augment, pretrain, score …: as dvc.yaml names them.")],
    item: Annotated[str, typer.Argument(help="A data set, or a strategy.")] = "",
    workspace: Root = Path(),
) -> None:
    """Run one stage as it stands in dvc.yaml; DVC calls this. Under torchrun, its processes share each training."""
    from graftwork_flows.teams import run_stage_command

    run_stage_command(workspace.resolve(), name, item)


@app.command(hidden=True)
def carry_out(order: Path, answer: Path) -> None:
    """Run the stage that another machine's run ordered, and write what came of it; workers call this."""
    from graftwork_flows.errands import carry_out_command

    carry_out_command(order, answer)


@app.command()
def report(
    workspace: Root = Path(),
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Say what the last run found, and where its report is."""
    from graftwork.errors import StateError
    from graftwork.files import read_json
    from graftwork.layout import Layout
    from graftwork_flows.console import say

    layout = Layout(workspace.resolve())
    page = layout.report / "report.html"
    if not page.is_file():
        raise StateError("There is no report yet", where=str(page), fix="graftwork run, or dvc pull")
    say(read_json(layout.report / "metrics.json")["verdict"])
    say(str(page))
    if show:
        import webbrowser

        if not webbrowser.open(page.as_uri()):
            say("No browser could be started; open the file by hand.")


@app.command()
def export(
    workspace: Root = Path(),
    strategy: Annotated[str | None, typer.Option(help="Another strategy than the one that validation chose.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed than the one that validated best.")] = None,
    wanted: Annotated[
        Literal["timm", "onnx", "all"],
        typer.Option("--format", help="all leaves out what can't be had here, and says so."),
    ] = "all",
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The new folder; exported/<strategy> in the workspace.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an earlier export; not what you added to it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a fine-tuned model as timm's hub format and ONNX, checked against the original, with a model card."""
    from graftwork_flows.exporting import print_export

    print_export(workspace.resolve(), strategy, seed, wanted, to, force=force, as_json=as_json)


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.")],
    workspace: Root = Path(),
    strategy: Annotated[str | None, typer.Option(help="Another strategy than the one that validation chose.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed than the one that validated best.")] = None,
    ensemble: Annotated[bool, typer.Option("--ensemble", help="The mean over all seeds.")] = False,
    model: Annotated[
        Path | None, typer.Option(metavar="DIR|FILE", help="What export wrote; no workspace is needed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each file.")] = False,
) -> None:
    """Classify pictures, with calibrated probabilities."""
    from graftwork_flows.predicting import print_predictions

    print_predictions(workspace.resolve(), paths, strategy, seed, model, ensemble=ensemble, as_json=as_json)


@app.command()
def lineage(
    weights: Annotated[str, typer.Argument(help="A weight file, a folder of them, an export, or a strategy.")],
    workspace: Root = Path(),
    seed: Annotated[
        int | None, typer.Option(help="Of a strategy: another seed than the one that validated best.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell how weights came to be: data, source, strategy, settings, code, run; and whether they are still the same."""
    from graftwork_flows.tracing import print_lineage

    print_lineage(workspace.resolve(), weights, seed, as_json)


@app.command()
def verify(
    workspace: Root = Path(),
    remote: Annotated[bool, typer.Option("--remote", help="Ask the remote, too, whether it has every output.")] = False,
    as_json: AsJson = False,
) -> None:
    """Prove that the workspace is what its dvc.lock says: every file is hashed anew, every setting compared."""
    from graftwork_flows.verifying import print_verification

    print_verification(workspace.resolve(), remote=remote, as_json=as_json)


@app.command()
def doctor(workspace: Root = Path(), as_json: AsJson = False) -> None:
    """Look at versions, machine, settings, plugins, DVC, git, Prefect, disk and rights; say what to do."""
    from graftwork_flows.doctor import print_diagnosis

    print_diagnosis(workspace.resolve(), as_json)


@app.command()
def clean(
    workspace: Root = Path(),
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this it is only listed.")] = False,
    history: Annotated[bool, typer.Option("--history", help="Prefect's history of runs, too.")] = False,
    cache: Annotated[
        bool, typer.Option("--cache", help="What DVC's cache holds for no branch, tag or experiment, too: dvc gc.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List what can go, with its size: caches, left-overs, old reports; results stay."""
    from graftwork_flows.cleaning import print_cleaning

    print_cleaning(workspace.resolve(), yes=yes, history=history, cache=cache, as_json=as_json)


@app.command()
def plugins(workspace: Root = Path(), as_json: AsJson = False) -> None:
    """List datasets, models, augmentations and parts of strategies, with their settings."""
    from graftwork_flows.listing import print_plugins

    print_plugins(workspace.resolve(), as_json)


@app.command()
def schema(workspace: Root = Path()) -> None:
    """Print the JSON schema of params.yaml, with every installed plugin in it."""
    from graftwork.schema import schema_text
    from graftwork_flows.listing import registry_at

    sys.stdout.write(schema_text(registry_at(workspace.resolve())))


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The new workspace; created if missing.")] = Path(),
    target: Annotated[
        str | None,
        typer.Option(help="Your data: class folders, .npz, .csv, .parquet; or a data set's name such as mnist."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="What weights come from: data, a weight file, timm:NAME, or a data set's name such as mnist."
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="One of timm's models, or a net of a plugin, such as mlp.")] = None,
    recipe: Annotated[str | None, typer.Option(help="One of the recipes, ready to run.")] = None,
    recipes: Annotated[bool, typer.Option("--recipes", help="List the recipes and exit.")] = False,
    git: Annotated[bool, typer.Option("--git", help="Set up git too, where it is missing.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write over files that are there; the old ones are kept as *.old.")
    ] = False,
) -> None:
    """Set up a workspace, its settings, stages and DVC, for your data, a recipe's, or the embedded one."""
    from graftwork.errors import SettingsError
    from graftwork_flows import initialise
    from graftwork_flows.console import say
    from graftwork_flows.own_params import Wish

    if recipes:
        say("\n".join(f"{name:<22} {title}" for name, title in initialise.recipes().items()))
        return
    if target is None and (source or model):
        raise SettingsError("--source and --model go with --target", fix="add --target PATH, your own data")
    if recipe and target:
        raise SettingsError("--recipe and --target exclude each other", fix="leave one of them out")
    wish = Wish(target, source, model) if target else None
    initialise.initialise(folder.resolve(), wish, recipe=recipe, git=git, overwrite=overwrite)


@app.command()
def serve(
    workspace: Root = Path(),
    cron: Annotated[str, typer.Option(help="When to run, in cron's five fields (UTC).")] = "0 2 * * *",
    name: Annotated[str, typer.Option(help="The deployment's name.")] = "scheduled",
) -> None:
    """Run on a schedule until stopped; runs can also be started from the UI's form."""
    from graftwork_flows.flow_runs import serve_flow

    serve_flow(workspace.resolve(), name, cron)


@app.command()
def deploy(workspace: Root = Path()) -> None:
    """Bring prefect.yaml's deployments to the Prefect server, with all that they need but a worker."""
    from graftwork_flows.deploying import deploy as bring

    bring(workspace.resolve())


@server_app.command("start")
def server_start(workspace: Root = Path()) -> None:
    """Start the server, or find the one that runs; print the UI's address."""
    from graftwork_flows import server
    from graftwork_flows.console import say

    root = workspace.resolve()
    started = server.launch(root)
    server.wait_until_ready(root, started)
    say(started.ui)


@server_app.command("stop")
def server_stop(workspace: Root = Path()) -> None:
    """Stop the server."""
    from graftwork_flows import server
    from graftwork_flows.console import say

    say("stopped" if server.stop_server(workspace.resolve()) else "no server is running")


@server_app.command("status")
def server_status(workspace: Root = Path()) -> None:
    """Say whether the server runs, and where."""
    from graftwork_flows import server
    from graftwork_flows.console import say

    found = server.running_server(workspace.resolve())
    say(f"running: {found.ui} (process {found.pid})" if found else "not running: graftwork server start")
