"""Take pictures of a running box's pages: SPUD_URL=… SPUD_TOKEN=… python tests/screenshots.py [FOLDER]

Writes overview.png and job.png (of the newest running job, else the newest one) into FOLDER, docs/images by
default. With --all it takes every page, in both themes and at a phone's width, to be looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
DESKTOP = (1280, 860)
PHONE = (390, 844)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", nargs="?", type=Path, default=Path("docs/images"))
    arguments.add_argument("--all", action="store_true")
    options = arguments.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    url, token = os.environ["SPUD_URL"].rstrip("/"), os.environ["SPUD_TOKEN"]
    job = f"/jobs/{_job_to_show(url, token)}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        if options.all:
            _take_all(browser, url, token, job, options.folder)
        else:
            page = _sign_in(browser, url, token, "light", DESKTOP)
            _take(page, url + "/", options.folder / "overview.png")
            _take(page, url + job, options.folder / "job.png")
        browser.close()


def _take_all(browser: Browser, url: str, token: str, job: str, folder: Path) -> None:
    pages = {"overview": "/", "jobs": "/jobs", "job": job, "submit": "/submit", "users": "/users"}
    pages |= {"cancel": f"{job}/cancel", "missing": "/jobs/999999"}
    for theme in ("light", "dark"):
        for width, size in (("desktop", DESKTOP), ("phone", PHONE)):
            page = _sign_in(browser, url, token, theme, size, folder / f"login-{theme}-{width}.png")
            for name, path in pages.items():
                _take(page, url + path, folder / f"{name}-{theme}-{width}.png", full=True)


def _sign_in(
    browser: Browser,
    url: str,
    token: str,
    theme: Any,
    size: tuple[int, int],
    picture: Path | None = None,
) -> Page:
    viewport: Any = {"width": size[0], "height": size[1]}
    page = browser.new_context(color_scheme=theme, viewport=viewport, device_scale_factor=1.5).new_page()
    page.goto(url + "/login")
    if picture:
        page.screenshot(path=picture)
    page.fill("#token", token)
    page.click("button.main")
    page.wait_for_url(url + "/")
    return page


def _take(page: Page, address: str, path: Path, *, full: bool = False) -> None:
    page.goto(address)
    page.wait_for_timeout(1500)  # the live log has caught up
    page.screenshot(path=path, full_page=full)
    print(path)


def _job_to_show(url: str, token: str) -> int:
    for query in ("?owner=all&state=running", "?owner=all"):
        request = urllib.request.Request(
            f"{url}/api/v1/jobs{query}", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request) as response:
            jobs = json.load(response)["jobs"]
        if jobs:
            return int(min(jobs, key=lambda job: job["id"])["id"]) if "state" in query else int(jobs[0]["id"])
    raise SystemExit("The box has no job yet. Run one: spud bench rnn")


if __name__ == "__main__":
    main()
