/** Asks for a key where the service wants one; it is kept for this tab only. */

import { keepKey } from "./api.js";
import { field, h, problem } from "./dom.js";

let asking = null;

/** @returns {Promise<boolean>} Whether a key was given. Several refusals at once ask once. */
export function askForKey(refusal) {
  asking ??= ask(refusal).finally(() => { asking = null; });
  return asking;
}

function ask(refusal) {
  return new Promise((resolve) => {
    const input = h("input", { type: "password", name: "key", autocomplete: "off", required: true });
    const dialog = h("dialog", { "aria-labelledby": "key-title", onclose: () => {
      const key = dialog.returnValue === "ok" ? input.value.trim() : "";
      if (key) keepKey(key);
      dialog.remove();
      resolve(Boolean(key));
    } }, h("form", { method: "dialog" },
      h("h2", { id: "key-title" }, "This service needs a key"),
      refusal.type === "KeyUnknown" ? problem(refusal) : null,
      h("p", { className: "muted" }, "Whoever runs it makes one with ", h("code", {}, "latentstore key create"), ". It is kept in this tab until the tab is closed."),
      field("Key", input),
      h("div", { className: "buttons" }, h("button", { className: "main", value: "ok" }, "Use the key"), h("button", { type: "button", className: "quiet", onclick: () => dialog.close("") }, "Cancel"))));
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
  });
}
