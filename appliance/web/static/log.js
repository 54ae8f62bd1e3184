// Follows a job's log by server-sent events and appends to what the server has rendered.
import { refresh } from "./live.js";

const KEPT_CHARACTERS = 2_000_000;
const MOVING_ROWS = 50;
const LONGEST_LINE = 65_536;
const LONGEST_CODE = 1024;
// As in jobs/screen.py, which renders what was there when the page was made.
const CODE = /[\r\n\x08]|\x1b\[(\d*)([ABCDGJK])|\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_]|[ -/]*[0-~])|\x07/g;
const UNFINISHED = /^\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*|[ -/]*)?$/;

const box = document.getElementById("log");
const text = box.querySelector("pre");
const empty = document.getElementById("log-empty");
const jump = document.getElementById("log-jump");
const status = document.getElementById("log-status");

const lines = document.createTextNode(""); // final
const moving = document.createTextNode(""); // the last lines, which progress bars may write again
let rows = [""];
let row = 0;
let column = 0;
let rest = "";
let following = true;
let place = box.dataset.place;

function adopt() {
  rows = text.textContent.split("\n");
  row = rows.length - 1 - Number(box.dataset.below);
  column = Number(box.dataset.column);
  settle();
  show();
  text.replaceChildren(lines, moving);
}

function append(piece) {
  const coming = rest + piece;
  const start = coming.lastIndexOf("\x1b");
  const isUnfinished = start >= 0 && coming.length - start < LONGEST_CODE && UNFINISHED.test(coming.slice(start));
  rest = isUnfinished ? coming.slice(start) : "";
  const whole = isUnfinished ? coming.slice(0, start) : coming;
  let done = 0;
  for (const code of whole.matchAll(CODE)) {
    write(whole.slice(done, code.index));
    done = code.index + code[0].length;
    obey(code);
  }
  write(whole.slice(done));
  settle();
  show();
}

function write(piece) {
  if (!piece) return;
  if (column >= LONGEST_LINE) newLine();
  const before = rows[row].slice(0, column).padEnd(column);
  column += piece.length;
  rows[row] = before + piece + rows[row].slice(column);
}

function obey([code, digits, move]) {
  const count = Math.min(Number(digits) || 1, 1000);
  if (code === "\n") newLine();
  else if (code === "\r") column = 0;
  else if (code === "\b") column = Math.max(0, column - 1);
  else if (move === "A") row = Math.max(0, row - count);
  else if (move === "B") row = Math.min(rows.length - 1, row + count);
  else if (move === "C") column = Math.min(column + count, 1000);
  else if (move === "D") column = Math.max(0, column - count);
  else if (move === "G") column = count - 1;
  else if (move) erase(digits, move === "J");
}

function newLine() {
  row += 1;
  column = 0;
  if (row === rows.length) rows.push("");
}

function erase(digits, isAllBelow) {
  const old = rows[row];
  if (digits === "1") rows[row] = " ".repeat(column) + old.slice(column);
  else rows[row] = digits === "2" ? "" : old.slice(0, column);
  if (isAllBelow && !Number(digits)) rows.length = row + 1;
}

// Rows far above the last one do not move any more.
function settle() {
  const count = Math.min(row, rows.length - 1 - MOVING_ROWS);
  if (count <= 0) return;
  lines.appendData(rows.splice(0, count).join("\n") + "\n");
  row -= count;
}

function show() {
  moving.data = rows.join("\n");
  if (lines.length > KEPT_CHARACTERS) {
    lines.deleteData(0, lines.data.indexOf("\n", lines.length - KEPT_CHARACTERS / 2) + 1);
    document.getElementById("log-cut").hidden = false;
  }
  empty.hidden = lines.length + moving.length > 0;
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
  const source = new EventSource(`${box.dataset.stream}?offset=${place}`);
  source.onopen = () => (status.textContent = "live");
  source.addEventListener("log", (event) => {
    place = event.lastEventId;
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
