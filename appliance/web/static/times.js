// Keeps "3 min ago" and "running for 12 s" true while the page is open, and gives exact times in the
// reader's own time zone. The wording is that of display.py.

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

function duration(seconds) {
  let left = Math.max(0, Math.floor(seconds));
  const parts = [];
  for (const [unit, length] of UNITS) {
    const count = Math.floor(left / length);
    left %= length;
    if (count) parts.push(`${count} ${unit}`);
    else if (parts.length) break;
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}

function ago(seconds) {
  return seconds < 5 ? "just now" : `${duration(seconds).split(" ").slice(0, 2).join(" ")} ago`;
}

function secondsSince(element) {
  return (Date.now() - Date.parse(element.dateTime)) / 1000;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function update(root = document) {
  for (const element of root.querySelectorAll("time[data-ago]")) {
    write(element, ago(secondsSince(element)));
    element.title = EXACT.format(new Date(element.dateTime));
  }
  for (const element of root.querySelectorAll("time[data-since]")) write(element, duration(secondsSince(element)));
  for (const element of root.querySelectorAll("time[data-exact]")) {
    write(element, EXACT.format(new Date(element.dateTime)));
  }
}

update();
setInterval(update, 1000);
