/** What is drawn over a map: rings, names, arrows, paths, a lasso. Each mark is a function of (context, plane). */

import { css } from "./colours.js";

const LINE = 16; // CSS pixels

/** Words with a rim of paper, moved down until they lie on no others. */
function halo(context, plane, words, x, y, align = "center") {
  context.font = "600 12.5px system-ui, sans-serif";
  context.textAlign = align;
  const width = context.measureText(words).width, middle = x + { center: 0, left: width / 2, right: -width / 2 }[align];
  const overlaps = ([a, b, w]) => Math.abs(a - middle) < (w + width) / 2 + 4 && Math.abs(b - y) < LINE;
  for (let tries = 0; tries < 12 && plane.taken.some(overlaps); tries++) y += LINE / 2;
  plane.taken.push([middle, y, width]);
  context.textBaseline = "middle";
  context.lineJoin = "round";
  context.lineWidth = 4;
  context.strokeStyle = css("--paper");
  context.strokeText(words, x, y);
  context.fillStyle = css("--ink");
  context.fillText(words, x, y);
}

export function ring(i, colour = "--accent", size = 9) {
  return (context, plane) => {
    if (i < 0 || i === undefined) return;
    const [x, y] = plane.screenOf(i), reach = Math.max(size, plane.pictureSize ? plane.pictureSize * 0.75 : 0);
    context.lineWidth = 5;
    context.strokeStyle = css("--paper");
    context.beginPath();
    context.arc(x, y, reach, 0, 2 * Math.PI);
    context.stroke();
    context.lineWidth = 2.5;
    context.strokeStyle = css(colour);
    context.stroke();
  };
}

/** Places [x, y(, z)] of the map as discs with letters or names in them. */
export function spots(places, colour = "--accent", radius = 7) {
  return (context, plane) => {
    for (const { at, text } of places) {
      const [x, y] = plane.toScreen(...plane.flat(...at));
      context.beginPath();
      context.arc(x, y, text ? radius + 3 : radius - 2.5, 0, 2 * Math.PI);
      context.fillStyle = css(colour);
      context.fill();
      context.lineWidth = 2;
      context.strokeStyle = css("--paper");
      context.stroke();
      if (!text) continue;
      context.font = "700 11px system-ui, sans-serif";
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.fillStyle = css("--on-accent");
      context.fillText(text, x, y + 0.5);
    }
  };
}

/** Names at places. */
export function names(places) {
  return (context, plane) => {
    for (const { at, text } of places) {
      const [x, y] = plane.toScreen(...plane.flat(...at));
      context.beginPath();
      context.arc(x, y, 3.5, 0, 2 * Math.PI);
      context.fillStyle = css("--ink");
      context.fill();
      context.lineWidth = 1.5;
      context.strokeStyle = css("--paper");
      context.stroke();
      halo(context, plane, text, x, y - 13);
    }
  };
}

export function arrows(list) {
  return (context, plane) => {
    for (const { from, to, text } of list) {
      const [x, y] = plane.toScreen(...plane.flat(...from)), [u, v] = plane.toScreen(...plane.flat(...to));
      const length = Math.hypot(u - x, v - y);
      if (length < 1) continue;
      const angle = Math.atan2(v - y, u - x);
      for (const [width, colour] of [[5, "--paper"], [2.25, "--ink"]]) {
        context.lineWidth = width;
        context.strokeStyle = css(colour);
        context.beginPath();
        context.moveTo(x, y);
        context.lineTo(u, v);
        for (const side of [2.6, -2.6]) {
          context.moveTo(u, v);
          context.lineTo(u + 10 * Math.cos(angle + side), v + 10 * Math.sin(angle + side));
        }
        context.stroke();
      }
      halo(context, plane, text, u + 14 * Math.cos(angle), v + 14 * Math.sin(angle), Math.cos(angle) < -0.3 ? "right" : Math.cos(angle) > 0.3 ? "left" : "center");
    }
  };
}

export function line(places, colour = "--accent", dashed = false) {
  return (context, plane) => {
    context.lineJoin = "round";
    for (const [width, one] of [[6, "--paper"], [2.5, colour]]) {
      context.lineWidth = width;
      context.strokeStyle = css(one);
      context.setLineDash(dashed && one === colour ? [5, 4] : []);
      context.beginPath();
      for (const at of places) context.lineTo(...plane.toScreen(...plane.flat(...at)));
      context.stroke();
    }
    context.setLineDash([]);
  };
}

/** A free outline in screen pixels. */
export function outline(corners) {
  return (context) => {
    if (corners.length < 2) return;
    context.beginPath();
    for (const corner of corners) context.lineTo(...corner);
    context.closePath();
    context.fillStyle = css("--lasso");
    context.fill();
    context.lineWidth = 1.5;
    context.strokeStyle = css("--accent");
    context.stroke();
  };
}

/** Points that were chosen together. */
export function chosen(list, colour = "--accent") {
  return (context, plane) => {
    context.fillStyle = css(colour);
    for (const i of list) {
      const [x, y] = plane.screenOf(i);
      if (x < 0 || y < 0 || x > plane.width || y > plane.height) continue;
      context.fillRect(x - 1.25, y - 1.25, 2.5, 2.5);
    }
  };
}
