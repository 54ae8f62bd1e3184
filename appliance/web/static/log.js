// Follows a job's log by server-sent events and appends to what the server has rendered.
import { refresh } from "./live.js";

const KEPT_CHARACTERS = 2_000_000;
const CONTROL_CODE = /\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])|\x08|\x07/g;

const box = document.getElementById("log");
const text = box.querySelector("pre");
const empty = document.getElementById("log-empty");
const jump = document.getElementById("log-jump");
const status = document.getElementById("log-status");

const lines = document.createTextNode(""); // whole lines, final
const last = document.createTextNode(""); // the line that is still being written
let pending = "";
let following = true;
let offset = box.dataset.offset;

// As a terminal would show it: no colours, and of each line what follows its last carriage return.
function shown(line) {
  const plain = line.replace(CONTROL_CODE, "").replace(/\r+$/, "");
  return plain.slice(plain.lastIndexOf("\r") + 1);
}

function adopt() {
  const rendered = text.textContent;
  const end = rendered.lastIndexOf("\n") + 1;
  lines.data = rendered.slice(0, end);
  last.data = pending = rendered.slice(end);
  text.replaceChildren(lines, last);
}

function append(piece) {
  const parts = (pending + piece).split("\n");
  pending = parts.pop();
  if (parts.length) lines.appendData(parts.map(shown).join("\n") + "\n");
  last.data = shown(pending);
  if (lines.length > KEPT_CHARACTERS) {
    lines.deleteData(0, lines.data.indexOf("\n", lines.length - KEPT_CHARACTERS / 2) + 1);
    document.getElementById("log-cut").hidden = false;
  }
  empty.hidden = true;
  if (following) scroll();
}

function scroll() {
  box.scrollTop = box.scrollHeight;
}

function noteScroll() {
  following = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
  jump.hidden = following;
}

function connect() {
  const source = new EventSource(`${box.dataset.stream}?offset=${offset}`);
  source.onopen = () => (status.textContent = "live");
  source.addEventListener("log", (event) => {
    offset = event.lastEventId;
    append(JSON.parse(event.data));
  });
  source.addEventListener("attempt", () => location.reload());
  source.addEventListener("state", () => refresh());
  source.addEventListener("end", () => {
    source.close();
    status.textContent = "";
    refresh();
  });
  source.onerror = () => {
    status.textContent = "reconnecting…";
    // A refusal (too many followers, a restart) closes the source for good; a lost line does not.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 5000);
  };
}

adopt();
scroll();
box.addEventListener("scroll", noteScroll, { passive: true });
jump.addEventListener("click", () => {
  following = true;
  scroll();
});
if (box.dataset.stream) connect();
