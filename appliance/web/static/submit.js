// Tells which files were chosen, offers them as the script, and warns of an upload that is too large
// before it is sent.

const input = document.getElementById("files");
const summary = document.getElementById("files-chosen");
const names = document.getElementById("file-names");
const limit = Number(input.dataset.limitBytes);

function size(bytes) {
  return bytes < 1024 ** 2 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}

function describe(files) {
  const total = files.reduce((sum, file) => sum + file.size, 0);
  const listed = files.slice(0, 4).map((file) => file.name).join(", ");
  const more = files.length > 4 ? ` and ${files.length - 4} more` : "";
  return { total, line: `${listed}${more} (${size(total)})` };
}

function show() {
  const files = [...input.files];
  const { total, line } = describe(files);
  const problem = total > limit ? `These files are larger than ${size(limit)}. Mount data as a data set.` : "";
  input.setCustomValidity(problem);
  summary.textContent = problem || (files.length ? line : "");
  names.replaceChildren(...files.map((file) => Object.assign(document.createElement("option"), { value: file.name })));
}

input.addEventListener("change", show);
show();
