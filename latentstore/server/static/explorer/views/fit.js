/** Fitting a new attribute vector from the two groups that were chosen on the map. */

import { postJson } from "../api.js";
import { field, fill, h, problem, select, toast } from "../dom.js";
import { quoted } from "../snapshot.js";
import { link } from "../state.js";

const METHODS = ["mean_difference", "logistic"];
const NAME = /^[a-z][a-z0-9_]*$/;

export class FitForm {
  constructor({ snapshot, session, done }) {
    Object.assign(this, { snapshot, session, done, method: METHODS[0], name: "" });
    this.node = h("section", { className: "card fit", "aria-label": "Fit a new attribute" });
  }

  update() {
    const { positive, negative } = this.session.groups;
    const name = h("input", { type: "text", value: this.name, placeholder: "e.g. high_heeled", spellcheck: false, autocomplete: "off", oninput: () => { this.name = name.value.trim(); } });
    const group = (sign, ids) => h("div", {}, h("span", { className: "muted" }, `Group ${sign} `), ids.length ? `${ids.length.toLocaleString("en-GB")} items` : h("a", { href: link({ view: "map" }) }, "choose on the map"));
    this.said = h("div", {});
    fill(this.node, h("h2", {}, "A new attribute"), h("div", { className: "pair" }, group("+", positive), group("−", negative)),
      h("form", { className: "form-row", onsubmit: (event) => { event.preventDefault(); this.#fit(); } },
        field("Name", name), field("Method", select(METHODS.map((one) => [one, one.replaceAll("_", " ")]), this.method, (method) => { this.method = method; })),
        h("button", { type: "submit", className: "main", disabled: !positive.length || !negative.length }, "Fit")), this.said);
  }

  async #fit() {
    const { snapshot } = this, { positive, negative } = this.session.groups, among = (ids) => `id in (${ids.map(quoted).join(", ")})`;
    if (!NAME.test(this.name)) {
      fill(this.said, problem({ message: `${this.name ? `'${this.name}'` : "Nothing"} is no name of an attribute`, hint: "begin with a small letter; small letters, digits and _ may follow" }));
      return;
    }
    fill(this.said, h("p", { className: "muted", role: "status" }, "Fitting…"));
    try {
      const { version } = await postJson(`${snapshot.path}/attributes`, { name: this.name, positive: among(positive), negative: among(negative), method: this.method });
      toast(`Attribute ${this.name} is in version ${version}, which is looked at now; others see it once the served tag moves there.`);
      this.done(version);
    } catch (error) {
      fill(this.said, problem(error));
    }
  }
}
