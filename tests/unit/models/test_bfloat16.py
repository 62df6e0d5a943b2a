"""On a processor that has bfloat16, a training's layers compute by it; weights, loss and predictions stay float32."""

import importlib
from pathlib import Path

import pytest
import torch
from conftest import REPO

from glioflow.models import devices
from glioflow.models.devices import has_bfloat16, training_precision
from glioflow.models.nnunet.commands import ModelFolders, environment

TRAINERS = REPO / "scripts/glioflow/models/nnunet/trainers"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINERS))
    return importlib.import_module("glioflow_trainer")


def small_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv3d(2, 8, 3), torch.nn.LeakyReLU(), torch.nn.Conv3d(8, 1, 3))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx512f avx512_bf16", True),
        ("fpu amx_bf16 amx_tile", True),
        ("fpu avx512f avx512bw", False),
        ("avx512_bf16x", False),
    ],
)
def test_a_processor_says_by_its_flags_whether_it_has_bfloat16(tmp_path: Path, flags: str, expected: bool):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: A processor\nflags\t\t: {flags}\nbugs\t\t: amx_bf16\n")
    assert has_bfloat16(tmp_path / "cpuinfo") is expected


def test_where_the_kernel_says_nothing_there_is_none(tmp_path: Path):
    assert not has_bfloat16(tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: bf16\n")  # of another architecture
    assert not has_bfloat16(tmp_path / "cpuinfo")


def test_only_a_training_on_such_a_processor_is_told_to_use_it(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("GLIOFLOW_BFLOAT16", raising=False)
    for has, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(devices, "has_bfloat16", lambda has=has: has)
        assert (training_precision("cpu"), training_precision("cuda")) == (precision, "float16")
        folders = ModelFolders("m", tmp_path)
        assert [("GLIOFLOW_BFLOAT16" in environment(folders, 1, device)) for device in ("cpu", "cuda")] == [has, False]


def test_the_output_is_float32_and_close_to_that_of_float32(module):
    network, data = small_network(), torch.randn(1, 2, 8, 8, 8)
    exact, found = network(data), module.InBfloat16(network)(data)
    assert found.dtype == torch.float32
    assert not torch.equal(found, exact), "it was computed in float32"
    assert (found - exact).abs().max() < 0.02 * exact.abs().max()


def test_every_depth_of_deep_supervision_is_float32(module):
    class Deep(torch.nn.Module):
        def forward(self, data):
            return [network(data), network(data)[..., ::2]]

    network = small_network()
    assert [each.dtype for each in module.InBfloat16(Deep())(torch.randn(1, 2, 8, 8, 8))] == [torch.float32] * 2


@pytest.fixture
def trainer(module):
    """A trainer of a small network on the CPU, and the types that its layers have put out."""
    trainer = object.__new__(module.GlioflowTrainer)
    trainer.device, trainer.grad_scaler, trainer.network, trainer.seen = torch.device("cpu"), None, small_network(), []
    for layer in trainer.network:
        layer.register_forward_hook(lambda layer, data, output: trainer.seen.append(output.dtype))
    trainer.optimizer = torch.optim.SGD(trainer.network.parameters(), lr=0.1)
    trainer.loss = lambda output, target: ((output - target) ** 2).mean()
    return trainer


def step(trainer) -> torch.Tensor:
    """Do one step from the first weights, and return by how much each has changed."""
    trainer.seen.clear()
    trainer.network.load_state_dict(small_network().state_dict())
    torch.manual_seed(1)
    trainer.train_step({"data": torch.randn(1, 2, 8, 8, 8), "target": torch.zeros(1, 1, 4, 4, 4)})
    pairs = zip(trainer.network.parameters(), small_network().parameters(), strict=True)
    return torch.cat([(after - before).detach().flatten() for after, before in pairs])


def test_a_step_computes_in_bfloat16_where_it_is_asked_to_and_keeps_its_weights_in_float32(trainer, monkeypatch):
    monkeypatch.delenv("GLIOFLOW_BFLOAT16", raising=False)
    exact = step(trainer)
    assert set(trainer.seen) == {torch.float32}
    monkeypatch.setenv("GLIOFLOW_BFLOAT16", "1")
    found = step(trainer)
    assert set(trainer.seen) == {torch.bfloat16}
    assert found.dtype == torch.float32
    assert 0 < (found - exact).norm() < 0.02 * exact.norm()


def test_the_network_is_itself_again_after_a_step_that_fails(trainer, monkeypatch):
    monkeypatch.setenv("GLIOFLOW_BFLOAT16", "1")
    network = trainer.network

    def fail(output, target):
        raise ValueError(f"no loss of {output.dtype}")

    trainer.loss = fail
    with pytest.raises(ValueError, match=r"no loss of torch\.float32"):
        step(trainer)
    assert trainer.network is network
