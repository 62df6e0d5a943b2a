"""Runs of Snakemake in which every Python process starts with the libraries of most scripts imported.

A small study runs dozens of scripts, and each of them spends a second of processor time on imports: most of what the tests of
the workflow take. Here Snakemake, and the interpreter of its jobs, are forked from a process that has imported those libraries,
and nothing of glioflow's. Scripts, their arguments, environment, output and exit status are those of a run from a shell. What
a job uses is not: Snakemake's benchmark sees a client that waits.
"""

import atexit
import contextlib
import ctypes
import json
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

PR_SET_PDEATHSIG = 1  # prctl(2)
LIBRARIES = (
    "snakemake.cli", "snakemake.workflow", "pandas", "nibabel", "pydantic", "scipy.ndimage", "scipy.stats", "yaml", "jinja2",
    "matplotlib.pyplot", "smart_open",
)  # fmt: skip
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(list(LIBRARIES))
# Stands in for the interpreter of Snakemake's jobs: hands a script to the process below, and ends as it does.
CLIENT = """#!{python} -IS
import json, os, socket, sys
if len(sys.argv) != 2 or not sys.argv[1].endswith(".py"):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [json.dumps([sys.argv[1], os.getcwd(), dict(os.environ)]).encode() + b"\\n"], [0, 1, 2])
    answer = server.recv(16)
sys.exit(int(answer) if answer else 1)
"""


def run(folder: Path, arguments: tuple[str, ...], env: dict[str, str]) -> tuple[int, str]:
    """Run ``snakemake arguments`` in ``folder``; return its exit status and what it printed, both streams together."""
    with tempfile.TemporaryDirectory() as place:
        process = FORKS.Process(target=_run_snakemake, args=(folder, arguments, env, place))
        process.start()
        process.join()
        assert process.exitcode is not None
        return process.exitcode, (Path(place) / "output").read_text(errors="replace")


def _run_snakemake(folder: Path, arguments: tuple[str, ...], env: dict[str, str], place: str) -> None:
    """Become ``snakemake arguments`` in ``folder``, as from a shell, beside a process that is forked for each of its jobs."""
    address, client = f"{place}/socket", Path(place) / "python"
    client.write_text(CLIENT.format(python=sys.executable, address=address))
    client.chmod(0o755)
    with open(f"{place}/output", "w") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen(64)
        jobs = os.fork()
        if not jobs:
            _serve(server)
    sys.executable = str(client)
    status = _become(folder, env, ["snakemake", *arguments], _snakemake)
    os.kill(jobs, signal.SIGKILL)
    os.waitpid(jobs, 0)
    sys.exit(status)


def _snakemake() -> None:
    from snakemake.cli import main

    main(sys.argv[1:])


def _serve(server: socket.socket) -> NoReturn:
    """Fork for every script that a client hands over; the fork tells the client its exit status. Ends with its Snakemake."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    while True:
        connection, _ = server.accept()
        if not os.fork():
            server.close()
            _run_script(connection)
        connection.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _run_script(connection: socket.socket) -> NoReturn:
    """Become the script that is asked for."""
    request, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while not request.endswith(b"\n"):
        request += connection.recv(1 << 20)
    script, folder, env = json.loads(request)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    status = _become(folder, env, [script], lambda: runpy.run_path(script, run_name="__main__"))
    connection.sendall(str(status).encode())
    os._exit(status)


def _become(folder: Path | str, env: dict[str, str], argv: list[str], main: Callable[[], object]) -> int:
    """Run a program in this process, as if it had been started with nothing but an environment; return its exit status."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = argv
    # No folder of the tests, and none of glioflow's but that of the checkout that is run.
    sys.path[:] = [entry for entry in sys.path if entry.startswith((sys.prefix, sys.base_prefix))]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)
    status = 0
    try:
        main()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return status
