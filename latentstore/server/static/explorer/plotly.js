/** plotly.js, loaded when a chart is first wanted: from this service, out of the installed package. */

import { css } from "./colours.js";

let loading = null;

function load() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/static/plotly.min.js";
    script.onload = () => resolve(globalThis.Plotly);
    script.onerror = () => { loading = null; reject(new Error("The chart library could not be loaded")); };
    document.head.append(script);
  });
  return loading;
}

/** Draw a chart in the page's colours. */
export async function chart(node, traces, layout = {}) {
  const Plotly = await load();
  const axis = { gridcolor: css("--rule"), zerolinecolor: css("--rule"), linecolor: css("--rule"), automargin: true, fixedrange: true };
  await Plotly.react(node, traces, {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: "system-ui, DejaVu Sans, sans-serif", size: 12, color: css("--ink") },
    margin: { l: 10, r: 10, t: 10, b: 10 }, showlegend: false, colorway: [css("--accent"), css("--second")],
    ...layout, xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
  }, { displayModeBar: false, responsive: true });
}

export function purge(node) {
  globalThis.Plotly?.purge(node);
}
