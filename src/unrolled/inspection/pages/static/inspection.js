"use strict";

const T = data.length, TOP = data.top, MONO_TAB = 4;
const text = ids("ids", data.width), guessed = ids("guesses", data.width);
const probabilities = bytes("probabilities"), bits = halves("surprise");
const values = byId("array-values").textContent;

/** A unit and its values, which are decoded when they are first wanted. */
class Unit {
  constructor([name, unit, scale], place) {
    Object.assign(this, { place, name, unit, scale: scale ?? 0, series: data.series.find((series) => series.name === name) });
  }

  get values() {
    const size = 4 * Math.ceil(T / 3), own = decoded(values.slice(this.place * size, (this.place + 1) * size));
    Object.defineProperty(this, "values", { value: new Int8Array(own.buffer, own.byteOffset, T) });
    return this.values;
  }
}
const units = data.units.map((unit, place) => new Unit(unit, place));
const wordsOf = new Map();
for (const line of data.findings?.list ?? []) {
  if (line.unit !== null) wordsOf.set(line.unit, [...(wordsOf.get(line.unit) ?? []), line]);
}
const symbolAt = (t) => data.symbols[text[t]];

/** What is seen now: a unit's place among those on the page, and how. */
const seen = { unit: null, guesses: false, surprise: true, stretch: false, span: null, at: null };

/** Return a unit's value at t, as it was recorded, to 1 part in 127 of its largest. */
const valueOf = (unit, t) => (unit.values[t] * unit.scale) / STEPS;
/** Return the value that has the full colour: 1 where none is larger, else the unit's own largest. */
const fullOf = (unit, stretch = seen.stretch) => (unit.series.bounded && !stretch ? 1 : unit.scale || 1);
const nameOf = (unit) => `${unit.series.layer} ${unit.series.part} ${unit.unit}`;

/** What a grid reads of the whole text, coloured by `unit()`. */
function sourceOf(unit, truth = null, begin = 0) {
  const stretch = () => truth !== null || seen.stretch;
  return {
    symbol: symbolAt,
    width: (t) => (symbolAt(t) === "\t" ? MONO_TAB : 1),
    ends: (t) => symbolAt(t) === "\n",
    spot: (t) => {
      const now = unit();
      return now ? Math.max(-STEPS, Math.min(STEPS, Math.round((now.values[t] * now.scale) / fullOf(now, stretch())))) : null;
    },
    bits: (t) => bits[t],
    guesses: guessesFor,
    truth: (t) => (truth ? truth[t - begin] / 100 : null),
    widest: widestSymbol,
  };
}

/** Return what was guessed for symbol t before it was read, likeliest first: [text, 0 … 255, right]. */
function guessesFor(t) {
  if (t === 0) return [];
  return Array.from({ length: TOP }, (_, k) => {
    const at = (t - 1) * TOP + k;
    return [data.symbols[guessed[at]], probabilities[at], t < T && guessed[at] === text[t]];
  });
}

const widths = new Map();
/** Return the width that 98 of 100 symbols of the text do not exceed. */
function widestSymbol(context, font) {
  if (!widths.has(font)) {
    const counts = new Uint32Array(data.symbols.length);
    for (const id of text) counts[id]++;
    const sizes = data.symbols.map((symbol, id) => [symbol === "\n" || symbol === "\t" ? 0 : context.measureText(brief(symbol)).width, counts[id]]);
    let rest = T / 50;
    const [widest] = sizes.sort(([one], [other]) => other - one).find(([, times]) => (rest -= times) < 0);
    widths.set(font, widest);
  }
  return widths.get(font);
}

// ---- discoveries

function showFound() {
  const found = data.findings, lead = byId("found-lead");
  if (!found) {
    lead.textContent = "Nothing was looked for: the text is too short.";
    byId("found-more").hidden = byId("found-rules").hidden = true;
    return;
  }
  const tried = `Every output, state and gate of every unit, ${count(data.all)} in all, was held against ${found.predicates} facts about the text: ${count(found.tries)} pairs.`;
  lead.textContent = found.count
    ? `${tried} ${count(found.count)} ${found.count === 1 ? "pair" : "pairs"} passed every control. Here is the best unit for each fact; the line under a passage is where the fact is true.`
    : `${tried} None passed the controls: no unit knows any of these facts beyond what the last two symbols tell.${found.note ? ` (${found.note})` : ""}`;
  found.panes.forEach((pane) => byId("panes").append(paneOf(pane)));
  byId("found-more").hidden = !found.list.length;
  byId("found-list").append(table(["unit", "r", "beyond the last symbols", "had to exceed, ±", ""], found.list.map(lineOf), "Discoveries"));
  if (found.count > found.list.length) byId("found-list").append(make("p", { class: "soft" }, `The best ${found.list.length} of ${count(found.count)}.`));
  byId("found-how").append(
    make("p", {}, "On both halves of the text, with one sign: the unit's correlation with the fact is 0.3 or more, and with what the last two symbols do not tell of it 0.45 or more, a fifth of its variance; and the latter beats what all units and facts together reach by chance in one text of a hundred, as 200 turns of the text against the states show, and the best of 512 random units that only forget. The numbers are those of the second half, which had no part in the choice."),
    ...found.left_out.map(([name, why]) => make("p", { class: "soft small" }, "Not tried: ", theirs(name), " – ", why)));
}

const lineOf = (line) => [theirs(line.words), line.r, line.beyond, line.threshold,
  line.unit === null ? make("span", { class: "soft" }, "not on this page") : make("button", { type: "button", onclick: () => choose(line.unit, true) }, "show")];

/** Return a card that shows a passage by one unit. */
function paneOf(pane) {
  const canvas = make("canvas", { role: "img", "aria-label": `A passage coloured by this unit: ${visible(pane.words)}` });
  const [name, rest] = [pane.words.slice(0, pane.words.indexOf(":")), pane.words.slice(pane.words.indexOf(":") + 2)];
  const card = make("article", { class: "card pane" },
    make("h3", {}, theirs(rest), " ", make("span", { class: "of" }, visible(name))), canvas,
    make("div", { class: "foot small soft" },
      make("span", {}, `beyond the last symbols ${number(pane.beyond)}, had to be ${pane.beyond < 0 ? "below" : "above"} ${number(Math.sign(pane.beyond) * pane.threshold)}`),
      make("button", { type: "button", class: "no-print", onclick: () => choose(pane.unit, true, pane.begin) }, "show in the text")));
  const grid = new Grid(canvas, sourceOf(() => units[pane.unit], pane.truth, pane.begin), [pane.begin, pane.begin + pane.truth.length], { size: 13, most: 8 });
  grid.truth = true;
  whenWide(canvas, (width) => {
    grid.resize(width, grid.layout(width));
    grid.draw();
  });
  return card;
}

/** Call `draw(width)` with the room that an element has, now and whenever that or the theme changes. */
function whenWide(element, draw) {
  let last = 0;
  const again = () => { if (last) draw(last); };
  painters.push(again);
  requestAnimationFrame(() => new ResizeObserver(([entry]) => {
    const width = Math.floor(entry.contentRect.width);
    if (width && width !== last) { last = width; draw(width); }
  }).observe(element.parentElement));
}

// ---- the text

const grid = new Grid(byId("cells"), sourceOf(() => seen.unit), [0, T]);
const view = byId("text");

function layOut(width, keep = firstSeen()) {
  grid.size = width < 560 ? 13 : 15;
  grid.guesses = seen.guesses ? TOP : 0;
  grid.surprise = seen.surprise;
  const height = grid.layout(width);
  view.style.height = "";
  if (height + 2 < view.offsetHeight) view.style.height = `${height + 2}px`;
  grid.resize(width, view.clientHeight);
  byId("tall").style.height = `${Math.max(0, height)}px`;
  byId("tall").style.marginTop = `-${view.clientHeight}px`;
  if (keep !== null) view.scrollTop = grid.rowOf(keep) * grid.rowHeight;
  draw();
}

const firstSeen = () => (grid.rows ? grid.rows[Math.min(grid.rows.length - 1, Math.round(view.scrollTop / grid.rowHeight))]?.[0] ?? 0 : null);
const draw = () => { if (grid.rows) { grid.draw(view.scrollTop, seen.span); drawStrip(); } };

let strip = { key: null, canvas: document.createElement("canvas") };
/** Draw the whole text as one strip, each column the mean of its part, and where the view is. */
function drawStrip() {
  const canvas = byId("strip"), width = canvas.clientWidth, height = 30, ratio = window.devicePixelRatio || 1;
  if (!width) return;
  const key = [seen.unit?.place, seen.stretch, width, ratio, theme()].join();
  if (strip.key !== key) paintStrip(key, width, height, ratio);
  [canvas.width, canvas.height] = [strip.canvas.width, strip.canvas.height];
  const context = canvas.getContext("2d"), row = (y) => grid.rows[Math.min(grid.rows.length - 1, Math.floor(y / grid.rowHeight))];
  context.drawImage(strip.canvas, 0, 0);
  context.scale(ratio, ratio);
  const [first, last] = [row(view.scrollTop), row(view.scrollTop + view.clientHeight)];
  context.strokeStyle = palette().focus;
  context.lineWidth = 2;
  if (first) context.strokeRect((first[0] / T) * width + 1, 1, Math.max(3, ((last[1] - first[0]) / T) * width - 2), height - 2);
}

function paintStrip(key, width, height, ratio) {
  strip.key = key;
  [strip.canvas.width, strip.canvas.height] = [width * ratio, height * ratio];
  const context = strip.canvas.getContext("2d"), colours = palette(), unit = seen.unit;
  context.scale(ratio, ratio);
  context.fillStyle = colours.card;
  context.fillRect(0, 0, width, height);
  for (let x = 0; unit && x < width; x++) {
    const begin = Math.floor((x * T) / width), end = Math.max(begin + 1, Math.floor(((x + 1) * T) / width));
    let sum = 0;
    for (let t = begin; t < end; t++) sum += unit.values[t];
    const step = Math.round(((sum / (end - begin)) * unit.scale) / fullOf(unit));
    context.fillStyle = colours.cells[Math.max(-STEPS, Math.min(STEPS, step)) + STEPS];
    context.fillRect(x, 0, 1, height);
  }
}

function drawScale() {
  const canvas = byId("scale"), context = canvas.getContext("2d"), ratio = window.devicePixelRatio || 1, unit = seen.unit;
  canvas.width = 180 * ratio;
  canvas.height = 14 * ratio;
  const colours = palette(), low = unit?.series.positive ? 0 : -STEPS;
  for (let x = 0; x < canvas.width; x++) {
    context.fillStyle = colours.cells[Math.round(low + ((STEPS - low) * x) / (canvas.width - 1)) + STEPS];
    context.fillRect(x, 0, 1, canvas.height);
  }
  const full = unit ? fullOf(unit) : 1, digits = full === 1 ? 0 : full >= 20 ? 1 : 2;
  byId("low").textContent = low ? number(-full, digits) : "0";
  byId("high").textContent = low ? `+${number(full, digits)}` : number(full, digits);
  byId("beneath").textContent = [seen.surprise ? "Bars: surprise, 8 bits and more are full height." : "",
    seen.guesses ? "Beneath each symbol: what was guessed for it, the likeliest first; the one that came is framed." : ""].join(" ");
}

// ---- choosing

/** Show a unit; from elsewhere on the page go to the text too. */
function choose(place, go = false, at = null) {
  seen.unit = units[place] ?? null;
  const unit = seen.unit;
  if (unit) {
    byId("series").value = unit.name;
    fillUnits(unit.series);
    byId("unit").value = String(place);
  }
  byId("words").replaceChildren(...wordsFor(unit));
  if (go) {
    byId("reading").scrollIntoView({ behavior: calm.matches ? "auto" : "smooth", block: "start" });
    view.focus({ preventScroll: true });
  }
  if (at !== null) view.scrollTop = grid.rowOf(at) * grid.rowHeight;
  drawScale();
  draw();
  if (seen.at !== null) showSymbol(seen.at);
  remember();
}
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function wordsFor(unit) {
  if (!unit) return ["This net has no units to show."];
  const kind = { state: unit.series.part === "h" ? "output" : "state" }[unit.series.kind] ?? `gate (${unit.series.kind})`;
  const own = (wordsOf.get(unit.place) ?? []).map((line) => theirs(line.words.slice(line.words.indexOf(":") + 2)));
  const said = own.flatMap((element, i) => (i ? ["; ", element] : [": ", element]));
  return [make("strong", {}, visible(nameOf(unit))), make("span", { class: "soft" }, `, ${kind}`), ...said];
}

let listed = null;
function fillUnits(series) {
  if (listed === series) return;
  listed = series;
  byId("unit").replaceChildren(...units.filter((unit) => unit.series === series).map((unit) => {
    const [line] = wordsOf.get(unit.place) ?? [];
    const label = line ? `${unit.unit} · ${line.words.slice(line.words.indexOf(":") + 2)}` : String(unit.unit);
    return make("option", { value: unit.place }, visible(label));
  }));
}

/** Go to the next unit of the same part, or the one before; round and round. */
function step(by) {
  const own = units.filter((unit) => unit.series === seen.unit?.series);
  if (!own.length) return;
  const next = own[(own.indexOf(seen.unit) + by + own.length) % own.length];
  choose(next.place);
  say(`${nameOf(next)}${(wordsOf.get(next.place) ?? []).map((line) => `: ${line.words}`).join("")}`);
}
const say = (words) => { byId("live").textContent = visible(words); };

// ---- one symbol, one span

function showSymbol(t) {
  seen.at = t;
  const unit = seen.unit, line = lineNumber(t);
  byId("symbol").replaceChildren(
    make("div", { class: "big" }, shown(symbolAt(t))),
    make("dl", {},
      make("dt", {}, "position"), make("dd", { id: "position" }, count(t)),
      make("dt", {}, "line, column"), make("dd", {}, `${count(line[0])}, ${count(line[1])}`),
      unit ? make("dt", {}, visible(nameOf(unit))) : null, unit ? make("dd", { id: "value" }, number(valueOf(unit, t), digitsOf(unit))) : null,
      make("dt", {}, "surprise"), make("dd", { id: "bits" }, Number.isNaN(bits[t]) ? "–" : `${number(bits[t])} bits`),
      make("dt", {}, "its probability"), make("dd", {}, Number.isNaN(bits[t]) ? "–" : percent(2 ** -bits[t], bits[t] > 6 ? 2 : 0))),
    ...(t ? [make("h3", {}, "Guessed for it"), ...guessRows(t)] : []),
    make("h3", {}, "Guessed for the next"), ...guessRows(t + 1));
}
/** Return how many digits of a value are sure, its steps being a 127th of the largest. */
const digitsOf = (unit) => (unit.scale > 13 ? 0 : unit.scale > 1.3 ? 1 : 2);

function guessRows(t) {
  return guessesFor(t).map(([symbol, share, right]) => {
    const fill = make("div");
    fill.style.width = `${(100 * share) / 255}%`;
    return make("div", { class: right ? "guess right" : "guess" }, make("span", { class: "mono" }, shown(symbol)),
      make("span", { class: "rail", "aria-hidden": "true" }, fill), make("span", { class: "share" }, percent(share / 255)));
  });
}

let starts = null;
function lineNumber(t) {
  starts ??= [0, ...Array.from({ length: T }, (_, i) => i + 1).filter((i) => symbolAt(i - 1) === "\n")];
  let [low, high] = [0, starts.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle] <= t) low = middle;
    else high = middle - 1;
  }
  return [low + 1, t - starts[low] + 1];
}

let sums = null;
/** Return the units that are on in a span and off elsewhere: [unit, mean inside, mean outside, difference in deviations]. */
function unitsOfSpan([begin, end]) {
  sums ??= units.map((unit) => {
    let [sum, squares] = [0, 0];
    for (const value of unit.values) { sum += value; squares += value * value; }
    return [sum, Math.sqrt(Math.max(0, squares / T - (sum / T) ** 2))];
  });
  const found = [];
  for (const unit of units) {
    const [sum, deviation] = sums[unit.place];
    let inside = 0;
    for (let t = begin; t < end; t++) inside += unit.values[t];
    const outside = (sum - inside) / (T - (end - begin));
    inside /= end - begin;
    if (deviation > 1e-3) found.push([unit, (inside * unit.scale) / STEPS, (outside * unit.scale) / STEPS, (inside - outside) / deviation]);
  }
  return found.filter((one) => one[3] > 0).sort((one, other) => other[3] - one[3]).slice(0, 12);
}

function showSpan() {
  const card = byId("span"), span = seen.span;
  card.hidden = !span || span[1] - span[0] < 1 || span[1] - span[0] >= T;
  if (card.hidden) return;
  const quoted = Array.from({ length: Math.min(60, span[1] - span[0]) }, (_, i) => symbolAt(span[0] + i)).join("");
  const rows = unitsOfSpan(span).map(([unit, inside, outside, deviations]) => make("li", {},
    make("button", { type: "button", onclick: () => choose(unit.place) }, make("span", {}, visible(nameOf(unit))),
      make("span", { class: "soft" }, `${number(inside)} here, ${number(outside)} elsewhere (+${number(deviations, 1)} σ)`))));
  card.replaceChildren(make("h3", {}, `On in ${count(span[1] - span[0])} symbols, off elsewhere`),
    make("p", {}, make("bdi", { class: "mono quote" }, visible(quoted) + (quoted.length < span[1] - span[0] ? "…" : ""))),
    make("ol", { class: "span-list", id: "span-units" }, ...rows),
    make("p", { class: "soft" }, units.length < data.all ? `Among the ${count(units.length)} on this page. ` : "", "One span tests nothing: among many units some differ by chance."));
}

function mark(span) {
  seen.span = span;
  draw();
  showSpan();
  remember();
}

function pointing() {
  let anchor = null;
  const at = (event) => {
    const box = byId("cells").getBoundingClientRect();
    return grid.at(event.clientX - box.left, event.clientY - box.top);
  };
  view.addEventListener("pointermove", (event) => {
    const t = at(event);
    if (t === null) return;
    showSymbol(t);
    if (anchor !== null && event.buttons & 1) mark(t === anchor ? null : [Math.min(anchor, t), Math.max(anchor, t) + 1]);
  });
  view.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    anchor = at(event);
    held = true;
    if (anchor !== null) { showSymbol(anchor); if (seen.span) mark(null); }
  });
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => { anchor = null; released(); });
  view.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
  byId("strip").addEventListener("click", (event) => {
    const box = byId("strip").getBoundingClientRect();
    const t = Math.min(T - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * T)));
    view.scrollTop = Math.max(0, grid.rowOf(t) * grid.rowHeight - view.clientHeight / 2);
  });
}

function keys() {
  addEventListener("keyup", released);
  addEventListener("keydown", (event) => {
    held = event.repeat;
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.shiftKey && event.target === view && event.key.startsWith("Arrow")) { extend(event.key); event.preventDefault(); }
    else if (by && !event.shiftKey) { step(by); event.preventDefault(); }
    else if (event.key === "Escape" && seen.span) mark(null);
    else if (event.key === "g") byId("guesses").click();
  });
}

let fixed = null;
/** Move the marked span's end by a symbol or a row; it starts at the symbol looked at, or the first that is seen. */
function extend(key) {
  if (!seen.span || fixed === null) fixed = seen.at ?? firstSeen() ?? 0;
  const end = seen.span ? seen.at ?? fixed : fixed, row = grid.rowOf(end);
  const moved = { ArrowLeft: end - 1, ArrowRight: end + (seen.span ? 1 : 0),
    ArrowUp: grid.rows[Math.max(0, row - 1)][0] + (end - grid.rows[row][0]), ArrowDown: grid.rows[Math.min(grid.rows.length - 1, row + 1)][0] + (end - grid.rows[row][0]) }[key];
  const t = Math.max(0, Math.min(T - 1, moved));
  showSymbol(t);
  mark([Math.min(fixed, t), Math.max(fixed, t) + 1]);
  const y = grid.placeOf(t)[1];
  if (y < 0 || y > view.clientHeight - grid.rowHeight) view.scrollTop = Math.max(0, (grid.rowOf(t) - 1) * grid.rowHeight);
  say(`${shown(symbolAt(t))}, ${seen.unit ? number(valueOf(seen.unit, t)) : ""}, surprise ${number(bits[t], 1)} bits`);
}

// ---- the address

/** Whether a key or the pointer is held down: browsers refuse an address that changes too often. */
let held = false;
function released() {
  if (!held) return;
  held = false;
  remember();
}

function remember() {
  if (held) return;
  const kept = new URLSearchParams();
  if (seen.unit) kept.set("unit", `${seen.unit.name}:${seen.unit.unit}`);
  for (const name of ["guesses", "stretch"]) if (seen[name]) kept.set(name, "1");
  if (!seen.surprise) kept.set("surprise", "0");
  if (seen.span) kept.set("span", `${seen.span[0]}-${seen.span[1]}`);
  try { history.replaceState(null, "", `#${kept}`); } catch { /* a page inside another one has no address of its own */ }
}

function recall() {
  const kept = new URLSearchParams(location.hash.slice(1)), [, name, number_] = /^(.*):(\d+)$/.exec(kept.get("unit") ?? "") ?? [];
  for (const flag of ["guesses", "stretch"]) seen[flag] = kept.get(flag) === "1";
  seen.surprise = kept.get("surprise") !== "0";
  const [, begin, end] = /^(\d+)-(\d+)$/.exec(kept.get("span") ?? "") ?? [];
  seen.span = begin !== undefined && +begin < +end && +end <= T ? [+begin, +end] : null;
  const found = units.find((unit) => unit.name === name && unit.unit === +number_);
  return found?.place ?? data.first;
}

// ---- memory and gates

const FAINTEST = 1e-12;

function showMemory() {
  const memory = data.memory;
  if (!memory) return;
  byId("memory").hidden = false;
  byId("memory-sentence").textContent = memory.sentence;
  const marks = memory.window ? [{ x: memory.window, label: `training window ${count(memory.window)}` }] : [];
  const band = [1, -1].map((sign) => memory.excess.map((v, i) => v + sign * 2 * memory.error[i]));
  curves(byId("context"), memory.context, [{ label: "bits lost, ± 2 standard errors", values: memory.excess, band, colour: 1 }],
    { title: "What is lost when context is cut", xLabel: "symbols of context kept", yLabel: "bits above the whole context", xLog: true, marks });
  if (memory.gradient.length) {
    const least = FAINTEST * Math.max(...memory.gradient), values = memory.gradient.map((v) => (v > least ? v : null));
    curves(byId("gradient"), memory.reach, [{ label: "norm of d loss / d state", values, colour: 2 }],
      { title: "How far gradients reach", xLabel: "steps back", yLabel: "norm", xLog: true, yLog: true, marks });
    if (memory.gradient.some((v) => v !== null && v <= least)) byId("gradient").after(make("p", { class: "soft small" }, "Norms below 10⁻¹² of the largest are among the numbers only."));
  }
  const reach = new Map(memory.reach.map((k, i) => [k, memory.gradient[i]]));
  byId("memory-table").append(table(["context", "bits lost", "standard error", "gradient norm so far back"],
    memory.context.map((k, i) => [k, number(memory.excess[i], 4), number(memory.error[i], 4), reach.has(k) && reach.get(k) !== null ? reach.get(k).toExponential(2).replace("-", "−") : "–"]), "Memory"));
}

const SVG = "http://www.w3.org/2000/svg";
function draws(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function showGates() {
  if (!data.gates.length) return;
  byId("gates").hidden = false;
  const [open, closed, always] = data.always;
  byId("gates-lead").textContent = `Left, all values of a gate, from closed (0) to open (1). Right, a dot a unit: how often it is closed (below ${closed}) and open (above ${open}); a unit beyond a dashed line is so in more than ${percent(always)} of the steps. (Karpathy, Johnson, Li, 2015.)`;
  for (const gate of data.gates) {
    byId("gate-cards").append(make("article", { class: "card gate" }, make("h3", {}, visible(`${gate.layer}, gate ${gate.gate}`)),
      histogram(gate), scatter(gate, always),
      make("p", { class: "small" }, `${percent(gate.always_open)} of units always open, ${percent(gate.always_closed)} always closed`)));
  }
}

function histogram(gate) {
  const most = Math.max(...gate.counts), all = gate.counts.reduce((sum, n) => sum + n, 0), bars = gate.counts.length;
  return draws("svg", { viewBox: "0 0 212 118", role: "img", "aria-label": visible(gate.sentence) },
    ...gate.counts.map((n, i) => {
      const height = (92 * n) / most;
      return draws("rect", { class: "bar-of", x: 6 + i * (200 / bars), y: 98 - height, width: 200 / bars - 1, height },
        draws("title", {}, `${(i / bars).toFixed(2)} to ${((i + 1) / bars).toFixed(2)}: ${percent(n / all, 1)}`));
    }),
    draws("path", { class: "axis", d: "M6 98.5H206" }),
    ...[0, 0.5, 1].map((v) => draws("text", { x: 6 + 200 * v, y: 112, "text-anchor": ["start", "middle", "end"][2 * v] }, v === 0 ? "0 closed" : v === 1 ? "open 1" : "0.5")));
}

function scatter(gate, always) {
  const place = (v) => 14 + 96 * v;
  return draws("svg", { viewBox: "0 0 124 128", role: "img", "aria-label": `${gate.open.length} units by share of steps closed and open` },
    draws("path", { class: "axis", d: "M14 14V110H110V14Z M14 110L110 14" }), draws("path", { class: "mark", d: `M${place(always)} 14V110 M14 ${place(1 - always)}H110` }),
    ...gate.open.map((v, i) => draws("circle", { class: "dot", cx: place(gate.closed[i]).toFixed(1), cy: place(1 - v).toFixed(1), r: 2 }, draws("title", {}, `unit ${i}: open ${percent(v)}, closed ${percent(gate.closed[i])}`))),
    draws("text", { x: 62, y: 123, "text-anchor": "middle" }, "closed →"), draws("text", { x: 9, y: 62, "text-anchor": "middle", transform: "rotate(-90 9 62)" }, "open →"));
}

// ---- print

function forPrint() {
  const colours = palette(), first = firstSeen() ?? 0, place = byId("printed");
  const spot = sourceOf(() => seen.unit).spot;
  place.replaceChildren(...Array.from({ length: Math.min(4000, T - first) }, (_, i) => {
    const t = first + i, step = (spot(t) ?? 0) + STEPS, symbol = symbolAt(t);
    const span = make("span", {}, symbol === "\n" ? "↵\n" : symbol === " " || symbol === "\t" ? symbol : shown(symbol));
    span.style.background = colours.cells[step];
    span.style.color = colours.inks[step];
    return span;
  }));
  const last = Math.min(4000, T - first);
  if (last < T) place.append(make("p", {}, `Symbols ${count(first)} to ${count(first + last - 1)} of ${count(T)}.`));
}

function afterPrint() {
  byId("printed").replaceChildren();
}

// ---- begin

document.title = `${visible(data.title)} – Unrolled`;
byId("title").append(theirs(data.title));
showFacts(byId("facts"), data.facts);
byId("notes").append(...data.notes.map((note) => make("li", {}, theirs(note))));
for (const series of data.series) {
  const own = units.filter((unit) => unit.series === series).length;
  if (own) byId("series").append(make("option", { value: series.name }, visible(`${series.layer} · ${series.part}${own < series.units ? ` (${own} of ${series.units})` : ""}`)));
}
const FLAGS = ["guesses", "surprise", "stretch"], first = recall();
for (const name of FLAGS) {
  byId(name).checked = seen[name];
  byId(name).addEventListener("change", (event) => {
    seen[name] = event.target.checked;
    if (name !== "stretch") layOut(view.clientWidth);
    repaint();
    drawScale();
    remember();
  });
}
view.setAttribute("aria-label", `The text, ${count(T)} symbols; it stands plainly below`);
byId("series").addEventListener("change", (event) => choose(units.find((unit) => unit.name === event.target.value).place));
byId("unit").addEventListener("change", (event) => choose(+event.target.value));
byId("before").addEventListener("click", () => step(-1));
byId("after").addEventListener("click", () => step(1));
byId("plain").addEventListener("toggle", () => {
  if (!byId("plain-text").textContent) byId("plain-text").textContent = visible(Array.from(text, (id) => data.symbols[id]).join(""));
});
painters.push(() => { drawScale(); draw(); });
layOut(view.clientWidth, seen.span ? seen.span[0] : null);
choose(first);
showSpan();
requestAnimationFrame(() => performance.mark("drawn"));
new ResizeObserver(() => { if (view.clientWidth !== grid.width || view.clientHeight !== grid.height) layOut(view.clientWidth); }).observe(view);
pointing();
keys();
addEventListener("hashchange", () => {
  const place = recall();
  FLAGS.forEach((name) => { byId(name).checked = seen[name]; });
  layOut(view.clientWidth, seen.span ? seen.span[0] : undefined);
  choose(place);
  showSpan();
});
addEventListener("beforeprint", forPrint);
addEventListener("afterprint", afterPrint);
showFound();
showMemory();
showGates();
if (data.picture) { byId("net").hidden = false; showPicture(byId("picture"), data.picture); }
byId("kept").textContent = units.length < data.all
  ? `This page holds ${count(units.length)} of ${count(data.all)} outputs, states and gates of units, those that know something first. The command has a flag, --megabytes, for more.`
  : `This page holds all ${count(data.all)} outputs, states and gates of units. It needs no network and keeps nothing.`;
