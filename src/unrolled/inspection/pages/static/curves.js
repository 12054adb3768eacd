"use strict";

/**
 * Draw curves over a common x in `place`; drag to zoom, double-click to see all again.
 *
 * `lines` are {label, values, colour: 1…6, dash, band: [low, high]}; `options` are {title, xLabel, yLabel, xLog,
 * yLog, marks: [{x, label}], sync, height, format, right: {label, factor}}, where `right` is a second axis of y
 * times `factor`. A table of the same numbers is the caller's. Returns an object whose `set(x, lines)` shows
 * other numbers.
 */
function curves(place, x, lines, options = {}) {
  const held = { plot: null, x, lines };
  const width = () => Math.max(240, place.clientWidth);
  const draw = () => {
    held.plot?.destroy();
    held.plot = new uPlot(plotOptions(held.lines, options, width()), plotData(held), place);
  };
  held.set = (values, others) => { held.x = values; held.lines = others; draw(); };
  place.classList.add("curve");
  themed(draw);
  new ResizeObserver(() => {
    if (held.plot && held.plot.width !== width()) held.plot.setSize({ width: width(), height: options.height ?? 260 });
  }).observe(place);
  return held;
}

function plotData({ x, lines }) {
  return [x, ...lines.flatMap((line) => (line.band ? [line.values, ...line.band] : [line.values]))];
}

function plotOptions(lines, options, width) {
  const ink = colour("soft"), grid = colour("faint");
  const axis = { stroke: ink, font: `12px ${colour("sans")}`, labelFont: `12px ${colour("sans")}`,
    grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, labelSize: 18 };
  const series = [{ label: options.xLabel ?? "x", value: (_, v) => plainNumber(v) }], bands = [];
  for (const line of lines) {
    const stroke = colour(`line-${line.colour ?? 1}`);
    series.push({ label: line.label, stroke, width: 2, dash: line.dash, spanGaps: true,
      points: { show: line.values.filter((v) => v !== null).length < 40, size: 5, stroke, fill: stroke }, value: (_, v) => (v === null ? "–" : (options.format ?? plainNumber)(v)) });
    if (line.band) {
      const edge = { stroke: "transparent", width: 0, points: { show: false }, spanGaps: true, class: "edge" };
      series.push({ ...edge, label: `${line.label}, high` }, { ...edge, label: `${line.label}, low` });
      bands.push({ series: [series.length - 2, series.length - 1], fill: `${stroke}33` });
    }
  }
  const right = options.right, scales = right ? { right: { from: "y", range: (_, low, high) => [low * right.factor, high * right.factor] } } : {};
  const rightAxis = right ? [{ ...axis, scale: "right", side: 1, label: right.label, size: 56, grid: { show: false }, values: (_, splits) => splits.map(plainNumber) }] : [];
  return {
    title: options.title, width, height: options.height ?? 260, series, bands,
    scales: { x: { time: false, distr: options.xLog ? 3 : 1, log: 10 }, y: { distr: options.yLog ? 3 : 1, log: 10, ...(options.yLog ? { range: wholeDecades } : {}) }, ...scales },
    axes: [{ ...axis, label: options.xLabel, values: options.xLog ? logged : (_, splits) => splits.map(plainNumber) },
      { ...axis, label: options.yLabel, size: 64, ...(options.yLog ? { splits: decades, values: logged, filter: (_, splits) => splits } : { values: (_, splits) => splits.map(plainNumber) }) }, ...rightAxis],
    cursor: { sync: options.sync ? { key: options.sync } : undefined, drag: { x: true, y: false }, dataIdx: nearestKnown },
    legend: { show: true },
    hooks: { draw: [(plot) => (options.marks ?? []).forEach((mark) => drawMark(plot, mark))] },
  };
}

/** Return where, at `at` or next to it, a line has a number: those of a common x need not have one everywhere. */
function nearestKnown(plot, line, at) {
  const values = plot.data[line];
  if (line === 0 || at === null || values[at] !== null) return at;
  for (let step = 1; step < values.length; step++) {
    if ((values[at - step] ?? null) !== null) return at - step;
    if ((values[at + step] ?? null) !== null) return at + step;
  }
  return at;
}

/** Return the range of an axis of logarithms, from a power of ten to another. */
const wholeDecades = (_, low, high) => (low === null ? [null, null] : [10 ** Math.floor(Math.log10(low)), 10 ** Math.max(Math.floor(Math.log10(low)) + 1, Math.ceil(Math.log10(high)))]);

/** Return at most nine powers of ten between two; uPlot's own ticks never end where numbers are very small. */
function decades(_, axis, low, high) {
  const [first, last] = [low, high].map((v) => Math.round(Math.log10(v))), step = Math.ceil((last - first) / 8);
  return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, n) => 10 ** (first + n * step));
}

/** Return the ticks of an axis of logarithms: only powers of ten are written. */
const logged = (_, splits) => splits.map((v) => (v !== null && Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-9 ? plainNumber(v) : ""));

/** Write a number as people do: four digits, and a power of ten where it is far from 1. */
function plainNumber(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(size < 1e-3 || size >= 1e7 ? 1 : 3).replace("e-", "e−").replace("e+", "e").replace(/\.0e/, "e").replace(/^-/, "−");
  return Number(value.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 6 }).replace("-", "−");
}

function drawMark(plot, { x, label }) {
  const [left, { ctx, bbox }] = [plot.valToPos(x, "x", true), plot];
  if (!(left >= bbox.left && left <= bbox.left + bbox.width)) return;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour("focus");
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(left, bbox.top);
  ctx.lineTo(left, bbox.top + bbox.height);
  ctx.stroke();
  ctx.font = `${12 * devicePixelRatio}px ${colour("sans")}`;
  ctx.textAlign = "left";
  const room = ctx.measureText(label).width, after = left + 6 * devicePixelRatio;
  ctx.fillText(label, after + room > bbox.left + bbox.width ? Math.max(bbox.left + 2 * devicePixelRatio, left - room - 6 * devicePixelRatio) : after, bbox.top + 14 * devicePixelRatio);
  ctx.restore();
}
