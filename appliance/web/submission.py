"""From a user's wish to a recorded job: every check that comes before, then snapshot, then job."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import BinaryIO

from appliance.datasets.library import DatasetLibrary
from appliance.errors import InvalidRequest, NotFound
from appliance.failpoints import reach
from appliance.jobs.image_name import refusal as image_refusal
from appliance.jobs.job import Job
from appliance.jobs.requirements import FOUND_BY_ITSELF, read_requirements
from appliance.jobs.snapshot import Snapshot
from appliance.jobs.spec import JobSpec, parse_spec
from appliance.scheduler.admission import refusal
from appliance.users.user import User
from appliance.validation import unknown_name
from appliance.web.audit import audit
from appliance.web.services import services

_GIT_COMMIT = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,99}")


def submit(
    owner: User,
    values: object,
    code: BinaryIO | None,
    git_commit: str | None = None,
    git_diff: BinaryIO | None = None,
) -> Job:
    """Record a job from the keys of its spec, a .tar.gz of its code and the changes that git has not.

    Raises InvalidRequest, TooLarge or StorageFull; no job is recorded then.
    """
    spec = _with_image(parse_spec(values))
    storage = services().storage
    if reason := refusal(spec, storage.box.box()):
        raise InvalidRequest(reason)
    _check_image(spec)
    _check_data(spec.data, dataset_names())
    _check_links(spec.data)
    _check_secrets(spec, owner)
    _check_commit(git_commit)
    snapshot = storage.snapshots.add(code) if code else None
    requirements = _requirements_hash(spec, snapshot)
    diff = storage.snapshots.add_diff(git_diff) if git_diff else None
    with storage.database.transaction():
        job = storage.jobs.add(
            spec, owner, snapshot.sha256 if snapshot else None, git_commit, diff, requirements
        )
        audit("job.submit", job.id, job.name)
    reach("submit.recorded")
    return job


def parse_json(text: str) -> object:
    """Return what the JSON text holds; raises InvalidRequest with the place of the mistake."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidRequest(f"The job is not valid JSON: {error.msg} in {place}.") from None
    except ValueError:
        raise InvalidRequest("The job is not valid JSON: it holds a number that is too long.") from None


def dataset_names() -> list[str]:
    """Return the names of the data sets on this box."""
    return [dataset.name for dataset in DatasetLibrary(services().settings.data.directory).list()]


def _with_image(spec: JobSpec) -> JobSpec:
    """Fix the default image now, so that a later change of the default leaves queued jobs alone."""
    return spec if spec.image else spec.model_copy(update={"image": services().settings.images.default})


def _check_image(spec: JobSpec) -> None:
    """Refuse an image that jobs may not run in, or that cannot be had, as far as the box is known."""
    box = services().storage.box.box()
    if (
        box
        and not box.engine_error
        and (reason := image_refusal(spec.image or "", box.images, services().settings.images))
    ):
        raise InvalidRequest(reason)


def _requirements_hash(spec: JobSpec, snapshot: Snapshot | None) -> str | None:
    """Return what names the packages that the code asks for; None when it asks for nothing."""
    if snapshot is None:
        if spec.requirements:
            raise InvalidRequest(f"requirements: no code was sent, so there is no {spec.requirements} in it.")
        return None
    if spec.requirements is None and snapshot.paths.isdisjoint(FOUND_BY_ITSELF):
        return None
    archive = services().storage.snapshots.path(snapshot.sha256)
    found = read_requirements(archive, spec.requirements)
    return found.hash(snapshot.sha256) if found else None


def _check_data(wanted: Iterable[str], known: list[str]) -> None:
    for name in wanted:
        if name in known:
            continue
        if not known:
            raise InvalidRequest(f'Unknown data set "{name}". This box has none yet: see spud data --help')
        raise InvalidRequest(unknown_name(name, known, f'data set "{name}"'))


def _check_links(wanted: Iterable[str]) -> None:
    data = services().settings.data
    for name in wanted:
        DatasetLibrary(data.directory).folder(name, data.roots)


def _check_secrets(spec: JobSpec, owner: User) -> None:
    try:
        services().storage.secrets.check(owner.id, spec.secrets)
    except NotFound as error:
        raise InvalidRequest(error.message) from None
    if both := sorted(spec.env.keys() & set(spec.secrets)):
        raise InvalidRequest(f"{both[0]} is both a secret and a variable of env. Leave one out.")


def _check_commit(git_commit: str | None) -> None:
    if git_commit is not None and not _GIT_COMMIT.fullmatch(git_commit):
        raise InvalidRequest("git_commit must be the hash of a commit, such as 1a2b3c4.")
