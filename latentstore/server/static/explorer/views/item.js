/** One item, or a picture of one's own: what it looks like, what is near, where it lies. */

import { Latest, postFile } from "../api.js";
import { busy, empty, field, fill, gauge, h, problem, shown } from "../dom.js";
import { chosen, ring, spots } from "../marks.js";
import { picture, png } from "../pictures.js";
import { SmallMap } from "../smallmap.js";
import { quoted } from "../snapshot.js";
import { link, set } from "../state.js";
import { neighbourTiles } from "../tiles.js";

const NEIGHBOURS = 14;

export class ItemView {
  #latest = new Latest();

  constructor({ snapshot }) {
    this.snapshot = snapshot;
    this.map = new SmallMap(snapshot, { label: "Where the item and its neighbours lie", pick: (item) => set({ item }, { push: true }) });
    this.input = h("input", { type: "text", spellcheck: false, autocomplete: "off" });
    this.result = h("div", { className: "parts" });
    const go = (event) => { event.preventDefault(); set({ item: this.input.value.trim() }, { push: true }); };
    this.node = h("div", { className: "page" },
      h("h1", { className: "unseen" }, "Item"),
      h("form", { className: "form-row", onsubmit: go }, field("Id of an item", this.input), h("button", { type: "submit", className: "main" }, "Show"),
        h("button", { type: "button", onclick: async () => set({ item: await snapshot.someId() }, { push: true }) }, "Any other"),
        snapshot.draws ? this.#upload() : null),
      h("div", { className: "columns" }, h("div", { className: "side" }, this.card = h("div", { className: "card" })), this.result));
  }

  #upload() {
    const file = h("input", { type: "file", accept: "image/png,image/jpeg,image/webp,image/gif,image/bmp", onchange: () => file.files[0] && this.#encode(file.files[0]) });
    const box = h("label", { className: "drop" }, h("span", {}, "A picture of your own: choose it, or drop it here"), file);
    box.addEventListener("dragover", (event) => { event.preventDefault(); box.classList.add("over"); });
    box.addEventListener("dragleave", () => box.classList.remove("over"));
    box.addEventListener("drop", (event) => {
      event.preventDefault();
      box.classList.remove("over");
      if (event.dataTransfer.files[0]) this.#encode(event.dataTransfer.files[0]);
    });
    return box;
  }

  async update(state, before) {
    if (before && before.view === state.view && before.item === state.item) return;
    if (!state.item) return void set({ item: await this.snapshot.someId() });
    if (this.showing === state.item) return;
    this.showing = state.item;
    this.input.value = state.item;
    const { snapshot } = this, id = state.item;
    fill(this.result, busy("Looking…"));
    try {
      const found = await this.#latest.run((signal) => Promise.all([
        snapshot.item(id),
        snapshot.draws ? snapshot.post("edit", { query: quoted(id), k: NEIGHBOURS + 1 }, { signal }) : snapshot.post("search", { query: quoted(id), k: NEIGHBOURS + 1 }, { signal }),
        snapshot.draws ? snapshot.pictures.of(id).catch(() => null) : null,
      ]));
      if (!found) return;
      const [item, around, address] = found;
      const others = around.ids.map((one, i) => [one, (around.distances ?? around.similarities)[i]]).filter(([one]) => one !== id).slice(0, NEIGHBOURS);
      this.#show({
        title: id, address, decoded: around.picture, realism: around.realism,
        facts: Object.entries(item.metadata), links: this.#links(id),
        near: { ids: others.map(([one]) => one), distances: others.map(([, far]) => far) },
      });
      await this.map.ready;
      this.map.show(chosen(others.map(([one]) => this.map.placeOf(one)).filter((i) => i >= 0), "--second"), ring(this.map.placeOf(id)));
    } catch (error) {
      this.showing = null;
      fill(this.card, problem(error));
      fill(this.result, empty("Choose an item on the map, or ask for any other."));
    }
  }

  #links(id) {
    return h("nav", { className: "links", "aria-label": "This item" }, h("a", { href: link({ view: "map", item: id }) }, "On the map"), h("a", { href: link({ view: "edit", item: id }) }, "Edit"),
      h("a", { href: link({ view: "path", a: quoted(id) }) }, "Path from here"), h("a", { href: link({ view: "path", b: quoted(id) }) }, "Path to here"));
  }

  #show({ title, address, decoded, realism, facts, links, near }) {
    const figure = (source, words) => h("figure", {}, picture(source, `${words} of ${title}`, 140), h("figcaption", {}, words));
    fill(this.card, h("h2", {}, title),
      address || decoded ? h("div", { className: "pair-pictures" }, address ? figure(address, "Picture") : null, decoded ? figure(png(decoded), "Reconstruction") : null) : null,
      gauge(realism, "Realism"), h("dl", { className: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, shown(value))])), links);
    fill(this.result, h("section", {}, h("h2", {}, "Nearest items")), neighbourTiles(this.snapshot, near), h("h2", {}, "On the map"), this.map.node);
  }

  async #encode(file) {
    const { snapshot } = this, query = new URLSearchParams({ k: NEIGHBOURS, ...(this.map.name ? { map: this.map.name } : {}), ...(snapshot.asked ? { at: snapshot.asked } : {}) });
    this.showing = null;
    fill(this.result, busy("Encoding the picture…"));
    try {
      const found = await postFile(`${snapshot.path}/encode?${query}`, file);
      const shownHere = await drawn(file, snapshot.about.item_shape);
      this.input.value = "";
      this.#show({ title: file.name, address: shownHere, decoded: found.picture, realism: found.realism, facts: [["file", file.name], ["space", snapshot.about.name]], links: null, near: found });
      await this.map.ready;
      this.map.show(chosen(found.ids.map((one) => this.map.placeOf(one)).filter((i) => i >= 0), "--second"), found.point ? spots([{ at: found.point, text: "" }], "--accent", 9) : null);
    } catch (error) {
      fill(this.card, problem(error));
      fill(this.result, empty("No picture was encoded."));
    }
  }

  recolour() {
    this.map.recolour();
  }

  close() {
    this.#latest.stop();
    this.map.close();
  }
}

/** The picture as the space takes it: scaled to its size. */
async function drawn(file, [height, width]) {
  const image = await createImageBitmap(file, { resizeWidth: width, resizeHeight: height, resizeQuality: "medium" });
  const canvas = h("canvas", {});
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/png");
}
