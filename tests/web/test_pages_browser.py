"""The pages in a real Chromium: what lives, that nothing leaves the box, what is left without JavaScript."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from appliance.jobs.job import Share
from tests.factories import make_gpu
from tests.web.box import WebBox

pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"
PICTURES = os.environ.get("SPUD_TEST_PICTURES")
"""A folder to keep a picture of every page in."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.fail("needs Debian's chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def requests() -> list[Request]:
    """Every request that the page has sent."""
    return []


@pytest.fixture
def problems() -> list[str]:
    """Every error in the browser's console, among them what the content security policy has stopped."""
    return []


@pytest.fixture
def page(
    chromium: Browser, served: WebBox, ada: str, requests: list[Request], problems: list[str]
) -> Iterator[Page]:
    """A page in which ada has signed in."""
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.on("request", lambda request: requests.append(request))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    sign_in(page, served, ada)
    yield page
    context.close()


def sign_in(page: Page, box: WebBox, token: str) -> None:
    page.goto(box.url)
    page.fill("#token", token)
    page.click("text=Sign in >> nth=-1")
    expect(page).to_have_url(box.url + "/")


def without_javascript(chromium: Browser, box: WebBox, token: str) -> Page:
    page = chromium.new_context(java_script_enabled=False).new_page()
    sign_in(page, box, token)
    return page


def test_the_log_of_a_running_job_grows(page: Page, served: WebBox) -> None:
    attempt = served.start(served.submit("ada"))
    served.write(attempt, "Step 200\n")
    page.goto(f"{served.url}/jobs/1")
    log = page.locator("#log pre")
    expect(log).to_have_text("Step 200\n")
    served.write(attempt, "\x1b[1mStep 400\x1b[0m\n10%\r50%\r100%\n<b>not bold</b>\n")
    expect(log).to_have_text("Step 200\nStep 400\n100%\n<b>not bold</b>\n")


def test_bars_on_several_lines_move_on_the_page(page: Page, served: WebBox) -> None:
    attempt = served.start(served.submit("ada"))
    served.write(attempt, "before\nouter 0%\n\rinner 0%\x1b[A")
    page.goto(f"{served.url}/jobs/1")
    log = page.locator("#log pre")
    served.write(attempt, "\n\rinner 50%\x1b[A\router 50%")
    expect(log).to_contain_text("outer 50%")
    served.write(attempt, "\n\rinner 99%\x1b[A\router 99%\n\nafter\x08\x08\x08\x08\x08AFTER\n")
    expect(log).to_have_text("before\nouter 99%\ninner 99%\nAFTER\n")


def test_a_job_s_end_shows_without_a_reload(page: Page, served: WebBox) -> None:
    attempt = served.start(served.submit("ada"))
    page.goto(f"{served.url}/jobs/1")
    expect(page.locator("#head")).to_contain_text("running")
    served.write(attempt, "last words\n")
    served.finish(attempt)
    expect(page.locator("#head")).to_contain_text("succeeded")
    expect(page.locator("#outcome")).to_contain_text("The job succeeded.")
    expect(page.locator("#log")).to_contain_text("last words")


def test_the_log_stays_where_the_reader_has_scrolled(page: Page, served: WebBox) -> None:
    attempt = served.start(served.submit("ada"))
    served.write(attempt, "".join(f"line {number}\n" for number in range(300)))
    page.goto(f"{served.url}/jobs/1")
    expect(page.locator("#log-status")).to_have_text("live")
    page.locator("#log").evaluate("box => box.scrollTop = 0")
    expect(page.locator("#log-jump")).to_be_visible()
    served.write(attempt, "one more\n")
    expect(page.locator("#log")).to_contain_text("one more")
    assert page.locator("#log").evaluate("box => box.scrollTop") == 0
    page.click("#log-jump")
    expect(page.locator("#log-jump")).to_be_hidden()


def test_the_overview_keeps_itself_up_to_date(page: Page, served: WebBox) -> None:
    expect(page.locator("#gpus")).to_contain_text("Jobs run on the CPU")
    served.see(make_gpu(0))
    job = served.submit("ada", name="rnn", gpus=1)
    expect(page.locator("#waiting")).to_contain_text("rnn")
    served.start(job, "GPU-0")
    expect(page.locator("#running")).to_contain_text("rnn")
    expect(page.locator(".gpu footer")).to_contain_text("rnn")


def test_jobs_that_share_a_card_stand_below_each_other(page: Page, served: WebBox) -> None:
    served.see(make_gpu(0))
    for name in ("sweep", "finetune"):
        job = served.submit("ada", gpu_memory="3G", name=name)
        assert served.storage.lifecycle.start(job.id, [Share("GPU-0", 3 * 1024**3, 8 * 1024**3)], "boot")
    page.goto(served.url + "/")
    first, second = (page.locator(".gpu footer a").nth(index).bounding_box() for index in (0, 1))
    assert first
    assert second
    assert second["x"] == first["x"]
    assert second["y"] >= first["y"] + first["height"]


def test_a_script_is_submitted(page: Page, served: WebBox, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print('hello')")
    page.click("nav >> text=Submit")
    page.set_input_files("#files", tmp_path / "train.py")
    expect(page.locator("#files-chosen")).to_contain_text("train.py (1 KiB)")
    page.fill("#arguments", "--epochs 3")
    page.click("button.main")
    expect(page).to_have_url(f"{served.url}/jobs/1")
    expect(page.locator("h1")).to_contain_text("train.py")
    assert served.storage.jobs.get(1).spec.command == ("python3", "train.py", "--epochs", "3")


def test_an_upload_over_the_limit_is_told_before_it_is_sent(
    page: Page, served: WebBox, tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_bytes(os.urandom(300_000))
    page.goto(f"{served.url}/submit")
    page.set_input_files("#files", tmp_path / "train.py")
    expect(page.locator("#files-chosen")).to_contain_text("larger than 196 KiB")
    page.click("button.main")
    expect(page).to_have_url(f"{served.url}/submit")


def test_the_theme_can_be_chosen_and_stays(page: Page, served: WebBox) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.click("#theme")
    assert page.evaluate(ground) != light
    page.goto(f"{served.url}/jobs")
    assert page.evaluate(ground) != light


def test_nothing_leaves_the_box_and_the_console_stays_clean(
    page: Page, served: WebBox, requests: list[Request], problems: list[str]
) -> None:
    served.finish(served.start(served.submit("ada")))
    for path in ("/", "/jobs", "/jobs/1", "/submit", "/users"):
        page.goto(served.url + path)
        page.wait_for_timeout(300)
    assert {request.url.split("/")[2] for request in requests} == {served.settings.web.listen}
    assert problems == []


def test_everything_can_be_read_and_done_without_javascript(
    chromium: Browser, served: WebBox, ada: str, tmp_path: Path
) -> None:
    page = without_javascript(chromium, served, ada)
    (tmp_path / "train.py").write_text("print('hello')")
    page.goto(f"{served.url}/submit")
    page.set_input_files("#files", tmp_path / "train.py")
    page.click("button.main")
    served.write(served.start(served.storage.jobs.get(1)), "Step 200\n")
    page.goto(f"{served.url}/jobs/1")
    expect(page.locator("#log")).to_contain_text("Step 200")
    page.click("text=Cancel")
    page.click("text=Cancel the job")
    expect(page.locator("#head")).to_contain_text("ada asked for its end")
    page.click("text=Sign out")
    expect(page).to_have_url(f"{served.url}/login")


@pytest.mark.parametrize("width", [320, 390, 820, 1280])
def test_no_page_is_wider_than_the_screen(page: Page, served: WebBox, width: int) -> None:
    served.see(make_gpu(0), make_gpu(1))
    attempt = served.start(served.submit("ada", name="a" * 60, command=["x", "y" * 300], gpus=1), "GPU-0")
    served.write(attempt, "z" * 500 + "\n")
    served.storage.lifecycle.set_waiting_for({served.submit("ada", gpus=2).id: "2 GPUs, of which 1 is free"})
    page.set_viewport_size({"width": width, "height": 800})
    for path in ("/", "/jobs", "/jobs/1", "/jobs/1/cancel", "/submit", "/users", "/nothing"):
        page.goto(served.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (c) => c.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c[3] === 255) return c;
    }
    return [255, 255, 255, 255];
  };
  const poor = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || !e.checkVisibility()) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${e.outerHTML.slice(0, 60)} ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_legible(chromium: Browser, served: WebBox, ada: str, theme: Any) -> None:
    """WCAG 2.2, 1.4.3: 4.5:1 between text and ground."""
    served.see(make_gpu(0))
    served.start(served.submit("ada", gpus=1), "GPU-0")
    served.finish(served.start(served.submit("ada")))
    served.submit("ada")
    page = chromium.new_context(color_scheme=theme).new_page()
    sign_in(page, served, ada)
    for path in ("/", "/jobs", "/jobs/1", "/jobs/1/cancel", "/jobs/2", "/submit", "/users", "/nothing"):
        page.goto(served.url + path)
        assert page.evaluate(CONTRAST) == [], path
        if PICTURES:
            name = path.strip("/").replace("/", "-") or "overview"
            page.screenshot(path=Path(PICTURES) / f"{name}-{theme}.png", full_page=True)


def test_every_field_has_a_label(page: Page, served: WebBox) -> None:
    for path in ("/submit", "/users", "/login"):
        page.goto(served.url + path)
        fields = "input:not([type=hidden]), select"
        unlabelled = f"[...document.querySelectorAll('{fields}')].filter(f => !f.labels.length).length"
        assert page.evaluate(unlabelled) == 0
