"""A preparer on a real store and a real engine, without Spud's processes."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

from appliance.config import load_settings
from appliance.containers.docker_builds import DockerBuilds
from appliance.executors.preparer import Preparer
from appliance.jobs.job import Attempt, Job
from appliance.jobs.log import read
from appliance.jobs.requirements import read_requirements
from appliance.storage import open_storage
from appliance.users.user import Role, User
from tests.factories import make_archive, make_spec
from tests.system.running_box import until

SOCKET = "unix:///var/run/docker.sock"
Code = dict[str, str | bytes]


class PreparingBox:
    """A store with a preparer, and none of Spud's processes."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.prefix = f"spud-test-{secrets.token_hex(4)}"
        environ = {
            "SPUD_CONFIG": "/dev/null",
            "SPUD_STORE_DIRECTORY": str(folder / "store"),
            "SPUD_ENGINE_PREFIX": self.prefix,
            "SPUD_IMAGES_DEFAULT": "tensorflow",  # its pip is new, which saves 10 s
            "SPUD_NETWORK_MODE": "bridge",
            "SPUD_JOBS_MIN_FREE_BYTES": "0",
            **variables,
        }
        self.settings = load_settings(environ=environ)
        self.storage = open_storage(self.settings)
        self.ada: User = self.storage.users.add("ada", Role.USER)
        self.engine = DockerBuilds(SOCKET)
        self.preparer = self.new_preparer()

    def new_preparer(self) -> Preparer:
        return Preparer(self.storage, self.engine, self.settings, on_change=lambda: None)

    def submit(self, code: Code | None = None, **spec: object) -> Job:
        snapshot = self.storage.snapshots.add(make_archive(code)) if code else None
        job_spec = make_spec(**spec)
        hashed = None
        if snapshot:
            found = read_requirements(self.storage.snapshots.path(snapshot.sha256), job_spec.requirements)
            hashed = found.hash(snapshot.sha256) if found else None
        name = snapshot.sha256 if snapshot else None
        return self.storage.jobs.add(job_spec, self.ada, name, None, None, hashed)

    def begin(self, job: Job) -> Attempt:
        attempt = self.storage.lifecycle.begin_image(job.id, "boot", "its image is being made")
        assert attempt
        self.preparer.prepare(self.storage.jobs.get(job.id), attempt)
        return attempt

    def image(self, job: Job) -> str:
        """Wait until the job's image is ready, and return its id."""

        def ready() -> str | None:
            assert not (now := self.storage.jobs.get(job.id)).is_finished, now.verdict
            return self.storage.jobs.attempts(job.id)[-1].image_digest

        return until(ready, f"the image of job {job.id} is ready", 120) or ""

    def ended(self, job: Job) -> Job:
        until(lambda: self.storage.jobs.get(job.id).is_finished, f"job {job.id} has ended", 120)
        return self.storage.jobs.get(job.id)

    def log(self, attempt: Attempt) -> str:
        return b"".join(piece for _, piece in read(self.storage.job_directory(attempt).log)).decode()

    def containers(self) -> list[str]:
        return self.engine.names(self.prefix)

    def clean(self) -> None:
        for _, attempt in self.storage.jobs.active():
            self.preparer.cancel(attempt)
        until(lambda: self.containers() == [], "what was under way has been given up")
        jobs = self.storage.jobs
        images = {attempt.image_digest for job in jobs.list() for attempt in jobs.attempts(job.id)}
        for image in filter(None, images):
            found = self.engine.find(image)
            if found and "spud.layer" in found.labels:
                docker("rmi", "--force", image)


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


def tags(image: str) -> str:
    return docker("image", "inspect", "--format", "{{.RepoTags}}", image)


def run_python(image: str, code: str) -> str:
    return docker("run", "--rm", "--network=none", "--user=1900000001", image, "python3", "-c", code)
