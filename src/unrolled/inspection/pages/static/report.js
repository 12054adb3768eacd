"use strict";

const LN2 = Math.LN2, RUNS = data.runs, SEVERAL = RUNS.length > 1;
const DASHES = [undefined, [9, 5], [2, 4]];
const TEXTS = RUNS.every((run) => run.reads_text);

/* Numbers in words. */

const many = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;
const share = (value) => (value === null || value === undefined ? "–" : percent(value, value > 0 && value < 0.0995 ? 1 : 0));

/** Return a time as people say it: 4.2 s, 9 min 8 s, 2 h 5 min. */
function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds < 100) return `${plainNumber(seconds < 10 ? Number(seconds.toPrecision(2)) : Math.round(seconds))} s`;
  const whole = Math.round(seconds), minutes = Math.floor(whole / 60);
  const [large, small] = seconds < 3600 ? [`${minutes} min`, whole % 60 ? ` ${whole % 60} s` : ""] : [`${count(Math.floor(minutes / 60))} h`, minutes % 60 ? ` ${minutes % 60} min` : ""];
  return large + small;
}

/** Return a loss in its unit, of a text in bits too. */
function loss(run, nats) {
  const bits = run.reads_text ? ` (${number(nats / LN2, 3)} bits per char)` : "";
  return `${plainNumber(Number(nats.toFixed(4)))} ${run.unit === "nats" ? "nats" : ""}${bits}`.trim();
}

/* The head. */

function showHead() {
  document.title = SEVERAL ? `${RUNS.length} runs compared` : `Report: ${visible(RUNS[0].name)}`;
  byId("title").append(SEVERAL ? `${RUNS.length} runs compared` : theirs(RUNS[0].name));
  if (!SEVERAL) {
    byId("lead").append(...sentence(RUNS[0]));
    byId("lead").after(...about(RUNS[0]));
  }
  else byId("lead").append("What they reached, where they differ, and the course that each took.");
}

/** Return what became of a run, in a sentence. */
function sentence(run) {
  const told = [`${many(run.updates, "update")}${run.epochs ? `, ${plainNumber(Number(run.epochs.toFixed(2)))} epochs,` : ""} of `, theirs(run.text)];
  if (run.seconds !== null) told.push(` in ${duration(run.seconds)}`);
  if (run.best) told.push(`. The best validation loss, ${loss(run, run.best.nats)}, came at update ${count(run.best.update)}.`);
  else told.push(run.last_train ? `. The last training loss is ${loss(run, run.last_train.nats)}; nothing was validated.` : ". Nothing was measured yet.");
  return told;
}

function facts(run) {
  const found = [["net", run.net], ["parameters", run.parameters === null ? "–" : count(run.parameters)], [run.reads_text ? "text" : "examples", run.text],
    ["updates", count(run.updates)], ["time", duration(run.seconds)]];
  if (run.chars_per_second !== null) found.push(["speed", `${count(Math.round(run.chars_per_second))} ${run.reads_text ? "chars" : "targets"}/s`]);
  if (run.last_validation?.accuracy !== undefined) found.push(["validation accuracy", share(run.last_validation.accuracy)]);
  if (run.last_validation?.exact !== undefined) found.push(["wholly right", share(run.last_validation.exact)]);
  found.push(["run", run.path]);
  return found;
}

/* Several runs beside each other. */

const style = (at) => ({ colour: at % 6 + 1, dash: DASHES[Math.floor(at / 6) % DASHES.length] });

function named(run, at) {
  const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
  const { colour: tone, dash } = style(at);
  swatch.style.borderTopColor = `var(--line-${tone})`;
  swatch.style.borderTopStyle = ["solid", "dashed", "dotted"][DASHES.indexOf(dash)];
  return make("span", {}, swatch, theirs(run.name));
}

/** Tell whether a run reached the least of all that learned from its text. */
function isBest(run) {
  const rivals = RUNS.filter((other) => other.text_id === run.text_id && other.best);
  return rivals.length > 1 && run.best !== null && rivals.every((other) => other.best.nats >= run.best.nats);
}

function showResults() {
  byId("results").hidden = false;
  const heads = ["run", "net", "parameters", "updates", "time", `${TEXTS ? "chars" : "targets"}/s`, "best validation", ...(TEXTS ? ["bits/char"] : []), "at update", "accuracy"];
  const rows = RUNS.map((run, at) => [
    [named(run, at), "name"], [theirs(run.net), "name"], run.parameters === null ? "–" : count(run.parameters), count(run.updates), duration(run.seconds),
    run.chars_per_second === null ? "–" : count(Math.round(run.chars_per_second)),
    [run.best ? number(run.best.nats, 4) : "–", isBest(run) ? "number best" : "number"],
    ...(TEXTS ? [run.best ? number(run.best.nats / LN2, 3) : "–"] : []), run.best ? count(run.best.update) : "–", share(run.best?.accuracy ?? run.last_train?.accuracy)]);
  byId("results-table").append(rowsOf(heads, rows, 2, "Results of the runs"));
  if (new Set(RUNS.map((run) => run.text_id)).size > 1) byId("results-table").append(make("p", { class: "soft small" }, "Losses of different texts can't be compared with each other, here and in the curves."));
  if (RUNS.some(isBest)) byId("results-table").append(make("p", { class: "soft small" }, "Bold: the least loss of all that learned from the same text."));
  const differing = Object.keys(RUNS[0].settings).filter((name) => new Set(RUNS.map((run) => run.settings[name])).size > 1);
  const others = [...(new Set(RUNS.map((run) => run.text_id)).size > 1 ? [["text", ...RUNS.map((run) => run.text)]] : []),
    ...differing.map((name) => [name, ...RUNS.map((run) => run.settings[name])])];
  byId("settings-table").append(others.length
    ? rowsOf(["setting", ...RUNS.map((run, at) => named(run, at))], others.map((row) => row.map((value) => [theirs(value), "name"])), 1, "Settings that differ")
    : make("p", { class: "soft" }, "None: these runs have equal settings."));
}

/** Return a table whose columns from `words` on are numbers; a value is text, an element, or [it, class]. */
function rowsOf(heads, rows, words, caption) {
  const cell = (value, at) => (Array.isArray(value) ? make("td", { class: value[1] }, value[0]) : make("td", at >= words ? { class: "number" } : {}, value));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, make("table", {}, make("caption", { class: "hidden" }, caption),
    make("thead", {}, make("tr", {}, ...heads.map((head, at) => make("th", { scope: "col", class: at >= words && typeof head === "string" ? "number" : null }, head)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell))))));
}

/* Curves. */

const LONGEST = Math.max(...RUNS.map((run) => run.seconds ?? 0));
const [CLOCK, CLOCK_NAME] = LONGEST > 7200 ? [3600, "hours"] : LONGEST > 240 ? [60, "minutes"] : [1, "seconds"];
const PLACES = { update: ["updates", 1], epoch: ["epochs", 1], seconds: [`time, ${CLOCK_NAME}`, CLOCK] };
const BITS = TEXTS ? { label: "bits per char", factor: 1 / LN2 } : undefined;
const LOSS = RUNS.every((run) => run.unit === "nats") ? "nats" : "loss";

const SPEED = Math.max(...RUNS.map((run) => run.chars_per_second ?? 0)) > 20000 ? 1000 : 1;

const CHARTS = [
  ...(SEVERAL
    ? [["Loss in validation", "nats", ["validation"], LOSS], ["Loss in training", "nats", ["train"], LOSS],
      ["Accuracy in validation", "accuracy", ["validation"], "share right"], ["Accuracy in training", "accuracy", ["train"], "share right"]]
    : [["Loss", "nats", ["train", "validation"], LOSS], ["Accuracy", "accuracy", ["train", "validation"], "share right"]]),
  ["Examples that are wholly right", "exact", ["validation"], "share"], ["Learning rate", "lr", ["train"], "learning rate"],
  ["Gradient’s norm, before clipping", "grad_norm", ["train"], "norm"],
  ["Speed of training", "chars_per_second", ["train"], `${SPEED > 1 ? "1,000 " : ""}${TEXTS ? "chars" : "targets"} per second`],
];

/** Return the curves of a chart that have numbers: the run, the kind of line, and the numbers by name. */
function partsOf([, key, kinds]) {
  return RUNS.flatMap((run, at) => kinds.map((kind) => ({ run, at, kind, curve: run.curves[kind] })))
    .filter(({ curve }) => curve && curve[key]);
}

/** Put curves, each over places of its own, over one common x. */
function joined(parts, key, place) {
  const unit = PLACES[place][1], spots = parts.map(({ curve }) => curve[place].map((value) => value / unit));
  const x = [...new Set(spots.flat())].sort((a, b) => a - b), index = new Map(x.map((value, at) => [value, at]));
  const spread = (at, values) => {
    const found = Array(x.length).fill(null);
    values.forEach((value, n) => { found[index.get(spots[at][n])] = value; });
    return found;
  };
  const lines = parts.map(({ run, at, kind, curve }, n) => {
    const look = SEVERAL ? style(at) : { colour: kind === "validation" ? 2 : 1, dash: kind === "validation" && parts.length > 1 ? [7, 3] : undefined };
    const values = key === "chars_per_second" ? curve[key].map((value) => value && value / SPEED) : curve[key];
    const band = curve[`${key}_low`] ? [spread(n, curve[`${key}_high`]), spread(n, curve[`${key}_low`])] : undefined;
    return { label: SEVERAL ? visible(run.name) : kind === "validation" ? "validation" : "training", values: spread(n, values), band, ...look };
  });
  return [x, lines];
}

const plots = [];

function showCharts() {
  const place = byId("over");
  for (const [key, [label]] of Object.entries(PLACES)) place.append(make("option", { value: key }, label.split(",")[0]));
  CHARTS.forEach((chart, n) => {
    const [title, key, , unit] = chart, parts = partsOf(chart);
    if (!parts.length) return;
    const box = make("div", { role: "img", "aria-label": spoken(title, parts, key) });
    byId("charts").append(make("figure", { class: n === 0 && !SEVERAL ? "card wide" : "card" }, make("figcaption", {}, title), box));
    const right = key === "nats" ? BITS : undefined;
    const options = { xLabel: PLACES.update[0], yLabel: unit, right, sync: "course", height: key === "nats" ? 320 : 230,
      format: right ? (v) => `${plainNumber(v)} nats = ${number(v / LN2, 3)} bits` : key === "accuracy" || key === "exact" ? (v) => percent(v, 1) : key === "chars_per_second" ? (v) => plainNumber(v * SPEED) : plainNumber };
    const plot = curves(box, ...joined(parts, key, "update"), options);
    plots.push({ plot, parts, key, options });
  });
  if (!plots.length) byId("charts").append(make("p", { class: "soft" }, "No report was written yet, so there is nothing to draw."));
  byId("tools").hidden = byId("zoom-help").hidden = !plots.length;
  place.addEventListener("change", () => plots.forEach(({ plot, parts, key, options }) => {
    options.xLabel = PLACES[place.value][0];
    plot.set(...joined(parts, key, place.value));
  }));
  showThinned();
  showNumbers();
}

function spoken(title, parts, key) {
  const told = parts.map(({ run, kind, curve }) => {
    const values = curve[key].filter((value) => value !== null);
    return `${SEVERAL ? visible(run.name) : kind}: from ${plainNumber(values[0])} to ${plainNumber(values.at(-1))}`;
  });
  return `${title}. ${told.join("; ")}. The numbers are in the table below.`;
}

/** Zoom by keys: put the middle and the width of what is seen at other places. */
function zoom(change) {
  for (const { plot: { plot } } of plots) {
    const x = plot.data[0], [first, last] = [x[0], x.at(-1)], { min, max } = plot.scales.x;
    const [middle, width] = change((min + max) / 2, max - min);
    const low = Math.max(first, middle - width / 2), high = Math.min(last, Math.max(low, first) + width);
    plot.setScale("x", width >= last - first ? { min: first, max: last } : { min: Math.max(first, high - width), max: high });
  }
}

for (const [id, change] of Object.entries({
  nearer: (middle, width) => [middle, width / 2], farther: (middle, width) => [middle, width * 2],
  before: (middle, width) => [middle - width / 4, width], after: (middle, width) => [middle + width / 4, width], whole: () => [0, Infinity] }))
  byId(id).addEventListener("click", () => zoom(change));

function showThinned() {
  const told = RUNS.flatMap((run) => Object.entries(run.lines).filter(([kind, lines]) => run.curves[kind].update.length < lines)
    .map(([kind, lines]) => `${SEVERAL ? `${visible(run.name)}, ` : ""}${count(lines)} lines of ${kind === "train" ? "training" : kind} as ${count(run.curves[kind].update.length)} points`));
  byId("thinned").hidden = !told.length;
  if (told.length) byId("thinned").append(`Thinned: ${told.join("; ")}. A point is the mean of the lines it stands for; the band goes from their lowest to their highest.`);
}

const COLUMNS = { update: "update", epoch: "epoch", seconds: "seconds", nats: LOSS, accuracy: "accuracy", exact: "wholly right", lr: "learning rate", grad_norm: "gradient’s norm", chars_per_second: `${TEXTS ? "chars" : "targets"}/s` };
const ROWS = 30;

/** Put the numbers behind the curves into tables that are made when they are opened. */
function showNumbers() {
  const all = make("details", {}, make("summary", {}, "The numbers behind the curves")), parts = [];
  for (const run of RUNS) for (const [kind, curve] of Object.entries(run.curves)) parts.push([run, kind, curve]);
  all.addEventListener("toggle", () => all.childElementCount < 2 && parts.forEach((part) => all.append(...numbersOf(...part))));
  if (parts.length) byId("charts").after(all);
}

function numbersOf(run, kind, curve) {
  const keys = Object.keys(COLUMNS).filter((key) => curve[key]), length = curve.update.length, last = Math.max(1, Math.min(ROWS, length) - 1);
  const rows = [...new Set(Array.from({ length: Math.min(ROWS, length) }, (_, n) => Math.round(n * (length - 1) / last)))];
  const what = `${kind === "train" ? "training" : kind}${rows.length < length ? `, ${rows.length} of ${count(length)} points` : ""}`;
  const heads = keys.map((key) => (key === "nats" && run.reads_text ? "nats per char" : COLUMNS[key]));
  return [make("h3", {}, ...(SEVERAL ? [theirs(run.name), ": "] : []), SEVERAL ? what : what[0].toUpperCase() + what.slice(1)),
    rowsOf(heads, rows.map((at) => keys.map((key) => plainNumber(curve[key][at]))), 0, `${visible(run.name)}: ${what}`)];
}

/* One run. */

function showRun(run) {
  const one = byId("one");
  one.replaceChildren(...[SEVERAL ? section("What it was", make("p", {}, ...sentence(run)), ...about(run)) : null, diary(run), scoresOverStages(run), temperatures(run), sizes(run)].filter(Boolean));
}

function section(title, ...children) {
  return make("section", {}, make("h2", {}, title), ...children);
}

/** Return what a run was: facts, what is missing on this page, settings, and the net's picture. */
function about(run) {
  const list = make("dl", { class: "facts" }), found = [list];
  showFacts(list, facts(run));
  if (run.notes.length) found.push(make("ul", { class: "notes small" }, ...run.notes.map((note) => make("li", {}, theirs(note)))));
  found.push(run.changed.length
    ? make("details", {}, make("summary", {}, `${many(run.changed.length, "setting")} not at the default`),
      rowsOf(["setting", "here", "default"], run.changed.map((row) => row.map((value) => [theirs(value), "name"])), 3, "Settings that are not at their defaults"))
    : make("p", { class: "soft small" }, "Every setting is at its default."));
  if (run.picture) {
    const place = make("div", { class: "picture", tabindex: "0", role: "region", "aria-label": "The net’s picture" });
    const details = make("details", {}, make("summary", {}, "The net as a picture"), place);
    details.addEventListener("toggle", () => place.childElementCount || showPicture(place, run.picture));
    found.push(details);
  }
  return found;
}

/* The diary. */

function diary(run) {
  const stages = run.stages;
  if (!stages.length) return section("The diary", make("p", { class: "soft" }, "It has no samples. Train with --sample-every or --sample-at to see how what the net writes becomes better."));
  const place = make("div", { id: "stages", class: "one-at-a-time" }, ...stages.map((stage) => article(run, stage)));
  const found = section("The diary: what it wrote while it learned");
  if (stages.length > 1) found.append(stepper(stages, place));
  else place.classList.remove("one-at-a-time");
  if (run.reads_text) found.append(make("p", { class: "soft small" }, "Grey: the prime it went on from.", ...(run.compared ? [" ", make("mark", {}, "Marked"), ": the longest span that stands in the training text word for word."] : [])));
  found.append(place);
  return found;
}

function stepper(stages, place) {
  const range = make("input", { type: "range", min: 0, max: stages.length - 1, step: 1, value: stages.length - 1, "aria-label": "Stage of the diary", id: "stage" });
  const told = make("output", { for: "stage" }), all = make("button", { type: "button", "aria-pressed": "false", id: "all" }, "All at once");
  const go = (at) => {
    range.value = at;
    const stage = stages[range.value], words = `update ${count(stage.update)}`;
    range.setAttribute("aria-valuetext", words);
    told.textContent = `${words}, ${Number(range.value) + 1} of ${stages.length}`;
    [...place.children].forEach((child, n) => child.classList.toggle("now", n === Number(range.value)));
  };
  const step = (by) => () => go(Math.min(stages.length - 1, Math.max(0, Number(range.value) + by)));
  range.addEventListener("input", () => go(Number(range.value)));
  all.addEventListener("click", () => all.setAttribute("aria-pressed", String(!place.classList.toggle("one-at-a-time"))));
  jump.to = (at) => { go(at); place.scrollIntoView({ block: "nearest" }); range.focus(); };
  go(stages.length - 1);
  return make("div", { class: "stepper no-print" }, make("button", { type: "button", "aria-label": "Earlier stage", id: "earlier", onclick: step(-1) }, "←"), range,
    make("button", { type: "button", "aria-label": "Later stage", id: "later", onclick: step(1) }, "→"), told, all);
}

const jump = { to: () => {} };

/** Return a text as it was written: the prime, and the span that is copied. */
function sampleText(prime, [before, copied, after], hidden) {
  const shownPrime = prime.trim() === "" ? prime.replaceAll("\n", "↵\n") : prime;
  return make("pre", { class: "text", dir: "auto" }, prime ? make("span", { class: "prime" }, visible(shownPrime)) : null,
    visible(before), copied ? make("mark", {}, visible(copied)) : null, visible(after ?? ""),
    hidden ? make("span", { class: "soft" }, ` … and ${many(hidden, "more character")}`.replace("more characters", "characters more")) : null);
}

function article(run, stage) {
  const found = make("article", { class: "stage card" }, make("h3", {}, `Update ${count(stage.update)}`),
    make("p", { class: "soft small" }, `epoch ${plainNumber(Number(stage.epoch.toFixed(2)))}, temperature ${plainNumber(stage.temperature)}`),
    sampleText(stage.prime, stage.pieces, stage.hidden));
  const told = scores(stage);
  if (told.length) found.append(make("dl", { class: "scores small" }, ...told.map(([label, ...value]) => make("div", {}, make("dt", {}, label), make("dd", {}, ...value)))));
  for (const [what, parts] of [["words", stage.novelty?.words], ["lines", stage.novelty?.lines]])
    if (parts?.listed.length) found.append(make("details", { class: "small" }, make("summary", {}, `The new ${what}`),
      make("p", { class: "words" }, ...parts.listed.flatMap((text, n) => [n ? (what === "words" ? ", " : make("br")) : null, theirs(text)]), parts.more ? `, and ${count(parts.more)} more` : null)));
  return found;
}

/** Return the scores of a stage, [label, value …] each. */
function scores({ structure, repetition, novelty }) {
  const found = [];
  if (novelty) {
    const { longest, copied, ngram, words, lines } = novelty;
    found.push(["longest copied span", ...(longest ? [`${many(longest.length, "character")}, `, ...(longest.file ? [theirs(longest.file), ", "] : []), `line ${count(longest.line)}`] : ["none"])]);
    found.push(["copied", copied === null ? `too short for runs of ${ngram} characters` : `${share(copied)} of the runs of ${ngram} characters stand in the training text`]);
    if (words.count) found.push(["new words", `${count(words.new)} of ${count(words.count)} (${share(words.share)})`]);
    if (lines.count) found.push(["new lines", `${count(lines.new)} of ${count(lines.count)} (${share(lines.share)})`]);
  }
  if (repetition) found.push(["repetition", repetition.share === null ? `too short for runs of ${repetition.ngram} characters` : `${share(repetition.share)} of the runs of ${repetition.ngram} characters came before`, ...(repetition.loop ? ["; ends in a loop: ", ...loopOf(repetition.loop)] : [])]);
  for (const each of structure) if (each.opened || each.stray) {
    const judged = each.opened - each.cut, done = each.kind === "deeper" || each.kind === "}" ? "as they should be" : "closed";
    found.push([visible(each.words), judged ? `${count(each.closed)} of ${count(judged)} ${done} (${share(each.share)}${each.training === null ? "" : `; training text ${share(each.training)}`})` : "none to judge", ...(each.stray ? [`, ${count(each.stray)} without a beginning`] : []), ...(each.cut ? [`, ${count(each.cut)} open at the end`] : [])]);
  }
  return found;
}

/** Return a loop in words. */
function loopOf(loop) {
  return [make("span", { class: "mono" }, "“", theirs([...loop.text].map((symbol) => (symbol === " " && loop.text.trim() ? " " : shown(symbol))).join("")), "”"), ` ${plainNumber(Number(loop.times.toFixed(1)))} times`];
}

/* Scores over the stages. */

const level = (value) => { const cell = make("td", { class: "warm" }, share(value)); cell.style.setProperty("--level", value); return cell; };

function scoresOverStages(run) {
  const stages = run.stages;
  if (!run.reads_text || !stages.length) return null;
  const kinds = new Map(stages.flatMap((stage) => stage.structure.map((each) => [each.kind, each.words])));
  const rows = [...kinds].map(([kind, words]) => [visible(words), (stage) => stage.structure.find((each) => each.kind === kind)?.share ?? null, stages.at(-1).structure.find((each) => each.kind === kind)?.training ?? null]);
  const ngram = stages[0].repetition.ngram, yardstick = run.compared && kinds.size > 0;
  rows.push([`runs of ${ngram} characters that came before`, (stage) => stage.repetition.share, null]);
  if (run.compared) rows.push([`runs of ${ngram} characters copied`, (stage) => stage.novelty.copied, null], ["new words", (stage) => stage.novelty.words.share, null], ["new lines", (stage) => stage.novelty.lines.share, null]);
  const cell = (value) => (value === null || value === undefined ? make("td", {}, "–") : level(value));
  const heads = stages.map((stage, at) => make("th", { scope: "col" }, stages.length > 1 ? make("button", { class: "jump", type: "button", title: `Show the stage of update ${count(stage.update)}`, onclick: () => jump.to(at) }, count(stage.update)) : count(stage.update)));
  const body = rows.map(([words, value, yard]) => make("tr", {}, make("th", { scope: "row" }, words), ...stages.map((stage) => cell(value(stage))), yardstick ? make("td", { class: "yardstick" }, yard === null ? "–" : share(yard)) : null));
  if (run.compared) body.push(make("tr", {}, make("th", { scope: "row" }, "longest copied span, characters"), ...stages.map((stage) => make("td", {}, count(stage.novelty.longest?.length ?? 0))), yardstick ? make("td", { class: "yardstick" }, "–") : null));
  const table = make("table", { class: "heat small" }, make("caption", { class: "hidden" }, "Scores of the samples, a column for each update"),
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "after update"), ...heads, yardstick ? make("th", { scope: "col" }, "training text") : null)), make("tbody", {}, ...body));
  return section("Scores over the stages", make("p", { class: "soft small" }, kinds.size
    ? `Of what a sample opens, the share that it closes as it should${run.compared ? ", beside the training text’s own" : ""}; then how much it repeats itself${run.compared ? " and copies" : ""}. – where there was nothing to score.`
    : `How much a sample repeats itself${run.compared ? " and copies. The training text has too few quotes, brackets and tags for scores of its structure" : ""}.`),
  make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Scores over the stages" }, table));
}

/* Repetition at each temperature. */

function temperatures(run) {
  const all = run.temperatures;
  if (!all.length) return null;
  const words = (each) => (each.temperature === 0 ? "0, the likeliest" : plainNumber(each.temperature));
  const rows = all.map((each) => {
    const bar = make("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${5 * (each.share ?? 0)}em`;
    return make("tr", {}, make("th", { scope: "row" }, words(each)), make("td", { class: "number" }, share(each.share)), make("td", { class: "bars" }, bar),
      make("td", {}, ...(each.loop ? loopOf({ ...each.loop, text: [...each.loop.text].slice(0, 60).join("") }) : ["–"])));
  });
  const samples = all.map((each) => make("details", {}, make("summary", {}, `Temperature ${words(each)}`), sampleText("", [each.text, "", ""], each.length - [...each.text].length)));
  return section("Repetition at each temperature",
    make("p", { class: "soft small" }, `The newest model wrote ${many(all[0].length, "character")} at each temperature: the share of the runs of ${all[0].ngram} characters that it had written before, and whether it ended in a loop.`),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Repetition at each temperature" }, make("table", { class: "temperatures" },
      make("caption", { class: "hidden" }, "Repetition at each temperature"),
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "temperature"), make("th", { scope: "col", class: "number" }, "repeated"), make("th", { scope: "col" }, ""), make("th", { scope: "col" }, "ends in a loop of"))),
      make("tbody", {}, ...rows))), make("h3", {}, "What it wrote"), ...samples);
}

/* What --debug recorded. */

function sizes(run) {
  const found = run.sizes;
  if (!found) return null;
  const parts = [["Values over the updates", found.value, found.updates, "update"], ["Gradients over the updates", found.gradient, found.updates, "update"],
    [`Values over the steps of a window, at update ${count(found.updates.at(-1))}`, found.value_by_step, found.steps, "step"],
    [`Gradients over the steps of a window, at update ${count(found.updates.at(-1))}`, found.gradient_by_step, found.steps, "step"]];
  return section("Sizes of layers, forward and backward", make("p", { class: "soft small" }, "Mean absolute value of each layer’s output, and of the loss’s gradient at it, as --debug recorded them. The colour goes by the logarithm."),
    ...parts.filter(([, rows]) => rows.some((row) => row.some((value) => value !== null))).map(([title, rows, heads, what]) => heatOf(title, found.layers, rows, heads, what)));
}

function heatOf(title, layers, rows, heads, what) {
  const logs = rows.flat().filter((value) => value > 0).map(Math.log10), low = Math.min(...logs), high = Math.max(...logs);
  const cell = (value) => {
    if (value === null || value === undefined) return make("td", {}, "–");
    const found = make("td", { class: "warm" }, value === 0 ? "0" : value < 0.001 ? value.toExponential(0).replace("e-", "e−") : value.toPrecision(2));
    found.style.setProperty("--level", value > 0 && high > low ? (Math.log10(value) - low) / (high - low) : 0);
    return found;
  };
  return make("div", {}, make("h3", {}, title), make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, make("table", { class: "heat tight" },
    make("caption", { class: "hidden" }, title), make("thead", {}, make("tr", {}, make("th", { scope: "col" }, what), ...heads.map((head) => make("th", { scope: "col" }, count(head))))),
    make("tbody", {}, ...layers.map((layer, at) => make("tr", {}, make("th", { scope: "row" }, theirs(layer)), ...rows[at].map(cell)))))));
}

/* The page. */

showHead();
if (SEVERAL) {
  showResults();
  byId("which").hidden = false;
  RUNS.forEach((run, at) => byId("run").append(make("option", { value: at }, visible(run.name))));
  byId("run").addEventListener("change", () => showRun(RUNS[Number(byId("run").value)]));
}
showCharts();
showRun(RUNS[0]);
