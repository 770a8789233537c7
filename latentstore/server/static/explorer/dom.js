/** Making elements, and the few parts that every view uses. */

/** An element: attributes by name, `on…` as listeners, `class`, `dataset`; children are nodes or text. */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (name in node && !["list", "form", "width", "height", "role"].includes(name)) node[name] = value;
    else node.setAttribute(name === "className" ? "class" : name, value === true ? "" : value);
  }
  node.append(...children.flat(3).filter((one) => one !== null && one !== undefined && one !== false));
  return node;
}

/** Replace what is in a node. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(3).filter((one) => one !== null && one !== undefined && one !== false));
  return node;
}

/** A control under its label. */
export function field(label, control, hint) {
  return h("label", { className: "field" }, h("span", { className: "field-name" }, label), control,
    hint ? h("span", { className: "hint" }, hint) : null);
}

export function select(options, value, onchange, label) {
  const node = h("select", { onchange: () => onchange(node.value), "aria-label": label },
    options.map((one) => {
      const [key, text] = Array.isArray(one) ? one : [one, one];
      return h("option", { value: key, selected: key === value }, text);
    }));
  return node;
}

export function checkbox(label, checked, onchange) {
  const box = h("input", { type: "checkbox", checked, onchange: () => onchange(box.checked) });
  return h("label", { className: "check" }, box, label);
}

/** A table of rows; cells are text or nodes. Numbers are set right. */
export function table(names, rows, caption) {
  const numeric = names.map((_, j) => rows.length > 0 && rows.every((row) => typeof row[j] === "number" || row[j] === null));
  return h("div", { className: "table-box", tabIndex: 0, role: "region", "aria-label": caption ?? "table" },
    h("table", {}, caption ? h("caption", { className: "unseen" }, caption) : null,
      h("thead", {}, h("tr", {}, names.map((name, j) => h("th", { scope: "col", className: numeric[j] ? "number" : "" }, name)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, j) =>
        h("td", { className: numeric[j] ? "number" : "" }, cell instanceof Node ? cell : shown(cell))))))));
}

/** A value as text: numbers short, lists and objects as JSON, nothing as a dash. */
export function shown(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return Number.isInteger(value) ? value.toLocaleString("en-GB") : String(+value.toPrecision(4));
  if (typeof value === "object") {
    const text = JSON.stringify(value);
    return text.length > 80 ? text.slice(0, 80) + "…" : text;
  }
  return String(value);
}

/** How real a latent is, 0 to 1: a bar with its figure, with words before it where nothing else says what it is. */
export function gauge(value, words = "") {
  if (value === null || value === undefined) return h("span", { className: "gauge none" }, "realism unknown");
  const bar = h("span", { className: "gauge-bar" });
  bar.style.width = `${Math.round(100 * Math.min(1, Math.max(0, value)))}%`;
  return h("span", { className: "gauge", title: "realism: the share of real items that lie at least as far from their neighbours",
    role: "meter", "aria-label": "realism", ariaValueMin: "0", ariaValueMax: "1", ariaValueNow: value.toFixed(2) },
  words ? h("span", { className: "muted" }, words) : null, h("span", { className: "gauge-track" }, bar), h("span", { className: "gauge-value" }, value.toFixed(2)));
}

/** What went wrong, with the remedy the service gives. */
export function problem(error) {
  return h("div", { className: "problem", role: "alert" },
    h("strong", {}, error.message), error.hint ? h("span", {}, error.hint + ".") : null);
}

export function empty(...words) {
  return h("p", { className: "empty" }, ...words);
}

export function busy(words = "Working…") {
  return h("p", { className: "busy", role: "status" }, words);
}

/** Say something for a while at the foot of the page. */
export function toast(words, ...more) {
  const box = document.getElementById("toasts");
  const node = h("div", { className: "toast", role: "status" }, words, ...more);
  box.replaceChildren(node);
  setTimeout(() => node.remove(), 7000);
}

/** Give the reader a file. */
export function download(name, blob) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function copyButton(text, label) {
  return h("button", { type: "button", className: "quiet", onclick: async () => {
    try {
      await navigator.clipboard.writeText(text());
      toast("Copied.");
    } catch {
      toast("The browser did not allow copying: select the text and copy it.");
    }
  } }, label);
}
