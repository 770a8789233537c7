/** Light or dark: as the system says, until the switch says otherwise. */

const KEY = "latentstore-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

/** Set it now and on every change; `changed` is called after each. */
export function setUpTheme(button, changed = () => {}) {
  const apply = () => {
    const dark = (localStorage.getItem(KEY) ?? (system.matches ? "dark" : "light")) === "dark";
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    button.textContent = dark ? "Light" : "Dark";
    button.setAttribute("aria-label", dark ? "Change to light colours" : "Change to dark colours");
    changed();
  };
  button.addEventListener("click", () => {
    localStorage.setItem(KEY, document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    apply();
  });
  system.addEventListener("change", apply);
  apply();
}
