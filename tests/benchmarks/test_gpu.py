import torch

from benchmarks.gpu import Scale, gpu_rows
from benchmarks.gpu_loops import Model, flops_per_image, ours
from tests.core.tiny import MACHINE

TINY = Scale(
    torch.device("cpu"), large=("test_resnet",), size=32, batch=4, small_size=32, small_batch=4, images=4, steps=1,
    small_steps=1, compile=False,
)  # fmt: skip


def test_the_part_for_gpus_runs_on_a_cpu_with_tiny_sizes() -> None:
    rows = gpu_rows(TINY, rounds=1)
    measured = {row.what.rpartition(": ")[2]: float(row.measured) for row in rows}
    assert {"ours, images/s", "ours / bare synthetic loop", "bare, as a CUDA graph, images/s"} <= measured.keys()
    assert measured["ours, images/s"] > 0


def test_our_loop_takes_as_many_steps_as_it_is_asked_for() -> None:
    model = Model.build("test_resnet", 32, torch.device("cpu"), None)
    steps = []
    model.net.register_forward_pre_hook(lambda net, given: steps.append(len(given[0])) if net.training else None)
    ours(model, images=8, batch=4)(6)
    assert steps == [4] * 6


def test_a_matrix_product_counts_two_operations_for_each_multiplication() -> None:
    class Linear(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3 * 4 * 4, 10)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.layer(images.flatten(1))

    forward = 2 * 48 * 10
    assert flops_per_image(Linear(), 4, MACHINE) == 2 * forward  # and once more for the weights' gradient
