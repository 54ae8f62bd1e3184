"""What a job tries against the box, against other jobs and against other users, and does not get.

Each attack is a script that a user without the admin role submits. It is judged by what the script saw and,
where that is possible, by what can be seen from outside.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from appliance.users.user import Role
from tests.system.running_box import RunningBox, free_port, until
from tests.system.test_network import own_addresses

pytestmark = pytest.mark.docker

PIDS = 64
VICTIMS_SECRET = "the-victims-own-password"
VICTIM = """
import os, pathlib, time
pathlib.Path("/output/result").write_text("eve's result")
pathlib.Path("/tmp/scratch").write_text("eve's scratch")
print("working", flush=True)
while True:
    time.sleep(0.2)
    if pathlib.Path("/tmp/mark").exists() or pathlib.Path("/dev/shm/mark").exists():
        print("seen", flush=True)
"""
ATTEMPTS = """
import ctypes, os, pathlib, signal, socket, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)

def attempt(name, action):
    try:
        print(name, "GOT", repr(action())[:200], flush=True)
    except (OSError, subprocess.SubprocessError, EOFError) as error:
        print(name, "refused:", type(error).__name__, flush=True)

def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return name
"""


class Attacked:
    """A box with a victim, whose job runs, and an attacker."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.exporter_port = free_port()
        self.box = RunningBox(
            folder,
            # On all addresses, as admins are told not to: it is the network that must keep jobs away.
            SPUD_WEB_LISTEN=f"0.0.0.0:{port}",
            SPUD_EXPORTER_LISTEN=f"0.0.0.0:{self.exporter_port}",
            SPUD_JOBS_PIDS=str(PIDS),
            SPUD_SCHEDULER_CPUS="8",
        )
        self.box.url, self.web_port = f"http://127.0.0.1:{port}", port
        self.attacker = self.box.add_user("bob", Role.USER)
        self.victim = self.box.add_user("eve", Role.USER)
        eve = self.box.storage.users.get("eve")
        self.box.storage.secrets.set(eve.id, "PASSWORD", VICTIMS_SECRET)

    def start(self) -> None:
        self.box.start()
        script = self.box.script(VICTIM)
        words = (
            "submit",
            "--json",
            "--cpus",
            "1",
            "--name",
            "victim",
            "--env",
            "MARK=eves-environment",
            script,
        )
        self.victims_job = int(json.loads(self.box.spud(*words, SPUD_TOKEN=self.victim).stdout)["id"])
        self.box.wait(self.victims_job, "running")

    def attack(self, script: str, *words: str) -> str:
        """Run a script as the attacker and return what it wrote."""
        path = self.box.script(ATTEMPTS + script)
        done = self.box.spud("run", "--cpus", "1", *words, path, SPUD_TOKEN=self.attacker, check=False)
        assert self.box.storage.jobs.get(self.victims_job).state == "running"
        return done.stdout

    def folder(self, job_id: int) -> Path:
        return self.box.folder / "store" / "jobs" / str(job_id) / "1"

    def container(self, job_id: int) -> str:
        return f"{self.box.prefix}-{job_id}-1"

    def newest_job(self) -> int:
        return self.box.storage.jobs.list(limit=1)[0].id


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    attacked = Attacked(tmp_path_factory.mktemp("attacked"))
    try:
        attacked.start()
        yield attacked
    finally:
        attacked.box.stop()


def all_refused(log: str, count: int) -> bool:
    """Return whether so many attempts were made and every one was refused."""
    lines = [line for line in log.splitlines() if " refused: " in line or " GOT " in line]
    return len(lines) == count and all(" refused: " in line for line in lines)


def test_the_engine_is_out_of_reach(attacked: Attacked) -> None:
    log = attacked.attack("""
for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"):
    attempt(path, lambda: socket.socket(socket.AF_UNIX).connect(path))
""")
    assert all_refused(log, 3), log


def test_no_service_of_the_box_is_reachable_at_any_of_its_addresses(attacked: Attacked) -> None:
    ports = (attacked.web_port, attacked.exporter_port)
    network = json.loads(subprocess.check_output(["docker", "network", "inspect", attacked.box.prefix]))[0]
    addresses = {*own_addresses(), network["IPAM"]["Config"][0]["Gateway"]}
    targets = [(address, port) for address in sorted(addresses) for port in ports]
    for address, port in targets:
        assert status(f"http://{address}:{port}/healthz") in (200, 404)  # it is there for others
    log = attacked.attack(f"""
for target in {targets!r} + [("127.0.0.1", {ports[0]}), ("host.docker.internal", {ports[0]})]:
    attempt(target, lambda: socket.create_connection(target, 5))
""")
    assert all_refused(log, len(targets) + 2), log


def test_files_of_the_store_and_of_other_jobs_are_not_there(attacked: Attacked) -> None:
    store, theirs = attacked.box.folder / "store", attacked.folder(attacked.victims_job)
    targets = [store / "spud.db", theirs / "output" / "result", theirs / "workspace" / "train.py"]
    assert all(target.is_file() for target in targets)
    log = attacked.attack(f"""
for path in {[str(target) for target in targets]!r}:
    attempt(path, lambda: open(path).read())
    for up in ("/workspace/../../../../..", "/output/../..", "/proc/1/root", "/proc/self/root/../.."):
        attempt(up + path, lambda: open(up + path).read())
""")
    assert all_refused(log, 15), log


def test_other_users_see_nothing_of_a_job_through_the_api(attacked: Attacked) -> None:
    job = f"{attacked.box.url}/api/v1/jobs/{attacked.victims_job}"
    for path in ("", "/logs", "/files", "/files/output/result", "/logs/stream"):
        assert status(job + path, attacked.victim) == 200
        assert status(job + path, attacked.attacker) == 404
    assert status(f"{job}/cancel", attacked.attacker, "POST") == 404


def test_processes_of_the_box_and_of_other_jobs_are_not_there(attacked: Attacked) -> None:
    with subprocess.Popen(["sleep", "600"], user=12345) as process:
        try:
            log = attacked.attack(f"""
pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
print("processes", len(pids))
files = [pathlib.Path(f"/proc/{{pid}}/environ") for pid in pids]
text = "".join(file.read_text() for file in files if os.access(file, os.R_OK))
print("environment", "eves-environment" in text)
attempt("kill", lambda: os.kill({process.pid}, signal.SIGKILL))
attempt("ptrace", lambda: call("ptrace", 16, {process.pid}, 0, 0))
attempt("environ", lambda: open("/proc/{process.pid}/environ").read())
""")
            assert process.poll() is None
        finally:
            process.kill()
    assert all_refused(log, 3), log
    assert int(log.split("processes ")[1].split()[0]) <= 3
    assert "environment False" in log


def test_killing_everything_ends_the_attackers_job_alone(attacked: Attacked) -> None:
    attacked.attack("os.kill(-1, signal.SIGKILL)")
    assert attacked.box.job(attacked.newest_job())["state"] == "finished"
    assert alive(attacked.container(attacked.victims_job))


def test_the_kernel_gives_no_further_rights(attacked: Attacked) -> None:
    log = attacked.attack("""
print(open("/proc/self/status").read())
attempt("mount", lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None))
attempt("user namespace", lambda: call("unshare", 0x10000000))
attempt("mount namespace", lambda: call("unshare", 0x00020000))
attempt("chroot", lambda: os.chroot("/tmp"))
attempt("device", lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(8, 0)))
attempt("raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
attempt("packet socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3))
attempt("host name", lambda: socket.sethostname("spud"))
attempt("clock", lambda: call("settimeofday", (ctypes.c_long * 2)(0, 0), None))
attempt("root", lambda: os.setuid(0))
attempt("groups", lambda: os.setgroups([0]))
attempt("priority", lambda: os.nice(-5))
attempt("kernel setting", lambda: open("/proc/sys/kernel/core_pattern", "w").write("|/tmp/x"))
attempt("sysrq", lambda: open("/proc/sysrq-trigger", "w").write("b"))
attempt("cgroup", lambda: open("/sys/fs/cgroup/memory/memory.limit_in_bytes", "w").write("-1"))
attempt("kernel memory", lambda: open("/proc/kcore", "rb").read(1))
attempt("kernel log", lambda: open("/dev/kmsg").read(1))
""")
    assert all_refused(log, 17), log
    facts = dict(line.split(":\t") for line in log.splitlines() if ":\t" in line)
    assert {facts[name] for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")


def test_a_setuid_file_in_the_code_loses_its_bit(attacked: Attacked) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        shell = tarfile.TarInfo("shell")
        shell.mode, shell.uid, shell.size = 0o6755, 0, 4
        tar.addfile(shell, io.BytesIO(b"true"))
    script = "import os; print(oct(os.stat('shell').st_mode), os.stat('shell').st_uid)"
    spec = json.dumps({"command": ["python3", "-c", script], "cpus": 1})
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(
            f"{attacked.box.url}/api/v1/jobs",
            data={"spec": spec},
            files={"code": archive.getvalue()},
            headers={"Authorization": f"Bearer {attacked.attacker}"},
        )
    job_id = int(answer.json()["id"])
    attacked.box.wait(job_id)
    uid = attacked.box.storage.users.get("bob").uid
    assert attacked.box.spud("logs", str(job_id)).stdout.split() == ["0o100755", str(uid)]
    kept = (attacked.folder(job_id) / "workspace" / "shell").stat()
    assert (oct(kept.st_mode), kept.st_uid) == ("0o100755", uid)


def test_programs_of_the_image_that_make_root_do_not(attacked: Attacked) -> None:
    log = attacked.attack("""
setuid = [path for path in subprocess.run(
    ["find", "/usr", "-xdev", "-perm", "-4000", "-type", "f"], capture_output=True, text=True
).stdout.split()]
print("setuid programs", len(setuid))
def run(*words):
    done = subprocess.run(words, input=b"\\n", capture_output=True, timeout=30)
    if done.returncode:
        raise subprocess.SubprocessError(done.stderr)
    return done.stdout
attempt("su", lambda: run("su", "-c", "id"))
attempt("sudo", lambda: run("sudo", "--non-interactive", "id"))
attempt("passwd", lambda: run("passwd", "--delete", "root"))
attempt("mount", lambda: run("mount", "-t", "tmpfs", "none", "/tmp"))
""")
    assert all_refused(log, 4), log
    assert int(log.split("setuid programs ")[1].split()[0]) > 0


def test_what_a_job_may_write_is_its_own(attacked: Attacked) -> None:
    log = attacked.attack("""
for path in ("/etc/passwd", "/etc/ld.so.preload", "/etc/resolv.conf", "/etc/hosts",
             "/usr/bin/python3", "/usr/local/x", "/x", "/sys/x", "/proc/x"):
    attempt(path, lambda: open(path, "a").write("x"))
for folder in ("/tmp", "/dev/shm", os.environ["HOME"], "/workspace", "/output"):
    pathlib.Path(folder, "mark").write_text("bob was here")
attempt("hard link", lambda: os.link("/etc/passwd", "/output/passwd"))
""")
    assert all_refused(log, 10), log
    victim = attacked.container(attacked.victims_job)
    for folder in ("/tmp", "/dev/shm", "/home/job", "/workspace", "/output"):
        assert subprocess.run(["docker", "exec", victim, "test", "-e", f"{folder}/mark"]).returncode == 1
        assert subprocess.run(["docker", "exec", victim, "test", "-e", "/tmp/scratch"]).returncode == 0


def test_links_in_the_output_lead_nowhere(attacked: Attacked) -> None:
    secret = attacked.box.folder / "store" / "spud.db"
    attacked.attack(f"""
os.symlink("/etc/shadow", "/output/shadow")
os.symlink("/etc", "/output/etc")
os.symlink({str(secret)!r}, "/output/database")
os.symlink({str(attacked.folder(attacked.victims_job))!r}, "/output/theirs")
os.symlink("../../..", "/output/up")
os.mkfifo("/output/pipe")
open("/output/own", "w").write("bob's")
""")
    files = f"{attacked.box.url}/api/v1/jobs/{attacked.newest_job()}/files"
    paths = (
        "shadow",
        "etc/shadow",
        "database",
        "theirs/output/result",
        "up/spud.db",
        "pipe",
        "../output.log",
    )
    assert {status(f"{files}/output/{path}", attacked.attacker) for path in paths} == {404}
    assert status(f"{files}/output/own", attacked.attacker) == 200
    words = ("fetch", str(attacked.newest_job()), "--to", "stolen")
    attacked.box.spud(*words, SPUD_TOKEN=attacked.attacker)
    stolen = attacked.box.home / "stolen"
    assert [path.name for path in stolen.rglob("*") if path.is_file() or path.is_symlink()] == ["own"]


@pytest.mark.parametrize("name", ["..", "../../etc", "/etc", ".hidden", "a/b"])
def test_a_data_set_is_no_path(attacked: Attacked, name: str) -> None:
    words = ("submit", "--data", name, "--", "true")
    assert attacked.box.spud(*words, SPUD_TOKEN=attacked.attacker, check=False).returncode == 2


def test_a_data_set_that_is_a_link_to_elsewhere_is_refused(attacked: Attacked) -> None:
    elsewhere, data = attacked.box.folder / "elsewhere", attacked.box.folder / "data"
    elsewhere.mkdir()
    data.mkdir(exist_ok=True)
    (elsewhere / "manifest.json").write_text(json.dumps(MANIFEST))
    (data / "trap").symlink_to(elsewhere)
    words = ("submit", "--data", "trap", "--", "true")
    done = attacked.box.spud(*words, SPUD_TOKEN=attacked.attacker, check=False)
    assert done.returncode != 0
    assert "may not mount" in done.stderr


def test_a_fork_bomb_meets_its_limit(attacked: Attacked) -> None:
    log = attacked.attack("""
children = []
def bomb():
    while len(children) < 5000:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        children.append(pid)
    return "no limit"
attempt("forks", bomb)
print("children", len(children))
for pid in children:
    os.kill(pid, signal.SIGKILL)
""")
    assert all_refused(log, 1), log
    assert int(log.split("children ")[1]) < PIDS


def test_memory_beyond_the_limit_ends_the_attackers_job_alone(attacked: Attacked) -> None:
    log = attacked.attack("data = bytearray(2 * 1024**3); print('GOT', len(data))", "--memory", "64M")
    assert "GOT" not in log
    job = attacked.box.job(attacked.newest_job())
    assert (job["outcome"], job["exit_code"]) == ("failed", 137)
    assert alive(attacked.container(attacked.victims_job))


def test_a_job_without_gpu_has_no_card_and_cannot_ask_for_one(attacked: Attacked) -> None:
    log = attacked.attack("""
print("visible", os.environ["NVIDIA_VISIBLE_DEVICES"])
cards = ("dri", "kfd", "mem", "sda")
print("devices", [name for name in os.listdir("/dev") if "nvidia" in name or name in cards])
attempt("device", lambda: os.mknod("/tmp/nvidia0", 0o20666, os.makedev(195, 0)))
""")
    assert "visible void" in log
    assert "devices []" in log
    assert all_refused(log, 1), log
    words = ("submit", "--env", "NVIDIA_VISIBLE_DEVICES=all", "--", "true")
    done = attacked.box.spud(*words, SPUD_TOKEN=attacked.attacker, check=False)
    assert (done.returncode, "which Spud sets itself" in done.stderr) == (2, True)


def test_jobs_do_not_reach_the_victims_server(attacked: Attacked) -> None:
    words = ("submit", "--json", "--cpus", "1", "--", "python3", "-m", "http.server", "8000")
    server = int(json.loads(attacked.box.spud(*words, SPUD_TOKEN=attacked.victim).stdout)["id"])
    attacked.box.wait(server, "running")
    inspected = json.loads(subprocess.check_output(["docker", "inspect", attacked.container(server)]))[0]
    address = inspected["NetworkSettings"]["Networks"][attacked.box.prefix]["IPAddress"]
    until(lambda: status(f"http://{address}:8000/") == 200, "the victim's server answers the box")
    log = attacked.attack(f"attempt('server', lambda: socket.create_connection(({address!r}, 8000), 5))")
    assert all_refused(log, 1), log
    attacked.box.spud("cancel", str(server))


def test_another_users_secret_is_not_to_be_had(attacked: Attacked) -> None:
    words = ("submit", "--secret", "PASSWORD", "--", "env")
    done = attacked.box.spud(*words, SPUD_TOKEN=attacked.attacker, check=False)
    assert (done.returncode, "You have no secret PASSWORD" in done.stderr) == (2, True)


def alive(container: str) -> bool:
    state = subprocess.check_output(
        ["docker", "inspect", "--format", "{{.State.Running}}", container], text=True
    )
    return state.strip() == "true"


def status(url: str, token: str = "", method: str = "GET") -> int:
    """Return the status of a request that is made past all proxies; 0 when nobody answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with opener.open(urllib.request.Request(url, headers=headers, method=method), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


MANIFEST = {
    "name": "trap",
    "title": "Trap",
    "source": "here",
    "imported_at": "2026-11-22T10:00:00Z",
    "files": [],
}
