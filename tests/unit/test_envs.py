"""The locked environment, its conda form and what is installed here agree."""

import importlib.util
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from workflows import PARTS

ROOT = Path(__file__).resolve().parents[2]
ENVS = ROOT / "envs"
LOCKS = ["glioflow.lock", "dev.lock", "bench.lock", "uv.lock"]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ENVS / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


write_conda = load("write_conda")
write_wheels = load("write_wheels")
without_cuda = load("without_cuda")


def pins(name: str) -> dict[str, str]:
    return write_conda.read_pins((ENVS / name).read_text())


def conda_pins() -> dict[str, str]:
    dependencies = yaml.safe_load((ENVS / "glioflow.yaml").read_text())["dependencies"]
    (from_pip,) = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    return dict(line.split("==") for line in from_pip)


def test_conda_form_and_post_deployment_together_hold_the_lock():
    post_deployed = dict(re.findall(r"(\S+)==(\S+)", (ENVS / "glioflow.post-deploy.sh").read_text()))
    assert not conda_pins().keys() & post_deployed.keys()
    assert conda_pins() | post_deployed == pins("glioflow.lock")


def test_conda_file_is_what_the_lock_gives():
    assert (ENVS / "glioflow.yaml").read_text() == write_conda.conda_form((ENVS / "glioflow.lock").read_text())


def test_a_changed_lock_changes_the_conda_form():
    assert "      - numpy==0.0.1\n" in write_conda.conda_form("numpy==0.0.1 \\\n    --hash=sha256:00\n")


@pytest.mark.parametrize("name", ["glioflow", "dev", "bench", "uv"])
def test_every_direct_pin_is_in_its_lock(name):
    direct = pins(f"{name}.in")
    locked = pins(f"{name}.lock")
    assert direct
    assert direct == {package: locked.get(package) for package in direct}


@pytest.mark.parametrize("name", ["glioflow", "dev", "uv"])
def test_every_direct_requirement_is_pinned(name):
    lines = [line.split("#")[0].strip() for line in (ENVS / f"{name}.in").read_text().splitlines()]
    loose = [line for line in lines if line and "==" not in line and not line.startswith("-r ")]
    assert loose == []


def test_development_lock_is_the_runtime_lock_and_more():
    runtime, development = pins("glioflow.lock"), pins("dev.lock")
    assert runtime == {package: development.get(package) for package in runtime}
    assert len(development) > len(runtime)


def test_benchmarks_run_on_the_versions_that_are_tested():
    development, bench = pins("dev.lock"), pins("bench.lock")
    common = development.keys() & bench.keys()
    assert {package: bench[package] for package in common} == {package: development[package] for package in common}
    assert {"numpy", "scipy", "surface-distance"} <= common


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_hashes(name):
    blocks = re.split(r"^(?=[a-z0-9])", (ENVS / name).read_text(), flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pins(name))
    assert [block.split()[0] for block in blocks if not re.search(r"--hash=sha256:[0-9a-f]{64}", block)] == []


@pytest.mark.parametrize(
    "path", sorted({*ENVS.glob("glioflow.*"), *ENVS.glob("*.in"), *ENVS.glob("*.lock")}), ids=lambda path: path.name
)
def test_no_environment_file_names_a_host_an_index_or_a_local_path(path):
    forbidden = re.compile(r"\w+://|--(extra-)?index-url|--find-links|--trusted-host|\s@\s|(?<![\w.!])/\w")
    assert [line for line in path.read_text().splitlines() if forbidden.search(line)] == []


def test_fetched_and_built_packages_together_are_the_lock():
    lock = (ENVS / "glioflow.lock").read_text()
    fetched = write_wheels.without(lock, write_conda.POST_DEPLOYED)
    assert write_conda.read_pins(lock).keys() - write_conda.read_pins(fetched).keys() == set(write_conda.POST_DEPLOYED)
    assert write_wheels.without(fetched, list(write_conda.read_pins(fetched))).count("--hash") == 0


def test_the_lock_of_a_folder_has_the_hashes_of_its_wheels(tmp_path):
    for name in ("a_b-1.0-py3-none-any.whl", "c-2.post1-cp311-cp311-linux_x86_64.whl"):
        (tmp_path / name).write_bytes(b"abc")
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert write_wheels.lock_of(tmp_path, {"a-b": "1.0", "c": "2.post1"}) == (
        f"a-b==1.0 --hash=sha256:{abc}\nc==2.post1 --hash=sha256:{abc}\n"
    )
    with pytest.raises(SystemExit, match=r"expected one wheel of c 3, found 0"):
        write_wheels.lock_of(tmp_path, {"c": "3"})


def test_python_version_is_the_same_wherever_it_stands():
    makefile = re.search(r"^PYTHON_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE).group(1)
    conda = yaml.safe_load((ENVS / "glioflow.yaml").read_text())["dependencies"][0]
    mypy = re.search(r'^python_version = "(\S+)"$', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE).group(1)
    assert [conda, mypy] == [f"python={makefile}", makefile]


def test_the_environment_running_this_is_the_locked_one():
    if sys.prefix != str(ROOT / ".venv"):
        pytest.skip("not run from .venv (`make test` does)")
    locked = pins("dev.lock")
    if version("torch").endswith("+cpu"):
        text = (ENVS / "dev.lock").read_text()
        for_cpus = dict(line.split("==") for line in without_cuda.cpu_requirements(text))
        locked = write_conda.read_pins(without_cuda.cpu_lock(text)) | for_cpus
    assert {package: version(package) for package in locked} == locked


def test_make_refuses_an_environment_of_another_python(tmp_path):
    """A .venv whose interpreter says it is another version stops with one line that says what to do."""
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "glioflow.lock").write_text("")
    interpreter = tmp_path / ".venv" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.13.1"\nexit 1\n')
    interpreter.chmod(0o755)
    command = ["make", "--file", str(ROOT / "Makefile"), "setup", "UV=true"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "glioflow needs Python 3.11, but .venv holds Python 3.13.1: run 'make clean' and try again" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["glioflow.lock", "dev.lock"])
def test_a_lock_without_cuda_lacks_what_torch_alone_needs_and_keeps_all_hashes(name):
    text = (ENVS / name).read_text()
    left = without_cuda.cpu_lock(text)
    gone = pins(name).keys() - write_conda.read_pins(left).keys()
    assert {"torch", "torchvision", "triton", "nvidia-cublas", "cuda-toolkit"} <= gone
    blocks = {block.split("==")[0]: block for block in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]}
    needed_by = {package: re.findall(r"^ +#(?: via)? +(?!via)([a-z0-9-]+)$", blocks[package], re.MULTILINE) for package in gone}
    for package in gone - {"torch", "torchvision"}:
        assert needed_by[package] and set(needed_by[package]) <= gone, package
    assert left.count("--hash") == sum(block.count("--hash") for package, block in blocks.items() if package not in gone)


def test_torch_for_cpus_is_the_locked_release():
    locked = pins("glioflow.lock")
    wanted = [f"torch=={locked['torch']}+cpu", f"torchvision=={locked['torchvision']}+cpu"]
    assert without_cuda.cpu_requirements((ENVS / "glioflow.lock").read_text()) == wanted


def dry(*arguments: str) -> str:
    """Return what make would do, or why it does nothing."""
    done = subprocess.run(["make", "-n", *arguments, "UV=uv"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_make_installs_cuda_unless_told_otherwise_and_says_what_it_fetches():
    with_cuda, for_cpus = (
        dry("--always-make", "setup", *more) for more in ((), ("TORCH=cpu", "TORCH_INDEX=https://example.org/cpu"))
    )
    assert "about 3.4 GB to fetch" in with_cuda and "without_cuda" not in with_cuda
    assert "less than 1.5 GB to fetch" in for_cpus
    assert "-r .venv/without_cuda.lock" in for_cpus and "-r envs/glioflow.lock" not in for_cpus
    assert "--index-url https://example.org/cpu" in for_cpus
    assert for_cpus.index("to fetch") < for_cpus.index("pip install")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("setup", "TORCH=rocm"), "it is cuda (for GPUs and CPUs) or cpu"), (("wheels", "TORCH=cpu"), "leave TORCH out")],
)
def test_make_refuses_a_torch_that_it_cannot_install(arguments, said):
    assert said in dry(*arguments)


CONTAINERS = ("Containerfile", "apptainer.def")


def copied(name: str) -> list[str]:
    """Return what a container's definition copies from the checkout."""
    text = (ROOT / name).read_text()
    if name == "Containerfile":
        lines = re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE)
        return [source for line in lines for source in line.split()]
    section = re.search(r"^%files\n(.*?)^%", text, re.MULTILINE | re.DOTALL)[1]
    return [line.split()[0] for line in section.splitlines() if line.strip()]


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_copies_what_is_there_and_all_that_a_run_needs(name):
    sources = copied(name)
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert {*PARTS, "Makefile"} <= set(sources)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_has_the_python_of_the_lock_and_is_set_up_by_make(name):
    text = (ROOT / name).read_text()
    wanted = re.search(r"^PYTHON_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)[1]
    assert re.findall(r"python:([\d.]+)", text) == [wanted]
    assert re.search(r"make setup\b", text)
