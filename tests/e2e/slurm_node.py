"""A real Slurm of one node on loopback, in a temporary folder, without accounting and without touching the system's own.

As a context manager it gives the environment in which ``sbatch``, ``squeue`` and Snakemake's slurm executor find the node::

    with slurm_node() as environment:
        subprocess.run(["sbatch", "--wrap", "hostname"], env=environment, check=True)

From a shell, everything after ``--`` runs inside such an environment::

    python tests/e2e/slurm_node.py -- snakemake --profile slurm --slurm-status-command squeue

It needs Debian's packages slurm-wlm and munge, and ends only the processes it started.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo", "srun", "scancel")
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
GRACE_S = 5  # from the SIGTERM of a job that has to make room to its SIGKILL
MEMORY_SHARE = 0.9  # slurmd drains a node that has less memory than the configuration promises

CONFIGURATION = """\
ClusterName=loopback
SlurmctldHost={host}({address})
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
{communication}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MailProg=/bin/true
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
ReturnToService=2
MinJobAge=300
KillWait=5
SlurmdTimeout=10
GresTypes=gpu
NodeName={host} NodeAddr={address} CPUs={cpus} RealMemory={memory_mb} Gres=gpu:phantom:1 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime={grace_s}
PartitionName=urgent Nodes={host} MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
"""

# Slurm asks for a device file and does not look inside: enough to see that a rule's GPU request arrives as a GPU.
GRES_CONFIGURATION = "Name=gpu Type=phantom File=/dev/null\n"

# Found before the system's own: inside a job the executor plugin (2.8.0) drops SLURM_CONF before it calls srun.
SRUN = """\
#!/bin/sh
SLURM_CONF={folder}/slurm.conf exec {srun} "$@"
"""


def missing_programs() -> list[str]:
    """Return the names of the Slurm and munge programs that are not on the PATH."""
    path = system_path()
    return [program for program in PROGRAMS if shutil.which(program, path=path) is None]


def system_path() -> str:
    """Return the PATH with the folders of system daemons, which ordinary users' PATH lacks."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def listening_address(host: str) -> tuple[str, str]:
    """Return a loopback address for the daemons and the slurm.conf line that keeps them on it.

    Slurm can listen on one address only if that is the host name's own. Debian calls it 127.0.0.1 or 127.0.1.1; where it is
    a public one, the daemons listen on all addresses and munge alone keeps others out.
    """
    try:
        address = socket.gethostbyname(host)
    except OSError:
        address = ""
    if address.startswith("127."):
        return address, "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny"
    return "127.0.0.1", ""


def free_ports(address: str, number: int) -> list[int]:
    """Return TCP ports of ``address`` that nothing listens on at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind((address, 0))
        return [each.getsockname()[1] for each in sockets]


def write_configuration(folder: Path, cpus: int) -> None:
    """Write slurm.conf, gres.conf, the munge key and a program into ``folder``."""
    host = socket.gethostname().split(".")[0]
    address, communication = listening_address(host)
    controller_port, node_port = free_ports(address, 2)
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            host=host,
            address=address,
            communication=communication,
            user=pwd.getpwuid(os.getuid()).pw_name,
            folder=folder,
            cpus=cpus,
            memory_mb=int(memory_mb * MEMORY_SHARE),
            grace_s=GRACE_S,
            controller_port=controller_port,
            node_port=node_port,
        )
    )
    (folder / "gres.conf").write_text(GRES_CONFIGURATION)
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    program = folder / "bin/srun"
    program.write_text(SRUN.format(folder=folder, srun=shutil.which("srun", path=system_path())))
    program.chmod(0o755)


def node_environment(folder: Path) -> dict[str, str]:
    """Return the process environment in which Slurm's commands talk to the node of ``folder``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "SRUN_"))}
    environment["SLURM_CONF"] = str(folder / "slurm.conf")
    environment["PATH"] = os.pathsep.join([str(folder / "bin"), system_path()])
    return environment


def ask(environment: dict[str, str], *command: str) -> str:
    """Return what a Slurm command prints, or an empty text where it fails."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def wait_for(path: Path) -> None:
    """Return when ``path`` exists, or after STOP_TIMEOUT_S."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def end_jobs(environment: dict[str, str]) -> None:
    """Cancel what still runs and wait for it to leave the queue, so that no job outlives the node."""
    for job in ask(environment, "squeue", "--noheader", "--format=%i").split():
        ask(environment, "scancel", job)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while ask(environment, "squeue", "--noheader", "--format=%i") and time.monotonic() < deadline:
        time.sleep(0.3)


def end_daemon(daemon: subprocess.Popen[bytes]) -> None:
    """End one process that was started here, politely first."""
    daemon.terminate()
    try:
        daemon.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


@dataclass
class Node:
    """A Slurm of one node: its folder, the environment for what talks to it, and its daemons by name."""

    folder: Path
    environment: dict[str, str]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start one daemon in the foreground, with what it prints in a log of the folder."""
        munge = {
            "socket": "munge.socket",
            "key-file": "munge.key",
            "pid-file": "munged.pid",
            "log-file": "munged.log",
            "seed-file": "seed",
        }
        arguments = {
            "munged": ["--foreground", "--force", *(f"--{option}={self.folder}/{file}" for option, file in munge.items())],
            "slurmctld": ["-D"],
            "slurmd": ["-D"],
        }
        command = [name, *arguments[name]]
        with (self.folder / f"{name}.out.log").open("ab") as output:
            self.daemons[name] = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def wait_until_idle(self) -> None:
        """Return when ``sinfo`` calls the node idle; raise RuntimeError with the logs' ends where it does not come up."""
        deadline = time.monotonic() + START_TIMEOUT_S
        state = ""
        while time.monotonic() < deadline and all(daemon.poll() is None for daemon in self.daemons.values()):
            state = ask(self.environment, "sinfo", "--noheader", "--format=%T")
            if state == "idle":
                return
            time.sleep(0.3)
        logs = "\n".join(
            f"== {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in sorted(self.folder.glob("*.log"))
        )
        said = state or "nothing"
        raise RuntimeError(f"the Slurm node did not come up within {START_TIMEOUT_S} s, sinfo says {said!r}\n{logs}")


@contextlib.contextmanager
def running_node(cpus: int | None = None) -> Iterator[Node]:
    """Run munged, slurmctld and slurmd until the block ends.

    ``cpus`` is what the node offers, all of the machine's where it is not given. Raises RuntimeError when the node does not
    come up.
    """
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    node = Node(folder, node_environment(folder))
    write_configuration(folder, cpus or os.cpu_count() or 1)
    try:
        for name in ("munged", "slurmctld", "slurmd"):
            node.start(name)
            wait_for(folder / "munge.socket")
        node.wait_until_idle()
        yield node
    finally:
        if "slurmd" in node.daemons:
            end_jobs(node.environment)
        for daemon in reversed(node.daemons.values()):
            end_daemon(daemon)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def slurm_node(cpus: int | None = None) -> Iterator[dict[str, str]]:
    """Run such a node until the block ends; give the environment for everything that talks to it."""
    with running_node(cpus) as node:
        yield node.environment


def main(arguments: list[str]) -> int:
    """Run the command after ``--`` inside a Slurm of one node and return its exit status."""
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    if not command:
        print(__doc__, file=sys.stderr)
        return 2
    if missing := missing_programs():
        print(f"not installed: {', '.join(missing)} (Debian: apt-get install slurm-wlm munge)", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with slurm_node() as environment:
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
