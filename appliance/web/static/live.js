// Keeps the parts of a page marked data-live as the server has them now: fetches the page again and
// replaces those that have changed. The server renders a page in one place only.
import { update } from "./times.js";

const seconds = Number(document.body.dataset.liveSeconds || 0);
const notice = document.getElementById("offline");
let busy = false;

function replace(old, fresh) {
  if (!fresh || old.innerHTML === fresh.innerHTML) return;
  const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  update(fresh);
  old.replaceWith(fresh);
  if (focused) fresh.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

async function load() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (response.redirected) location.reload(); // the session has ended: on to the sign-in form
  if (!response.ok) throw new Error(`status ${response.status}`);
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

export async function refresh() {
  if (busy) return;
  busy = true;
  try {
    const page = await load();
    for (const part of document.querySelectorAll("[data-live]")) replace(part, page.getElementById(part.id));
    notice.hidden = true;
  } catch {
    notice.hidden = false;
  } finally {
    busy = false;
  }
}

if (seconds) {
  setInterval(() => document.hidden || refresh(), seconds * 1000);
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
}
