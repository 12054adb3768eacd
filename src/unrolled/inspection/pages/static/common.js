"use strict";

/** The page's data, and its arrays of numbers by name. */
const data = JSON.parse(document.getElementById("data").textContent);

/** Return the raw bytes of the array `name`, or none. */
function bytes(name) {
  return decoded(document.getElementById(`array-${name}`)?.textContent ?? "");
}

function decoded(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const raw = atob(text), found = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) found[i] = raw.charCodeAt(i);
  return found;
}

/** Return ids of `width` bytes each. */
function ids(name, width) {
  const raw = bytes(name);
  return width === 1 ? raw : width === 2 ? new Uint16Array(raw.buffer, raw.byteOffset, raw.length / 2)
    : new Uint32Array(raw.buffer, raw.byteOffset, raw.length / 4);
}

/** Return half-precision numbers as Float32Array. */
function halves(name) {
  const raw = bytes(name), view = new DataView(raw.buffer, raw.byteOffset, raw.length);
  return Float32Array.from({ length: raw.length / 2 }, (_, i) => {
    const bits = view.getUint16(2 * i, true), e = (bits >> 10) & 31, m = bits & 1023, sign = bits >> 15 ? -1 : 1;
    if (e === 31) return m ? NaN : sign * Infinity;
    return sign * (e ? 2 ** (e - 15) * (1 + m / 1024) : 2 ** -14 * (m / 1024));
  });
}

/** Make an element; children that are strings become text, never mark-up. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const byId = (id) => document.getElementById(id);

/** What can't be seen, or would turn its neighbours round, and is no white space: controls, directions, halves. */
const UNSEEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]|[\u{e0000}-\u{e0fff}]/gu;

const code = (symbol) => symbol.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");

/** Return text with everything unseen as its number, ⟨202E⟩; tabs and line ends stay. */
const visible = (text) => String(text).replace(UNSEEN, (symbol) => `⟨${code(symbol)}⟩`);

/** Return text of others as an element that keeps its direction to itself. */
const theirs = (text) => make("bdi", {}, visible(text));

/** Return one symbol as it is shown in a cell or a sentence, white space too. */
function shown(symbol) {
  const known = { "\n": "↵", "\t": "⇥", "\r": "␍", " ": "␣", "\u00a0": "⍽" }[symbol];
  return known ?? visible(symbol);
}

const number = (value, digits = 2) => (value === null || Number.isNaN(value) ? "–"
  : value.toFixed(digits).replace("-", "−"));
const count = (value) => value.toLocaleString("en");
const percent = (value, digits = 0) => `${number(100 * value, digits)} %`;

/** Fill the list of facts, [label, value] each. */
function showFacts(list, facts) {
  for (const [label, value] of facts) list.append(make("div", {}, make("dt", {}, label), make("dd", {}, theirs(value))));
}

/** Put a net's picture, made by this program, into its place. */
function showPicture(place, svg) {
  const read = new DOMParser().parseFromString(svg, "image/svg+xml");
  if (read.querySelector("parsererror")) return;
  place.append(document.importNode(read.documentElement, true));
}

/** Return a table: heads, then rows of strings, numbers or elements. */
function table(heads, rows, caption) {
  const cell = (tag, value) => make(tag, typeof value === "number" ? { class: "number" } : tag === "th" ? { scope: "col" } : {},
    typeof value === "number" ? String(value).replace("-", "−") : value);
  return make("div", { class: "scroll" }, make("table", {},
    caption ? make("caption", { class: "hidden" }, caption) : null,
    make("thead", {}, make("tr", {}, ...heads.map((head) => cell("th", head)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((value) => cell("td", value)))))));
}

const dark = matchMedia("(prefers-color-scheme: dark)");
/** Return a colour of the style sheet by its name. */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const painters = [];
/** Call `draw` now, and again when the page turns dark or light, or is printed. */
function themed(draw) {
  draw();
  painters.push(draw);
}
const repaint = () => painters.forEach((draw) => draw());

/** Whether the page is being printed, which is always light. */
let printing = false;
function onPaper(now) {
  printing = now;
  document.documentElement.classList.toggle("paper", now);
  repaint();
}
dark.addEventListener("change", repaint);
addEventListener("beforeprint", () => onPaper(true));
addEventListener("afterprint", () => onPaper(false));
